"use strict";
// What the pages of catalogs share: their words, and calls for who may review.
const WORDS = {
  en: {
    catalogs: "Catalogs", pictures: "Pictures", search: "Search", all: "All", unreviewed: "To review", approved: "Approved", rejected: "Rejected",
    starred: "Starred", failed: "Failed", approve: "Approve", reject: "Reject", star: "Star", undo: "Undo", close: "Close", previous: "Previous picture",
    next: "Next picture", selected: "{0} selected", clear: "Clear", select: "Select", saved: "All saved", saving: "Saving {0}…", download: "Download",
    unsaved: "{0} not saved yet: the gateway cannot be reached. Trying again…", refused: "{0} could not be saved: {1}",
    signIn: "Sign in", why: "Catalogs are for who reviews them: enter an API key with the scope “review”.", how: "Make one with", enter: "Sign in",
    none: "No catalogs yet", noneHow: "Add one with", noMatch: "No picture fits these filters.", showAll: "Show all pictures",
    unmade: "No pictures yet", unmadeHow: "They appear here once the catalog has been made. In Dagster, materialize its assets; on the command line:",
    making: "Making {0} of {1}", ofFailed: "{0} failed", model: "Model", sort: "Sort", order: "Catalog order", byId: "Id", reviewed: "Last reviewed", flat: "Least contrast first",
    reason: "Reason", why1: "Blurred", why2: "Cut off", why3: "Wrong colour", why4: "Wrong background", why5: "Unreadable text", other: "Other…",
    history: "What was said", nobody: "Nobody has said anything yet.", recipe: "Copy recipe", copied: "Copied", seed: "Seed", size: "Size", file: "File", text: "Prompt", made: "made {0}",
    neverMade: "not made yet", required: "Only approved pictures are published", asked: "Asked: {0}", more: "Show more", offline: "The gateway cannot be reached. Trying again…",
    of: "{0} of {1}", edit: "Edit prompt", editHow: "The picture is made again with this prompt, in a new edition. Once the catalog's file has another one, the file's holds.", cancel: "Cancel",
    makeIt: "Make it", reseed: "New seed", versions: "Versions", compare: "Compare", rollBack: "Go back to it", reseedAll: "Make all anew", reseedSure: "Really make all {0} anew?",
    reseedHow: "Every picture gets a new seed; what there is now stays as a version.", until: "until {0}", edition: "Edition {0}", editionNow: "Edition {0}, now", replaced: "Earlier pictures",
    askedFor: "Asked for: {1} to make", comesBack: "Comes back soon: {0}, nothing to make", waits: "is made again soon",
    left: "Left", right: "Right", differing: "Only differences", pairs: "{0} of {1} rows differ", same: "the same picture", missing: "not in this version", takeLeft: "Take the left one back", allModels: "All models",
    onlyOne: "There is one version only. Others are kept once pictures are made again.", seedDiffers: "Seed", textDiffers: "Prompt", modelDiffers: "Model", releaseDiffers: "Release", sizeDiffers: "Size", otherDiffers: "Other settings", noDifference: "No row differs.",
    lowest: "{0}: lowest first", score_contrast: "Contrast", score_sharpness: "Sharpness", score_background: "Background as asked", score_colour: "Colour as asked", score_cut_off: "Whole product", score_adherence: "Product as asked", score_lettering: "Words as asked",
  },
  zh: {
    catalogs: "目录", pictures: "图片", search: "搜索", all: "全部", unreviewed: "待审核", approved: "已通过", rejected: "已拒绝",
    starred: "已收藏", failed: "失败", approve: "通过", reject: "拒绝", star: "收藏", undo: "撤销", close: "关闭", previous: "上一张",
    next: "下一张", selected: "已选 {0} 张", clear: "清除", select: "选择", saved: "已全部保存", saving: "正在保存 {0} 条…", download: "下载",
    unsaved: "{0} 条尚未保存：无法连接网关，正在重试…", refused: "{0} 条无法保存：{1}",
    signIn: "登录", why: "目录供审核者查看：请输入带有 “review” 权限的 API 密钥。", how: "创建密钥：", enter: "登录",
    none: "还没有目录", noneHow: "添加目录：", noMatch: "没有符合筛选条件的图片。", showAll: "显示全部图片",
    unmade: "还没有图片", unmadeHow: "目录生成后图片会显示在这里。请在 Dagster 中生成，或在命令行运行：",
    making: "已生成 {0} / {1}", ofFailed: "{0} 张失败", model: "模型", sort: "排序", order: "目录顺序", byId: "编号", reviewed: "最近审核", flat: "对比度最低的在前",
    reason: "原因", why1: "模糊", why2: "被裁切", why3: "颜色不对", why4: "背景不对", why5: "文字无法辨认", other: "其他…",
    history: "审核记录", nobody: "还没有人审核。", recipe: "复制配方", copied: "已复制", seed: "种子", size: "尺寸", file: "文件", text: "提示词", made: "生成于 {0}",
    neverMade: "尚未生成", required: "仅发布已通过的图片", asked: "审核人：{0}", more: "显示更多", offline: "无法连接网关，正在重试…",
    of: "{0} / {1}", edit: "修改提示词", editHow: "图片将按此提示词在新版本中重新生成。目录文件改用其他提示词后，以文件为准。", cancel: "取消",
    makeIt: "生成", reseed: "换种子", versions: "版本", compare: "对比", rollBack: "恢复到此版本", reseedAll: "全部重新生成", reseedSure: "确定重新生成全部 {0} 张？",
    reseedHow: "每张图片都换用新种子；现有图片保留为一个版本。", until: "截至 {0}", edition: "第 {0} 版", editionNow: "第 {0} 版（当前）", replaced: "先前的图片",
    askedFor: "已请求 {0} 张，其中 {1} 张即将生成", comesBack: "{0} 张即将恢复，无需重新生成", waits: "即将重新生成",
    left: "左", right: "右", differing: "仅看不同", pairs: "{1} 行中有 {0} 行不同", same: "同一张图片", missing: "此版本中没有", takeLeft: "恢复左侧图片", allModels: "全部模型",
    onlyOne: "目前只有一个版本。重新生成图片后会保留其他版本。", seedDiffers: "种子", textDiffers: "提示词", modelDiffers: "模型", releaseDiffers: "发布版本", sizeDiffers: "尺寸", otherDiffers: "其他设置", noDifference: "没有不同的行。",
    lowest: "{0}：最低的在前", score_contrast: "对比度", score_sharpness: "清晰度", score_background: "背景符合要求", score_colour: "颜色符合要求", score_cut_off: "商品完整", score_adherence: "商品符合要求", score_lettering: "文字符合要求",
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

const fileUrl = (catalog, file, token, save = "", of = "now") =>
  `/catalogs/${encodeURIComponent(catalog)}/file/${encodeURIComponent(file)}?token=${token}${save && `&save=${encodeURIComponent(save)}`}${of === "now" ? "" : `&of=${of}`}`;

const scorerName = (name) => (`score_${name}` in WORDS[language] ? word(`score_${name}`) : name);

const versionName = ({of, edition}) => (of === "now" ? word("editionNow", edition) : edition === null ? word("replaced") : word("edition", edition));

// The rows of a gallery as objects.
const rowsOf = (told) => told.rows.map((values, n) => {
  const row = Object.fromEntries(told.columns.map((name, i) => [name, values[i]]));
  return Object.assign(row, {n, id: row.row_id, recipe: row.recipe_digest, thumbnail: row.thumbnail || row.file, carry: row.carry ? JSON.parse(row.carry) : {}});
});

function progressWords(progress) {
  const done = Object.entries(progress).filter(([name]) => ["made", "reused", "passed"].includes(name)).reduce((sum, [, count]) => sum + count, 0);
  const failed = (progress.failed || 0) + (progress.rejected || 0);
  return word("making", number.format(done), number.format(progress.total)) + (failed ? ` · ${word("ofFailed", number.format(failed))}` : "");
}

// randomUUID is for secure origins only.
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
