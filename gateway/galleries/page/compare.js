"use strict";
// Two versions of a catalog, or two of its models, side by side: a pair for each row, and what is different about it.
const PAGE = 30;
const DIFFERENCES = [["seed", "seedDiffers"], ["text", "textDiffers"], ["model", "modelDiffers"], ["release", "releaseDiffers"]];

const comparison = {
  name: decodeURIComponent(location.pathname.split("/").at(-2)), versions: [], told: new Map(), pairs: [], shown: [], at: 0, differing: true,
  sides: {left: {of: "", model: ""}, right: {of: "now", model: ""}},

  // The id of the row that one is at.
  get current() { const [left, right] = this.shown[this.at] || []; return (right || left)?.id; },

  get path() { return `/api/v1/catalogs/${encodeURIComponent(this.name)}`; },

  async load() {
    const query = new URLSearchParams(location.search);
    this.versions = (await gateway.call("GET", `${this.path}/versions`)).versions;
    const known = (of) => this.versions.some((one) => one.of === of);
    for (const side of ["left", "right"]) {
      if (known(query.get(side))) this.sides[side].of = query.get(side);
      this.sides[side].model = query.get(`${side}-model`) || "";
    }
    this.sides.left.of ||= this.versions[1]?.of || "now";
    this.differing = query.get("all") !== "1";
    const models = this.versions.length < 2 ? [...new Set((await this.rows(this.sides.right)).map((row) => row.model))].sort() : [];
    if (models.length > 1 && !query.size) [this.sides.left.model, this.sides.right.model] = models;
    await this.draw(query.get("at"));
    document.documentElement.dataset.ready = "";
  },

  async rows({of, model}) {
    if (!this.told.has(of)) {
      const told = await gateway.call("GET", `${this.path}?of=${of}`);
      this.told.set(of, {token: told.token, rows: rowsOf(told)});
    }
    const {rows, token} = this.told.get(of);
    return rows.filter((row) => !model || row.model === model).map((row) => Object.assign(row, {of, token}));
  },

  // Rows by id; of two models, those of the same prompt, the first with the first. The choice made last is drawn.
  async draw(at) {
    const drawing = this.drawing = {}, [left, right] = await Promise.all([this.rows(this.sides.left), this.rows(this.sides.right)]);
    if (drawing !== this.drawing) return;
    const byModel = this.sides.left.model && this.sides.right.model && this.sides.left.model !== this.sides.right.model;
    const others = keyed(left, byModel), own = keyed(right, byModel);
    this.pairs = [...own].map(([key, row]) => [others.get(key), row]);
    for (const [key, row] of others) if (!own.has(key)) this.pairs.push([row, undefined]);
    this.refilter(at ?? this.current);
    this.picks();
  },

  refilter(at) {
    const differing = this.pairs.filter(([left, right]) => differences(left, right).length);
    this.shown = this.differing ? differing : this.pairs;
    $("summary").textContent = word("pairs", number.format(differing.length), number.format(this.pairs.length));
    $("differing").setAttribute("aria-pressed", this.differing);
    const n = this.shown.findIndex(([left, right]) => (right || left).id === at);
    $("pairs").replaceChildren();
    this.extend(Math.max(PAGE, n + PAGE));
    $("nothing").hidden = this.shown.length > 0;
    $("nothing-why").textContent = word(this.versions.length < 2 && !this.pairs.some(([left, right]) => left !== right && left && right && left.model !== right.model) ? "onlyOne" : "noDifference");
    $("tools").hidden = !this.pairs.length;
    this.go(Math.max(0, n), n > 0);
  },

  extend(upTo) {
    for (let n = $("pairs").children.length; n < Math.min(upTo, this.shown.length); n++) $("pairs").append(pairCell(this.shown[n], n));
    $("more").hidden = $("pairs").children.length >= this.shown.length;
  },

  go(n, scroll = true) {
    $("pairs").children[this.at]?.classList.remove("at");
    this.at = Math.max(0, Math.min(this.shown.length - 1, n));
    this.extend(this.at + 5);
    const pair = $("pairs").children[this.at];
    pair?.classList.add("at");
    if (scroll) pair?.scrollIntoView({block: "center"});
  },

  picks() {
    const models = [...new Set([...this.told.values()].flatMap(({rows}) => rows.map((row) => row.model)))].sort();
    const selects = [];
    for (const side of ["left", "right"]) {
      const label = word(side), versions = this.versions.map((one) => [one.of, `${versionName(one)}${one.edition === null ? `, ${word("until", day(one.at_s))}` : ""}`]);
      selects.push(this.pick(`${side}-of`, label, versions, side, "of"));
      if (models.length > 1) selects.push(this.pick(`${side}-model`, `${label}, ${word("model")}`, [["", word("allModels")], ...models.map((one) => [one, one])], side, "model"));
    }
    $("picks").replaceChildren(...selects);
  },

  pick(id, label, options, side, part) {
    const select = element("select", "", "", {id, "aria-label": label});
    for (const [value, text] of options) select.append(new Option(part === "of" ? `${label}: ${text}` : text, value, false, value === this.sides[side][part]));
    select.addEventListener("change", () => { this.sides[side][part] = select.value; this.share(); attempt(() => this.draw()); });
    return select;
  },

  share() {
    const query = new URLSearchParams({left: this.sides.left.of, right: this.sides.right.of});
    for (const side of ["left", "right"]) if (this.sides[side].model) query.set(`${side}-model`, this.sides[side].model);
    if (!this.differing) query.set("all", "1");
    history.replaceState(null, "", `${location.pathname}?${query}`);
  },

  toggle() { this.differing = !this.differing; this.share(); this.refilter(this.current); },

  // Give the row the seed and the prompt of its left picture.
  async back(n) {
    const [left, right] = this.shown[n], button = $("pairs").children[n].querySelector(".take");
    if (!button || button.disabled) return;
    button.disabled = true;
    const told = await gateway.call("POST", `${this.path}/roll-back`, {id: newId(), to: left.of, rows: [right.id]});
    button.textContent = word(told.to_make ? "askedFor" : "comesBack", number.format(told.rows), number.format(told.to_make));
  },
};

function keyed(rows, byPrompt) {
  const found = new Map(), times = new Map();
  for (const row of rows) {
    times.set(row.text, (times.get(row.text) || 0) + 1);
    found.set(byPrompt ? `${times.get(row.text)} ${row.text}` : row.id, row);
  }
  return found;
}

function differences(left, right) {
  if (!left || !right) return ["missing"];
  if (left.recipe === right.recipe && left.error === right.error) return [];
  const found = DIFFERENCES.filter(([field]) => left[field] !== right[field]).map(([, name]) => name);
  if (left.width_px !== right.width_px || left.height_px !== right.height_px) found.push("sizeDiffers");
  if (!left.file !== !right.file) found.push("failed");
  return found.length ? found : ["otherDiffers"];
}

function pairCell([left, right], n) {
  const pair = element("section", "pair"), head = element("header"), found = differences(left, right), row = right || left;
  head.append(element("h2", "", row.id));
  for (const name of found.length ? found : ["same"]) head.append(element("span", `badge${found.length ? " differs" : ""}`, word(name)));
  const canGoBack = left?.file && right && left.of !== "now" && left.id === right.id && (left.seed !== right.seed || left.text !== right.text);
  if (canGoBack) {
    const take = element("button", "action small take", `${word("takeLeft")} `);
    take.append(element("kbd", "", "B"));
    take.addEventListener("click", () => { comparison.go(n, false); attempt(() => comparison.back(n)); });
    head.append(take);
  }
  pair.append(head, sideCell(left, right), sideCell(right, left));
  pair.addEventListener("pointerdown", () => comparison.go(n, false));
  return pair;
}

function sideCell(row, other) {
  const cell = element("figure", "side"), words = element("figcaption");
  if (!row) { cell.append(element("p", "nothing-there soft", word("missing"))); return cell; }
  if (row.file) {
    const link = element("a", "", "", {href: fileUrl(comparison.name, row.file, row.token, "", row.of), target: "_blank", rel: "noopener"});
    link.append(Object.assign(element("img", "", "", {alt: row.text, loading: "lazy"}), {src: fileUrl(comparison.name, row.thumbnail, row.token, "", row.of)}));
    cell.append(link);
  } else cell.append(element("p", "nothing-there wrong", row.error || word("failed")));
  const facts = [["text", row.text], ["seed", row.seed === null ? "" : `${word("seed")} ${row.seed}`], ["model", row.model], ["release", row.release.slice(0, 12)], ["size", row.file ? `${row.width_px}×${row.height_px}` : ""]];
  for (const [field, text] of facts) {
    const differs = other && (field === "size" ? row.width_px !== other.width_px || row.height_px !== other.height_px : row[field] !== other[field]);
    if (text && (differs || field === "text")) words.append(element("span", differs ? "differs" : "soft", text));
  }
  cell.append(words);
  return cell;
}

const KEYS = {
  ArrowDown: () => comparison.go(comparison.at + 1), ArrowUp: () => comparison.go(comparison.at - 1), j: () => comparison.go(comparison.at + 1), k: () => comparison.go(comparison.at - 1),
  Home: () => comparison.go(0), End: () => comparison.go(comparison.shown.length - 1), d: () => comparison.toggle(), b: () => attempt(() => comparison.back(comparison.at)),
  Enter: () => $("pairs").children[comparison.at]?.querySelector(".side:last-child a")?.click(), Escape: () => location.assign($("back").href),
};

async function attempt(call) {
  try {
    await call();
    $("notice").hidden = true;
  } catch (error) {
    if (!(error instanceof Refused) && !(error instanceof TypeError)) throw error;
    $("notice").textContent = error instanceof Refused ? error.problems?.[0]?.rule || error.message : word("offline");
    $("notice").hidden = false;
  }
}

translate();
document.title = `${word("compare")}: ${comparison.name} · ImageGenX`;
$("back").textContent = comparison.name;
$("back").href = `/catalogs/${encodeURIComponent(comparison.name)}`;
$("more").addEventListener("click", () => comparison.extend($("pairs").children.length + PAGE));
$("differing").addEventListener("click", () => comparison.toggle());
document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, select, textarea, dialog") || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.closest?.("button, a") && event.key === "Enter") return;
  const call = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (call) { call(); event.preventDefault(); }
});
attempt(() => comparison.load());
