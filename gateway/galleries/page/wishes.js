"use strict";
// What is asked of the catalog: other prompts, new seeds, an earlier version again. A run that makes it begins soon after.
const wishes = {
  rows: new Set(), all: false,

  waits(row) { return this.all || this.rows.has(row.id); },

  // What the gateway knows of; true if that is news.
  take(asked) {
    const rows = new Set(asked.flat()), all = asked.some((one) => !one.length);
    const news = all !== this.all || rows.size !== this.rows.size || [...rows].some((row) => !this.rows.has(row));
    Object.assign(this, {rows, all});
    return news;
  },

  async ask(what, body) {
    const told = await gateway.call("POST", `${gallery.verdicts.path}/${what}`, {id: newId(), ...body});
    for (const row of body.rows || Object.keys(body.texts || {})) this.rows.add(row);
    this.all ||= what !== "edit" && !body.rows;
    $("saving").textContent = word(told.to_make ? "askedFor" : "comesBack", number.format(told.rows), number.format(told.to_make));
    gallery.redraw();
  },

  reseed() {
    const rows = (gallery.selected.size ? [...gallery.selected] : [gallery.current]).filter(Boolean).map((row) => row.id);
    if (rows.length) attempt(() => this.ask("reseed", {rows}));
    if (gallery.selected.size) { gallery.clear(); gallery.redraw(); }
  },

  edit() {
    const row = gallery.current;
    if (!row) return;
    this.row = row;
    $("edit-id").textContent = row.id;
    $("edit-text").value = row.text;
    $("edit-wrong").hidden = true;
    $("editing").showModal();
    $("edit-text").focus();
  },

  async save() {
    try {
      await this.ask("edit", {texts: {[this.row.id]: $("edit-text").value}});
      $("editing").close();
    } catch (error) {
      $("edit-wrong").textContent = error instanceof Refused ? error.problems?.[0]?.rule || error.message : word("offline");
      $("edit-wrong").hidden = false;
    }
  },

  async versions() {
    $("reseed-all").textContent = word("reseedAll");
    $("reseed-all").dataset.sure = "";
    $("version-list").replaceChildren(element("li", "soft", "…"));
    $("versions").showModal();
    const {versions} = await gateway.call("GET", `${gallery.verdicts.path}/versions`);
    $("version-list").replaceChildren(...versions.map((one) => {
      const line = element("li"), ends = element("span", "links");
      line.append(element("strong", "", versionName(one)), element("span", "soft", word(one.of === "now" ? "made" : "until", day(one.at_s))), ends);
      if (one.of !== "now") {
        const back = element("button", "action small", word("rollBack"), {type: "button"});
        back.addEventListener("click", () => attempt(async () => { $("versions").close(); await this.ask("roll-back", {to: one.of}); }));
        ends.append(element("a", "action small", word("compare"), {href: `${location.pathname}/compare?left=${one.of}`}), back);
      }
      return line;
    }));
  },

  start() {
    $("do-reseed").addEventListener("click", () => this.reseed());
    $("v-edit").addEventListener("click", () => this.edit());
    $("open-versions").addEventListener("click", () => attempt(() => this.versions()));
    $("edit-cancel").addEventListener("click", () => $("editing").close());
    $("editing").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); this.save(); });
    $("edit-text").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.save(); });
    $("reseed-all").addEventListener("click", () => {
      const sure = $("reseed-all").dataset.sure;
      $("reseed-all").dataset.sure = "asked";
      $("reseed-all").textContent = word("reseedSure", number.format(gallery.rows.length));
      if (sure) attempt(async () => { $("versions").close(); await this.ask("reseed", {}); });
    });
  },
};
