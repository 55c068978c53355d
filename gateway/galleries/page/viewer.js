"use strict";
// One picture, as large as there is room for, with all that is known of it.
const viewer = {
  get open() { return $("viewer").open; },

  show(row) {
    if (!this.open) $("viewer").showModal();
    this.shown = row;
    const thumb = row.thumbnail && fileUrl(gallery.name, row.thumbnail, gallery.token), image = $("full");
    image.hidden = !row.file;
    image.alt = row.text;
    if (row.file) {
      image.src = thumb;
      const full = new Image(), url = fileUrl(gallery.name, row.file, gallery.token);
      full.onload = () => { if (gallery.current === row) image.src = url; };
      full.src = url;
    }
    $("why-failed").hidden = !row.error;
    $("why-failed").textContent = row.error;
    $("v-id").textContent = row.id;
    $("v-text").textContent = row.text;
    const facts = [...Object.entries(row.carry), [word("model"), row.model], [word("size"), row.file && `${row.width_px}×${row.height_px}`], [word("seed"), row.seed ?? ""],
      [word("file"), row.file && `${row.format}, ${number.format(Math.ceil(row.size_bytes / 1000))} kB`],
      ...Object.entries(row.scores).map(([name, score]) => [scorerName(name), `${Math.round(100 * score)} %`])];
    $("v-facts").replaceChildren(...facts.filter(([, value]) => value !== "" && value !== null).flatMap(([name, value]) => [element("dt", "", name), element("dd", "", String(value))]));
    $("v-compare").href = `/catalogs/${encodeURIComponent(gallery.name)}/compare?at=${encodeURIComponent(row.id)}`;
    $("v-download").hidden = $("v-recipe").hidden = !row.file;
    $("v-download").href = row.file ? fileUrl(gallery.name, row.file, gallery.token, row.id) : "";
    this.draw(row);
    this.history(row);
  },

  // A verdict is of the picture that is seen: the one that has come in its stead is shown.
  follow(row) {
    if (!this.open || (row && row.file === this.shown.file && row.error === this.shown.error)) return;
    if (row) this.show(row);
    else this.close();
  },

  // What a verdict changes.
  draw(row) {
    const {state, star, reason} = gallery.verdicts.of(row);
    $("v-state").textContent = row.recipe && row.file ? `${star ? "★ " : ""}${word(state)}${reason ? `: ${reason}` : ""}` : word("failed");
    $("v-state").className = `badge ${row.file ? state : "failed"}`;
  },

  // Asked for once a person stays with a picture for a moment; its recipe can be copied from then on.
  history(row) {
    clearTimeout(this.timer);
    $("v-recipe").disabled = true;
    $("v-history").replaceChildren(element("li", "soft", row.file ? "…" : word("nobody")));
    if (!row.file) return;
    this.timer = setTimeout(async () => {
      const known = await gateway.call("GET", `${gallery.verdicts.path}/picture/${row.recipe}`).catch(() => null);
      if (!known || gallery.current !== row) return;
      this.recipe = known.recipe;
      $("v-recipe").disabled = false;
      const lines = known.history.map(({state, star, reason, by, at_s}) => {
        const said = [state && word(state), star !== null && (star ? "★" : "☆"), reason].filter(Boolean).join(" · ");
        const line = element("li", "", said);
        line.append(element("span", "soft", `${by}, ${day(at_s)}`));
        return line;
      });
      $("v-history").replaceChildren(...(lines.length ? lines : [element("li", "soft", word("nobody"))]));
    }, 300);
  },

  close() { if (this.open) $("viewer").close(); },

  start() {
    $("shut").addEventListener("click", () => this.close());
    $("before").addEventListener("click", () => gallery.move(-1));
    $("after").addEventListener("click", () => gallery.move(1));
    $("viewer").addEventListener("close", () => { $("deck").remove(); document.body.append(gallery.deck); gallery.share(); if (!document.activeElement?.matches("input")) $("grid").focus({preventScroll: true}); gallery.drawDeck(); });
    $("v-recipe").addEventListener("click", async () => {
      await navigator.clipboard?.writeText(this.recipe);
      $("v-recipe").textContent = word("copied");
      setTimeout(() => { $("v-recipe").textContent = word("recipe"); }, 1500);
    });
    let from = null; // a swipe
    $("stage").addEventListener("touchstart", (event) => { from = event.touches.length === 1 ? event.touches[0] : null; }, {passive: true});
    $("stage").addEventListener("touchend", (event) => {
      const to = event.changedTouches[0], dx = from ? to.clientX - from.clientX : 0, dy = from ? to.clientY - from.clientY : 0;
      if (Math.abs(dx) > 50 && Math.abs(dx) > 2 * Math.abs(dy)) gallery.move(dx < 0 ? 1 : -1);
      else if (dy > 90) this.close();
    });
  },
};
