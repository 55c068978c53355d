"use strict";
// The index: every catalog with its first pictures and how far its review is.
let after = null, asking = 0, busy = false;

function card(one) {
  const link = element("a", "card", "", {href: `/catalogs/${encodeURIComponent(one.name)}`, id: `catalog-${one.name}`});
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

// Put a catalog's card at a place, or what is new into the one that is there, so that the keyboard stays where it is.
function put(made, n) {
  const shown = document.getElementById(made.id);
  if (!shown) $("cards").insertBefore(made, $("cards").children[n] ?? null);
  else if (!shown.isEqualNode(made)) shown.replaceChildren(...made.children);
}

// The first catalogs, those after one, or the first ones again, with what there is now.
async function load(from = "", again = false) {
  const mine = ++asking;
  busy = true;
  try {
    const found = await gateway.call("GET", `/api/v1/catalogs?search=${encodeURIComponent($("search").value)}&after=${encodeURIComponent(from)}`);
    if (mine !== asking) return;
    if (!from && !again) $("cards").replaceChildren();
    const before = from ? $("cards").children.length : 0;
    found.catalogs.forEach((one, n) => put(card(one), before + n));
    $("none").hidden = $("cards").children.length > 0 || $("search").value !== "";
    if (!again) after = found.next_after;
    $("more").hidden = !after;
    $("notice").hidden = true;
    document.documentElement.dataset.ready = "";
  } catch (error) {
    $("notice").textContent = error instanceof Refused ? error.message : word("offline");
    $("notice").hidden = false;
    if (!(error instanceof Refused)) setTimeout(() => mine === asking && load(from, again), 3000);
  } finally {
    if (mine === asking) busy = false;
  }
}

translate();
$("search").addEventListener("input", () => load());
$("more").addEventListener("click", () => load(after));
setInterval(() => { if (!busy && !document.hidden && !document.querySelector("dialog[open]") && $("cards").querySelector(".live")) load("", true); }, 5000);
load();
