"use strict";
// The index: every catalog with its first pictures and how far its review is.
let after = null, asking = 0;

function card(one) {
  const link = element("a", "card", "", {href: `/catalogs/${encodeURIComponent(one.name)}`});
  const covers = element("div", `covers of-${Math.min(one.covers.length, 4)}`);
  for (const file of one.covers) covers.append(Object.assign(element("img", "", "", {alt: "", loading: "lazy"}), {src: fileUrl(one.name, file, one.token)}));
  const {counts} = one, words = element("div", "card-words");
  words.append(element("h2", "", one.name));
  words.append(element("p", "soft", one.made_at_s ? word("made", day(one.made_at_s)) : word("neverMade")));
  if (counts.pictures) words.append(bar(counts));
  const parts = ["unreviewed", "approved", "rejected", "failed"].filter((name) => counts[name]).map((name) => `${number.format(counts[name])} ${word(name).toLowerCase()}`);
  words.append(element("p", "", parts.join(" · ")));
  if (one.review.required) words.append(element("p", "soft", word("required") + (one.review.owner ? ` · ${word("asked", one.review.owner)}` : "")));
  if (one.progress) words.append(element("p", "live", progressWords(one.progress)));
  link.append(covers, words);
  return link;
}

function bar(counts) {
  const node = element("div", "bar", "", {role: "presentation"});
  for (const name of ["approved", "rejected", "unreviewed"]) {
    const part = element("span", name);
    part.style.flexGrow = counts[name];
    node.append(part);
  }
  return node;
}

async function load(from = "") {
  const mine = ++asking;
  try {
    const found = await gateway.call("GET", `/api/v1/catalogs?search=${encodeURIComponent($("search").value)}&after=${encodeURIComponent(from)}`);
    if (mine !== asking) return;
    if (!from) $("cards").replaceChildren();
    $("cards").append(...found.catalogs.map(card));
    $("none").hidden = $("cards").children.length > 0 || $("search").value !== "";
    after = found.next_after;
    $("more").hidden = !after;
    $("notice").hidden = true;
    document.documentElement.dataset.ready = "";
  } catch (error) {
    $("notice").textContent = error instanceof Refused ? error.message : word("offline");
    $("notice").hidden = false;
    if (!(error instanceof Refused)) setTimeout(() => mine === asking && load(from), 3000);
  }
}

translate();
$("search").addEventListener("input", () => load());
$("more").addEventListener("click", () => load(after));
setInterval(() => { if (!document.hidden && !document.querySelector("dialog[open]") && $("cards").querySelector(".live")) load(); }, 5000);
load();
