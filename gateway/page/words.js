"use strict";
// What the page says, in English and Chinese.
const WORDS = {
  en: {
    docs: "API", key: "API key", dark: "Dark", light: "Light", prompt: "Prompt", describe: "Describe a picture",
    model: "Model", size: "Size", steps: "Steps", make: "Make picture", more: "More settings", shape: "Shape", count: "Pictures",
    weight: "Weight", addPicture: "Add a picture", use: "What it is for", takeAway: "Take away", paintMask: "Mark what to repaint",
    brush: "Brush", everything: "Everything", undo: "Undo", clear: "Clear", done: "Done", none: "none",
    img2img: "Change it", inpaint: "Repaint a part", controlnet: "Follow its lines", examples: "Examples to try",
    needMask: "Mark what to repaint first.", notPicture: "This file is no picture that a browser can show.",
    negative: "Not in the picture", guidance: "Guidance", sampler: "Sampler", seed: "Seed", random: "random",
    enlarge: "Enlarge", no: "no", format: "Format", pictures: "Your pictures", empty: "Pictures you make appear here.",
    search: "Search words and tags", noneFound: "No picture has these words.", searching: "Looking through earlier ones …",
    older: "Show earlier ones", foot: "These pictures are made by AI. Each file carries its recipe.",
    keyTitle: "API key", keyWhy: "Your pictures belong to your key. It stays in this browser.",
    keyHow: "Make one with", save: "Use this key", forget: "Forget it", picture: "Picture", close: "Close",
    recipe: "Recipe as JSON", download: "Download", again: "Use again", copy: "Copy recipe", copied: "Copied",
    asInput: "Use as input", variations: "Four variations", larger: "Enlarge 2×", share: "Copy link", delete: "Delete",
    deleteAll: "Delete all {0}", sure: "Delete for good?", deleted: "Deleted", tags: "Tags, kept in this browser", tagsHow: "autumn, shop",
    retry: "Try again", dismiss: "Dismiss", starting: "Starting the model …", place: "{0} in front", about: "about {0} s",
    waiting: "Waiting", processing: "Painting", preparing: "Getting ready", failed: "Failed", cancelled: "Cancelled", rejected: "Rejected", cancel: "Cancel",
    offline: "The gateway cannot be reached. Trying again…", busy: "Too many requests just now. Try again in {0} s.",
    gone: "The full picture cannot be loaded.", file: "File", lora: "LoRA", mode: "Mode", strength: "How much changes",
    madeAt: "Made", painted: "Painted at", post: "Finishing", before: "Previous picture", after: "Next picture",
    carried: "Kept from the earlier picture", without: "Without {0}", watermark: "Watermark", schedule: "Schedule",
    image_url: "Input picture", earlierInput: "The input picture of an earlier request", success: "Finished",
    locked: "An API key is needed to make pictures here.", enterKey: "Enter a key",
  },
  zh: {
    docs: "接口", key: "API 密钥", dark: "深色", light: "浅色", prompt: "提示词", describe: "描述一幅画面",
    model: "模型", size: "尺寸", steps: "步数", make: "生成图片", more: "更多设置", shape: "画面比例", count: "张数",
    weight: "权重", addPicture: "添加图片", use: "用途", takeAway: "移除", paintMask: "涂出要重画的部分",
    brush: "画笔", everything: "全部", undo: "撤销", clear: "清除", done: "完成", none: "无",
    img2img: "修改整图", inpaint: "局部重画", controlnet: "沿用线条", examples: "可以试试",
    needMask: "请先涂出要重画的部分。", notPicture: "浏览器无法显示此文件，它不是图片。",
    negative: "画面中不要", guidance: "引导强度", sampler: "采样器", seed: "种子", random: "随机",
    enlarge: "放大", no: "不放大", format: "格式", pictures: "我的图片", empty: "生成的图片会出现在这里。",
    search: "搜索文字和标签", noneFound: "没有包含这些文字的图片。", searching: "正在查找更早的图片…",
    older: "显示更早的图片", foot: "图片由人工智能生成，每个文件都带有它的配方。",
    keyTitle: "API 密钥", keyWhy: "图片归密钥的主人所有。密钥只保存在本浏览器中。",
    keyHow: "创建密钥：", save: "使用此密钥", forget: "忘记密钥", picture: "图片", close: "关闭",
    recipe: "配方 (JSON)", download: "下载", again: "再次使用", copy: "复制配方", copied: "已复制",
    asInput: "用作输入", variations: "四个变体", larger: "放大 2 倍", share: "复制链接", delete: "删除",
    deleteAll: "删除全部 {0} 张", sure: "确定永久删除？", deleted: "已删除", tags: "标签（保存在本浏览器）", tagsHow: "秋季, 店铺",
    retry: "重试", dismiss: "移除", starting: "正在启动模型…", place: "前面还有 {0} 个", about: "约 {0} 秒",
    waiting: "排队中", processing: "绘制中", preparing: "准备中", failed: "失败", cancelled: "已取消", rejected: "未通过审核", cancel: "取消",
    offline: "无法连接网关，正在重试…", busy: "请求过多，请在 {0} 秒后再试。",
    gone: "无法加载完整图片。", file: "文件", lora: "LoRA", mode: "模式", strength: "改动程度",
    madeAt: "时间", painted: "绘制尺寸", post: "后期处理", before: "上一张", after: "下一张",
    carried: "沿用之前图片的设置", without: "去掉{0}", watermark: "水印", schedule: "步进方式",
    image_url: "输入图片", earlierInput: "之前请求的输入图片", success: "完成",
    locked: "在此生成图片需要 API 密钥。", enterKey: "输入密钥",
  },
};
const $ = (id) => document.getElementById(id);

// Private windows may refuse to keep anything; the page works without.
const kept = {
  get(name) { try { return localStorage.getItem(`imagegenx-${name}`) || ""; } catch { return ""; } },
  set(name, value) {
    try { if (value) localStorage.setItem(`imagegenx-${name}`, value); else localStorage.removeItem(`imagegenx-${name}`); } catch { /* kept for this visit only */ }
  },
};

let language = kept.get("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const word = (name, ...values) => values.reduce((text, value, i) => text.replace(`{${i}}`, value), WORDS[language][name] || name);

// The person's own variety of the chosen language, for dates.
const locale = () => navigator.languages.find((one) => one.startsWith(language)) || (language === "zh" ? "zh-CN" : "en");

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", word(node.dataset.label));
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = word(node.dataset.placeholder);
  if (!$("language")) return;
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh-Hans";
  nameTheme();
}

function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

// A button with a handler, that sends no form.
function buttonOf(text, handler, className = "button small") {
  const node = element("button", className, text);
  node.type = "button";
  node.addEventListener("click", handler);
  return node;
}

const options = (values) => values.map((value) => new Option(value, value));

const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

// The button names what it leads to.
function nameTheme() {
  $("theme").dataset.word = isDark() ? "light" : "dark";
  $("theme").textContent = word($("theme").dataset.word);
}

function switchTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  kept.set("theme", document.documentElement.dataset.theme);
  nameTheme();
}
if (["dark", "light"].includes(kept.get("theme"))) document.documentElement.dataset.theme = kept.get("theme");
