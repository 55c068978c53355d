"use strict";
// What the pages of catalogs share: their words, and calls for who may review.
const WORDS = {
  en: {
    catalogs: "Catalogs", pictures: "Pictures", search: "Search", all: "All", unreviewed: "To review", approved: "Approved", rejected: "Rejected",
    starred: "Starred", failed: "Failed", approve: "Approve", reject: "Reject", star: "Star", undo: "Undo", close: "Close", previous: "Previous picture",
    next: "Next picture", selected: "{0} selected", clear: "Clear", select: "Select", saved: "All saved", saving: "Saving {0}…", download: "Download",
    unsaved: "{0} not saved yet: the gateway cannot be reached. Trying again…", refused: "{0} could not be saved: {1}",
    signIn: "Sign in", why: "Catalogs are for who reviews them: enter an API key with the scope “review”.", how: "Make one with", enter: "Sign in",
    none: "No catalogs yet", noneHow: "Add one with", noMatch: "No picture fits these filters.", showAll: "Show all pictures", noCatalog: "No catalog is named like that.",
    unmade: "No pictures yet", unmadeHow: "They appear here once the catalog has been made. In Dagster, materialize its assets; on the command line:",
    making: "Making {0} of {1}", ofFailed: "{0} failed", model: "Model", sort: "Sort", order: "Catalog order", byId: "Id", reviewed: "Last reviewed", flat: "Least contrast first",
    reason: "Reason", why1: "Blurred", why2: "Cut off", why3: "Wrong colour", why4: "Wrong background", why5: "Unreadable text", other: "Other…",
    history: "What was said", nobody: "Nobody has said anything yet.", recipe: "Copy recipe", copied: "Copied", seed: "Seed", size: "Size", file: "File", text: "Prompt", made: "made {0}",
    neverMade: "not made yet", required: "Only approved pictures are published", asked: "Asked: {0}", more: "Show more", offline: "The gateway cannot be reached. Trying again…",
    of: "{0} of {1}",
  },
  zh: {
    catalogs: "目录", pictures: "图片", search: "搜索", all: "全部", unreviewed: "待审核", approved: "已通过", rejected: "已拒绝",
    starred: "已收藏", failed: "失败", approve: "通过", reject: "拒绝", star: "收藏", undo: "撤销", close: "关闭", previous: "上一张",
    next: "下一张", selected: "已选 {0} 张", clear: "清除", select: "选择", saved: "已全部保存", saving: "正在保存 {0} 条…", download: "下载",
    unsaved: "{0} 条尚未保存：无法连接网关，正在重试…", refused: "{0} 条无法保存：{1}",
    signIn: "登录", why: "目录供审核者查看：请输入带有 “review” 权限的 API 密钥。", how: "创建密钥：", enter: "登录",
    none: "还没有目录", noneHow: "添加目录：", noMatch: "没有符合筛选条件的图片。", showAll: "显示全部图片", noCatalog: "没有这个名称的目录。",
    unmade: "还没有图片", unmadeHow: "目录生成后图片会显示在这里。请在 Dagster 中生成，或在命令行运行：",
    making: "已生成 {0} / {1}", ofFailed: "{0} 张失败", model: "模型", sort: "排序", order: "目录顺序", byId: "编号", reviewed: "最近审核", flat: "对比度最低的在前",
    reason: "原因", why1: "模糊", why2: "被裁切", why3: "颜色不对", why4: "背景不对", why5: "文字无法辨认", other: "其他…",
    history: "审核记录", nobody: "还没有人审核。", recipe: "复制配方", copied: "已复制", seed: "种子", size: "尺寸", file: "文件", text: "提示词", made: "生成于 {0}",
    neverMade: "尚未生成", required: "仅发布已通过的图片", asked: "审核人：{0}", more: "显示更多", offline: "无法连接网关，正在重试…",
    of: "{0} / {1}",
  },
};
const number = new Intl.NumberFormat(locale());

const gateway = {
  // A call; without a key that may do it, with the local one, or once a person has given one.
  async call(method, path, body) {
    for (let tried = false; ; tried = true) {
      try { return await service.call(method, path, body); }
      catch (error) {
        if (!(error instanceof Refused) || ![401, 403].includes(error.code)) throw error;
        const wrong = tried || service.key ? error.message : "";
        Object.assign(service, {key: "", local: false});
        if (tried || !await service.findKey()) service.key = await askKey(wrong);
      }
    }
  },
};

// One dialog, however many calls wait for it.
let asked = null;
function askKey(wrong) {
  asked ||= new Promise((resolve) => {
    const dialog = element("dialog", "asking"), form = element("form"), input = element("input", "", "", {id: "key", type: "password", autocomplete: "off", required: "", spellcheck: "false"});
    const label = element("label", "soft", word("why"), {for: "key"});
    form.append(element("h2", "", word("signIn")), label, input, element("p", "wrong", wrong, wrong ? {role: "alert"} : {hidden: ""}));
    const how = element("p", "soft", `${word("how")} `);
    how.append(element("code", "", "imagegenx keys create --user NAME --scopes read,submit,review"));
    form.append(how, element("button", "action main", word("enter")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      kept.set("key", input.value.trim());
      dialog.close();
      dialog.remove();
      asked = null;
      resolve(input.value.trim());
    });
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.append(form);
    document.body.append(dialog);
    dialog.showModal();
  });
  return asked;
}

const fileUrl = (catalog, file, token, save = "") =>
  `/catalogs/${encodeURIComponent(catalog)}/file/${encodeURIComponent(file)}?token=${token}${save && `&save=${encodeURIComponent(save)}`}`;

function progressWords(progress) {
  const done = Object.entries(progress).filter(([name]) => ["made", "reused", "passed"].includes(name)).reduce((sum, [, count]) => sum + count, 0);
  const failed = (progress.failed || 0) + (progress.rejected || 0);
  return word("making", number.format(done), number.format(progress.total)) + (failed ? ` · ${word("ofFailed", number.format(failed))}` : "");
}
