"use strict";
// The gallery of one catalog: all rows in memory, the cells that can be seen on the page, and a verdict at a key.
const GAP = 10, CAPTION = 44, AHEAD = 2, STATES = ["all", "unreviewed", "approved", "rejected", "starred", "failed"];
const REASONS = ["why1", "why2", "why3", "why4", "why5"];
const MOST_CHOICES = 50;

const gallery = {
  name: decodeURIComponent(location.pathname.split("/").pop()), token: "", version: "",
  rows: [], shown: [], at: 0, anchor: 0, scorers: [], selected: new Set(), selecting: false, cells: new Map(), free: [], counts: {},
  filters: {state: "all", q: "", model: "", sort: "order", carry: {}}, lastRejected: [], drawn: 0,

  get current() { return this.shown[this.at]; },

  // ---- rows, filters, addresses
  async load() {
    const told = await gateway.call("GET", this.verdicts.path);
    await this.poll();
    // Nothing is waited for from here on: keys that are pressed meanwhile hold.
    const {selecting} = this, chosen = new Set(Array.from(this.selected, (row) => row.id));
    const from = this.current ? this.shown.slice(this.at).map((row) => row.id) : [new URLSearchParams(location.search).get("at")];
    Object.assign(this, {token: told.token, version: told.version, review: told.review, madeAt: told.made_at_s});
    this.rows = rowsOf(told);
    Object.assign($("dagster"), {href: told.dagster_url, hidden: !told.dagster_url});
    for (const row of this.rows) row.words = `${row.id}\n${row.text}\n${Object.values(row.carry).join("\n")}`.toLowerCase();
    this.scorers = [...new Set(this.rows.flatMap((row) => Object.keys(row.scores)))];
    this.choices();
    this.refilter(from, chosen, selecting);
    viewer.follow(this.current);
    $("unmade").hidden = this.rows.length > 0;
    $("tools").hidden = this.rows.length === 0;
    document.documentElement.dataset.ready = "";
  },

  async poll() {
    const told = await gateway.call("GET", `${this.verdicts.path}/state?known=${encodeURIComponent(this.verdicts.version)}`);
    $("live").hidden = !told.progress;
    if (told.progress) $("live").textContent = progressWords(told.progress);
    if (wishes.take(told.asked)) this.redraw();
    if (told.verdicts && !this.verdicts.sending) {
      this.verdicts.version = told.verdicts_version;
      this.verdicts.take(told.verdicts);
      this.recount();
      this.redraw();
    }
    $("notice").hidden = true;
    return told.version;
  },

  matches(row) {
    const {state, q, model, carry} = this.filters, said = this.verdicts.of(row);
    if (state === "failed" ? row.file : state === "starred" ? !said.star : state !== "all" && (!row.file || said.state !== state)) return false;
    if (model && row.model !== model) return false;
    for (const name in carry) if (carry[name] && row.carry[name] !== carry[name]) return false;
    return !q || q.toLowerCase().split(/\s+/).every((part) => row.words.includes(part) || said.reason.toLowerCase().includes(part));
  },

  // Show the rows that match, in their order, at the first of these ids that is among them, with these ids chosen.
  refilter(from = [this.current?.id], chosen = new Set(), selecting = false) {
    this.shown = this.rows.filter((row) => this.matches(row));
    const by = {
      id: (a, b) => a.id.localeCompare(b.id, undefined, {numeric: true}),
      reviewed: (a, b) => this.verdicts.of(b).at_s - this.verdicts.of(a).at_s,
      flat: (a, b) => a.spread - b.spread,
    }[this.filters.sort] || (this.scorers.includes(this.filters.sort) && ((a, b) => (a.scores[this.filters.sort] ?? 2) - (b.scores[this.filters.sort] ?? 2)));
    if (by) this.shown.sort(by);
    const places = new Map(this.shown.map((row, n) => [row.id, n]));
    this.at = this.anchor = places.get(from.find((id) => places.has(id))) ?? 0;
    this.selected = new Set(this.shown.filter((row) => chosen.has(row.id)));
    this.select(selecting);
    $("no-match").hidden = this.shown.length > 0 || this.rows.length === 0;
    this.layout();
    this.recount();
    this.redraw();
    this.show();
    this.share();
  },

  recount() {
    const counts = Object.fromEntries(STATES.map((name) => [name, 0]));
    for (const row of this.rows) {
      counts.all++;
      if (!row.file) { counts.failed++; continue; }
      const said = this.verdicts.of(row);
      counts[said.state]++;
      if (said.star) counts.starred++;
    }
    this.counts = counts;
    this.drawCounts();
  },

  drawCounts() {
    for (const button of $("states").children) {
      const count = this.counts[button.value];
      button.lastChild.textContent = number.format(count);
      button.hidden = !count && !["all", "unreviewed", "approved", "rejected"].includes(button.value) && this.filters.state !== button.value;
      button.setAttribute("aria-pressed", this.filters.state === button.value);
    }
    const parts = [this.madeAt ? word("made", day(this.madeAt)) : word("neverMade")];
    if (this.review?.required) parts.push(word("required"));
    if (this.review?.owner) parts.push(word("asked", this.review.owner));
    $("summary").textContent = parts.join(" · ");
  },

  // A select for the models, one for each carried column that has few values, and the order.
  choices() {
    const columns = new Map();
    for (const row of this.rows) for (const name in row.carry) (columns.get(name) || columns.set(name, new Set()).get(name)).add(row.carry[name]);
    const models = [...new Set(this.rows.map((row) => row.model))].sort();
    const picks = models.length > 1 ? [pick("model", word("model"), [["", word("model")], ...models.map((name) => [name, name])], this.filters.model, (value) => { this.filters.model = value; })] : [];
    for (const [name, values] of columns) {
      if (values.size < 2 || values.size > MOST_CHOICES) continue;
      const options = [["", name], ...[...values].sort().map((value) => [value, value])];
      picks.push(pick(`carry-${name}`, name, options, this.filters.carry[name] || "", (value) => { this.filters.carry[name] = value; }));
    }
    const orders = [["order", word("order")], ["id", word("byId")], ["reviewed", word("reviewed")], ["flat", word("flat")], ...this.scorers.map((name) => [name, word("lowest", scorerName(name))])];
    picks.push(pick("sort", word("sort"), orders, this.filters.sort, (value) => { this.filters.sort = value; }));
    $("picks").replaceChildren(...picks);
  },

  share() {
    clearTimeout(this.sharing);
    this.sharing = setTimeout(() => {
      const {state, q, model, sort, carry} = this.filters, query = new URLSearchParams();
      if (state !== "all") query.set("state", state);
      if (q) query.set("q", q);
      if (model) query.set("model", model);
      if (sort !== "order") query.set("sort", sort);
      for (const name in carry) if (carry[name]) query.set(`c.${name}`, carry[name]);
      if (this.current && (this.at || viewer.open)) query.set("at", this.current.id);
      if (viewer.open) query.set("open", "1");
      history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
    }, 250);
  },

  readAddress() {
    const query = new URLSearchParams(location.search);
    Object.assign(this.filters, {q: query.get("q") || "", model: query.get("model") || ""});
    if (STATES.includes(query.get("state"))) this.filters.state = query.get("state");
    if (/^\w{1,60}$/.test(query.get("sort") ?? "")) this.filters.sort = query.get("sort");
    for (const [name, value] of query) if (name.startsWith("c.")) this.filters.carry[name.slice(2)] = value;
    $("search").value = this.filters.q;
    return query.get("open") === "1";
  },

  // ---- the grid: only the cells that can be seen are there
  layout() {
    const width = $("grid").clientWidth, least = width < 560 ? 104 : 168;
    this.columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    this.side = (width + GAP) / this.columns - GAP;
    this.height = this.side + CAPTION + GAP;
    $("grid").style.height = `${Math.ceil(this.shown.length / this.columns) * this.height}px`;
    for (const [n, cell] of this.cells) this.release(n, cell);
  },

  // Put cells where the window is now; a cell that stays is left alone.
  redraw(anew = true) {
    const top = -$("grid").getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.height) - AHEAD) * this.columns;
    const last = Math.min(this.shown.length, (Math.ceil((top + innerHeight) / this.height) + AHEAD) * this.columns);
    for (const [n, cell] of this.cells) if (n < first || n >= last) this.release(n, cell);
    for (let n = first; n < last; n++) if (anew || !this.cells.has(n)) this.drawCell(n);
  },

  release(n, cell) {
    cell.remove();
    this.cells.delete(n);
    if (this.free.length < 60) this.free.push(cell);
  },

  drawCell(n) {
    const row = this.shown[n];
    if (!row) return;
    this.drawn++;
    let cell = this.cells.get(n);
    if (!cell) {
      cell = this.free.pop() || newCell();
      this.cells.set(n, cell);
      $("grid").append(cell);
    }
    const {state, star, reason} = this.verdicts.of(row), said = row.file ? state : "failed", chosen = this.selected.has(row), waits = wishes.waits(row);
    cell.className = `cell ${said}${n === this.at ? " at" : ""}${chosen ? " chosen" : ""}${waits ? " waits" : ""}`;
    cell.style.transform = `translate(${(n % this.columns) * (this.side + GAP)}px, ${Math.floor(n / this.columns) * this.height}px)`;
    cell.style.width = `${this.side}px`;
    cell.style.height = `${this.height - GAP}px`;
    cell.dataset.n = n;
    cell.id = `cell-${n}`;
    cell.setAttribute("aria-selected", chosen);
    cell.setAttribute("aria-setsize", this.shown.length);
    cell.setAttribute("aria-posinset", n + 1);
    cell.setAttribute("aria-label", `${row.id}, ${word(said)}${star ? `, ${word("starred")}` : ""}${waits ? `, ${word("waits")}` : ""}`);
    const [image, mark, id, text] = cell.parts, url = row.thumbnail ? fileUrl(this.name, row.thumbnail, this.token) : "";
    if (cell.url !== url) { cell.url = url; image.hidden = !url; if (url) image.src = url; }
    mark.textContent = `${waits ? "↻" : ""}${star ? "★" : ""}${{approved: "✓", rejected: "✕", failed: "!"}[said] || ""}`;
    id.textContent = row.id;
    text.textContent = reason || row.error || row.text;
  },

  drawRow(row) {
    const n = this.shown[this.at] === row ? this.at : this.place(row);
    if (this.cells.has(n)) this.drawCell(n);
    if (viewer.open && row === this.current) viewer.draw(row);
  },

  // Where a picture is among those shown, also if its catalog has been read again since; -1 if it is not.
  place(row) { return this.shown.findIndex((one) => one.id === row.id && one.recipe === row.recipe); },

  // ---- moving and choosing
  go(n, extend = false) {
    const before = this.at;
    this.at = Math.max(0, Math.min(this.shown.length - 1, n));
    if (extend) {
      const [from, to] = [Math.min(this.anchor, this.at), Math.max(this.anchor, this.at)];
      this.selected = new Set(this.shown.slice(from, to + 1));
      this.redraw();
    } else {
      this.anchor = this.at;
      for (const one of [before, this.at]) if (this.cells.has(one)) this.drawCell(one);
    }
    this.show();
    this.drawDeck();
    if (viewer.open && this.current) viewer.show(this.current);
    this.share();
  },

  move(by, extend = false) { this.go(this.at + by, extend); },

  // Scroll so far that the current cell is seen.
  show() {
    $("grid").setAttribute("aria-activedescendant", `cell-${this.at}`);
    if (!this.shown.length || !this.height) return;
    const top = $("grid").getBoundingClientRect().top + scrollY + Math.floor(this.at / this.columns) * this.height;
    const above = $("tools").getBoundingClientRect().height + GAP, below = $("deck").hidden ? GAP : this.deck.offsetHeight + GAP;
    if (top < scrollY + above) scrollTo(0, top - above);
    else if (top + this.height > scrollY + innerHeight - below) scrollTo(0, top + this.height - innerHeight + below);
    else return;
    this.redraw(false);
  },

  toggle(n) {
    const row = this.shown[n];
    if (!this.selected.delete(row)) this.selected.add(row);
    this.drawCell(n);
    this.drawDeck();
  },

  clear() {
    this.selected = new Set();
    this.select(false);
  },

  // Whether clicks choose pictures.
  select(selecting) {
    this.selecting = selecting;
    $("selecting").setAttribute("aria-pressed", selecting);
    this.drawDeck();
  },

  // ---- verdicts
  judge(said) {
    const chosen = this.selected.size ? [...this.selected] : [this.current];
    const rows = chosen.filter((row) => row?.file);
    if (!rows.length) return;
    if ("star" in said) said = {star: !rows.every((row) => this.verdicts.of(row).star)};
    this.verdicts.say(rows, said);
    this.lastRejected = said.state === "rejected" ? rows : [];
    const many = this.selected.size > 0;
    if (many) { this.clear(); this.redraw(); }
    else if (said.state) this.move(1);
    this.drawDeck();
  },

  undo() {
    const rows = this.verdicts.undo();
    this.lastRejected = [];
    const n = rows.length ? this.place(rows[0]) : -1;
    if (n >= 0) this.go(n);
    this.drawDeck();
  },

  giveReason(reason) {
    if (!this.lastRejected.length || !reason) return;
    this.verdicts.say(this.lastRejected, {state: "rejected", reason});
    this.drawDeck();
  },

  changed(row, before, now) {
    if (this.rows[row.n]?.recipe === row.recipe) {
      this.counts[before.state]--;
      this.counts[now.state]++;
      this.counts.starred += now.star - before.star;
    }
    this.drawRow(row);
  },

  drawDeck() {
    const any = this.rows.length > 0;
    $("deck").hidden = !any || (!this.shown.length && !this.verdicts.undoable.length);
    $("open-versions").hidden = !any;
    if (!any) return;
    $("chosen").textContent = this.selected.size ? word("selected", number.format(this.selected.size)) : this.shown.length ? word("of", number.format(this.at + 1), number.format(this.shown.length)) : "";
    $("do-clear").hidden = !this.selected.size;
    $("do-undo").disabled = !this.verdicts.undoable.length;
    $("reasons").hidden = !this.lastRejected.length || this.selected.size > 0;
    this.drawCounts();
  },
};

function newCell() {
  const cell = element("div", "cell", "", {role: "option"}), parts = ["img", "span", "strong", "p"].map((tag) => element(tag));
  parts[0].alt = "";
  parts[1].className = "mark";
  parts[0].onerror = () => { parts[0].hidden = true; };
  cell.append(...parts);
  cell.parts = parts;
  return cell;
}

function pick(id, label, options, value, set) {
  const select = element("select", value && value !== "order" ? "on" : "", "", {id, "aria-label": label});
  for (const [key, text] of options) select.append(new Option(text, key, false, key === value));
  select.addEventListener("change", () => { set(select.value); select.classList.toggle("on", select.value !== options[0][0]); gallery.refilter(); $("grid").focus({preventScroll: true}); });
  return select;
}

// ---- keys, clicks, touches
const KEYS = {
  a: () => gallery.judge({state: "approved"}), r: () => gallery.judge({state: "rejected"}), s: () => gallery.judge({star: true}), u: () => gallery.undo(),
  n: () => wishes.reseed(), p: () => wishes.edit(), v: () => attempt(() => wishes.versions()),
  x: () => gallery.shown.length && gallery.toggle(gallery.at), "/": () => { viewer.close(); $("search").focus(); }, e: () => otherReason(),
  Enter: () => (viewer.open ? viewer.close() : open()), " ": () => (viewer.open ? viewer.close() : open()),
  Escape: () => (viewer.open ? viewer.close() : (gallery.clear(), gallery.redraw())),
  Home: (event) => gallery.go(0, event.shiftKey), End: (event) => gallery.go(gallery.shown.length - 1, event.shiftKey),
  ArrowLeft: (event) => gallery.move(-1, event.shiftKey), ArrowRight: (event) => gallery.move(1, event.shiftKey),
  ArrowUp: (event) => gallery.move(viewer.open ? -1 : -gallery.columns, event.shiftKey), ArrowDown: (event) => gallery.move(viewer.open ? 1 : gallery.columns, event.shiftKey),
};

function pressed(event) {
  const typing = event.target.closest?.("input, select, textarea"), asking = document.querySelector("dialog.asking[open]");
  if (asking || event.altKey) return;
  if (typing) { if (event.key === "Escape" || (event.key === "Enter" && typing.id === "search")) $("grid").focus({preventScroll: true}); return; }
  if (event.target.closest?.("button, a") && ["Enter", " "].includes(event.key)) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key === "a") { gallery.selected = new Set(gallery.shown); gallery.redraw(); gallery.drawDeck(); event.preventDefault(); }
    if (event.key === "z") { gallery.undo(); event.preventDefault(); }
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key >= "1" && key <= "5") gallery.giveReason(word(REASONS[key - 1]));
  else if (KEYS[key]) KEYS[key](event);
  else return;
  event.preventDefault();
}

// The viewer is on the page's top layer: what is pressed there has to be in it.
function open() {
  if (!gallery.current) return;
  viewer.show(gallery.current);
  $("viewer").append(gallery.deck);
  gallery.share();
}

function otherReason() {
  if (!gallery.lastRejected.length) return;
  const input = $("other-reason");
  input.hidden = false;
  input.value = "";
  input.focus();
}

function clicked(event) {
  const cell = event.target.closest(".cell");
  if (!cell) return;
  const n = Number(cell.dataset.n);
  if (gallery.held) gallery.held = false; // the finger that chose it lets go
  else if (event.shiftKey) gallery.go(n, true);
  else if (event.ctrlKey || event.metaKey || gallery.selecting) { gallery.go(n); gallery.toggle(n); }
  else { gallery.go(n); open(); }
}

function start() {
  translate();
  document.title = `${gallery.name} · ImageGenX`;
  $("title").textContent = gallery.name;
  $("unmade-command").textContent = `imagegenx demo --catalog ${gallery.name}`;
  gallery.deck = $("deck");
  gallery.verdicts = new Verdicts(gallery.name, (...change) => gallery.changed(...change));
  for (const state of STATES) {
    const button = element("button", `state ${state}`, `${word(state)} `, {value: state});
    button.append(element("b"));
    button.addEventListener("click", () => { gallery.filters.state = state; gallery.refilter(); $("grid").focus({preventScroll: true}); });
    $("states").append(button);
  }
  REASONS.forEach((name, i) => {
    const button = element("button", "action small", `${word(name)} `);
    button.append(element("kbd", "", String(i + 1)));
    button.addEventListener("click", () => gallery.giveReason(word(name)));
    $("reasons").append(button);
  });
  const other = element("button", "action small", `${word("other")} `), input = element("input", "", "", {id: "other-reason", maxlength: "500", hidden: "", "aria-label": word("reason")});
  other.append(element("kbd", "", "E"));
  other.addEventListener("click", otherReason);
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") gallery.giveReason(input.value.trim()); if (["Enter", "Escape"].includes(event.key)) { input.hidden = true; event.stopPropagation(); $("grid").focus({preventScroll: true}); } });
  $("reasons").append(other, input);
  for (const [id, said] of [["do-approve", {state: "approved"}], ["do-reject", {state: "rejected"}], ["do-star", {star: true}]]) $(id).addEventListener("click", () => gallery.judge(said));
  $("do-undo").addEventListener("click", () => gallery.undo());
  $("do-clear").addEventListener("click", () => { gallery.clear(); gallery.redraw(); });
  $("show-all").addEventListener("click", () => { gallery.filters = {state: "all", q: "", model: "", sort: "order", carry: {}}; $("search").value = ""; gallery.choices(); gallery.refilter(); });
  $("selecting").addEventListener("click", () => { gallery.select(!gallery.selecting); if (!gallery.selecting) { gallery.clear(); gallery.redraw(); } });
  let typing;
  $("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { gallery.filters.q = $("search").value.trim(); gallery.refilter(); }, 120); });
  $("grid").addEventListener("click", clicked);
  let held; // a finger that stays on a cell chooses it
  $("grid").addEventListener("touchstart", (event) => {
    const cell = event.target.closest(".cell");
    gallery.held = false;
    held = cell && setTimeout(() => { gallery.held = true; gallery.select(true); gallery.toggle(Number(cell.dataset.n)); }, 450);
  }, {passive: true});
  for (const name of ["touchend", "touchmove", "touchcancel"]) $("grid").addEventListener(name, () => clearTimeout(held), {passive: true});
  $("grid").addEventListener("contextmenu", (event) => { if (gallery.selecting) event.preventDefault(); });
  document.addEventListener("keydown", pressed);
  addEventListener("scroll", () => gallery.redraw(false), {passive: true});
  new ResizeObserver(() => { if (gallery.rows.length) { gallery.layout(); gallery.redraw(); } }).observe($("grid").parentElement);
  viewer.start();
  wishes.start();
  const opened = gallery.readAddress();
  attempt(async () => { await gallery.load(); gallery.drawDeck(); $("grid").focus({preventScroll: true}); if (opened && gallery.current) open(); });
  setInterval(() => { if (!document.hidden && !document.querySelector("dialog.asking[open]")) attempt(watch); }, 4000);
}

async function watch() {
  if (!("ready" in document.documentElement.dataset)) return;
  if (await gallery.poll() !== gallery.version) await gallery.load();
}

async function attempt(call) {
  try { await call(); }
  catch (error) {
    if (!(error instanceof Refused) && !(error instanceof TypeError)) throw error;
    $("notice").textContent = error instanceof Refused ? error.message : word("offline");
    $("notice").hidden = false;
    if (error.code === 404 && !gallery.rows.length) $("tools").hidden = $("open-versions").hidden = true;
    if (!("ready" in document.documentElement.dataset) && error.code !== 404) setTimeout(() => attempt(call), 3000);
  }
}

start();
