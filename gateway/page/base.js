"use strict";
// What all pages share: words in the person's language, elements, what this browser keeps, light and dark.
const $ = (id) => document.getElementById(id);

// Private windows may refuse to keep anything; the page works without.
const kept = {
  get(name, store = () => localStorage) { try { return store().getItem(`imagegenx-${name}`) || ""; } catch { return ""; } },
  set(name, value, store = () => localStorage) {
    try { if (value) store().setItem(`imagegenx-${name}`, value); else store().removeItem(`imagegenx-${name}`); } catch { /* kept for this visit only */ }
  },
};
const thisTab = () => sessionStorage;

let language = kept.get("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const word = (name, ...values) => values.reduce((text, value, i) => text.replace(`{${i}}`, value), WORDS[language][name] || name);

// The person's own variety of the chosen language, for dates.
const locale = () => navigator.languages.find((one) => one.startsWith(language)) || (language === "zh" ? "zh-CN" : "en");

const day = (seconds) => new Date(1000 * seconds).toLocaleString(locale(), {dateStyle: "medium", timeStyle: "short"});

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", word(node.dataset.label));
    if (node.tagName === "BUTTON") node.title = word(node.dataset.label);
  }
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = word(node.dataset.placeholder);
  if (!$("language")) return;
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh-Hans";
  nameTheme();
}

function element(tag, className = "", text = "", attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== "") node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
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
