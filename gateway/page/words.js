"use strict";
// What the page says, in English and Chinese.
const WORDS = {
  en: {
    docs: "API", key: "API key", theme: "Switch between light and dark", prompt: "Prompt", describe: "Describe a picture",
    model: "Model", size: "Size", steps: "Steps", make: "Make picture", more: "More settings",
    negative: "Not in the picture", guidance: "Guidance", sampler: "Sampler", seed: "Seed", random: "random",
    enlarge: "Enlarge", no: "no", format: "Format", pictures: "Your pictures", empty: "Pictures you make appear here.",
    older: "Show earlier ones", foot: "These pictures are made by AI. Each file carries its recipe.",
    keyTitle: "API key", keyWhy: "Your pictures belong to your key. It stays in this browser.",
    keyHow: "Make one with", save: "Use this key", forget: "Forget it", picture: "Picture", close: "Close",
    recipe: "Recipe as JSON", download: "Download", again: "Use again", copy: "Copy recipe", copied: "Copied",
    waiting: "Waiting", processing: "Painting", failed: "Failed", cancelled: "Cancelled", cancel: "Cancel",
    offline: "The gateway cannot be reached. Trying again…", busy: "Too many requests just now. Try again in {0} s.",
    gone: "The full picture cannot be loaded.", file: "File", lora: "LoRA", mode: "Mode", strength: "Strength",
    madeAt: "Made", painted: "Painted at", post: "Finishing", before: "Previous picture", after: "Next picture",
    carried: "Kept from the earlier picture", without: "Without {0}", watermark: "Watermark", schedule: "Schedule",
    image_url: "Input picture", mask_url: "Mask", control_image_url: "Control picture", success: "Finished",
    locked: "An API key is needed to make pictures here.", enterKey: "Enter a key",
  },
  zh: {
    docs: "接口", key: "API 密钥", theme: "切换明暗", prompt: "提示词", describe: "描述一幅画面",
    model: "模型", size: "尺寸", steps: "步数", make: "生成图片", more: "更多设置",
    negative: "画面中不要", guidance: "引导强度", sampler: "采样器", seed: "种子", random: "随机",
    enlarge: "放大", no: "不放大", format: "格式", pictures: "我的图片", empty: "生成的图片会出现在这里。",
    older: "显示更早的图片", foot: "图片由人工智能生成，每个文件都带有它的配方。",
    keyTitle: "API 密钥", keyWhy: "图片归密钥的主人所有。密钥只保存在本浏览器中。",
    keyHow: "创建密钥：", save: "使用此密钥", forget: "忘记密钥", picture: "图片", close: "关闭",
    recipe: "配方 (JSON)", download: "下载", again: "再次使用", copy: "复制配方", copied: "已复制",
    waiting: "排队中", processing: "绘制中", failed: "失败", cancelled: "已取消", cancel: "取消",
    offline: "无法连接网关，正在重试…", busy: "请求过多，请在 {0} 秒后再试。",
    gone: "无法加载完整图片。", file: "文件", lora: "LoRA", mode: "模式", strength: "强度",
    madeAt: "时间", painted: "绘制尺寸", post: "后期处理", before: "上一张", after: "下一张",
    carried: "沿用之前图片的设置", without: "去掉{0}", watermark: "水印", schedule: "步进方式",
    image_url: "输入图片", mask_url: "蒙版", control_image_url: "控制图", success: "完成",
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
  $("to-chinese").hidden = language === "zh"; // drawn, not written: not every machine has a font for it
  $("to-english").hidden = language !== "zh";
  $("language").setAttribute("aria-label", language === "zh" ? "English" : "中文");
}

function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function switchTheme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme || (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  kept.set("theme", root.dataset.theme);
}
if (["dark", "light"].includes(kept.get("theme"))) document.documentElement.dataset.theme = kept.get("theme");
