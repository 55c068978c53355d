"use strict";
// What is said of pictures: at once on the page, then in the store, in order, again and again until it is there.
const UNSAID = {state: "unreviewed", star: false, reason: "", by: "", at_s: 0};
const MOST = 500;

class Verdicts {
  constructor(catalog, changed) {
    Object.assign(this, {path: `/api/v1/catalogs/${encodeURIComponent(catalog)}`, changed, known: new Map(), pending: [], undoable: [], version: "", sending: false});
    addEventListener("beforeunload", (event) => { if (this.pending.length) event.preventDefault(); });
  }

  of(row) { return this.known.get(row.recipe) || UNSAID; }

  // Say something of rows: {state, reason} or {star}.
  say(rows, said) {
    this.undoable.push(rows.map((row) => [row, this.of(row)]));
    for (const row of rows) this.put(row, said);
    this.send();
  }

  // Take the last thing back that was said here; returns its rows.
  undo() {
    const last = this.undoable.pop() || [];
    for (const [row, {state, star, reason}] of last) this.put(row, {state, star, reason});
    this.send();
    return last.map(([row]) => row);
  }

  put(row, said) {
    const before = this.of(row), now = {...before, ...said, at_s: Date.now() / 1000};
    if (said.state && said.reason === undefined) now.reason = "";
    this.known.set(row.recipe, now);
    this.pending.push({id: newId(), recipe: row.recipe, row: row.id, ...said});
    this.changed(row, before, now);
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    for (let pause = 500; this.pending.length; ) {
      const some = this.pending.slice(0, MOST);
      this.tell(word("saving", number.format(this.pending.length)));
      try {
        await gateway.call("POST", `${this.path}/verdicts`, {verdicts: some});
        this.pending.splice(0, some.length);
        pause = 500;
      } catch (error) {
        if (error instanceof Refused && [400, 404, 413, 422].includes(error.code)) {
          this.pending.splice(0, some.length);
          this.tell(word("refused", some.length, error.message), true);
          this.version = "";
          this.sending = false;
          return;
        }
        this.tell(word("unsaved", number.format(this.pending.length)), true);
        await new Promise((resolve) => setTimeout(resolve, pause));
        pause = Math.min(2 * pause, 5000);
      }
    }
    this.sending = false;
    this.tell(word("saved"));
  }

  // What others said; what is not saved yet holds here all the same.
  take(verdicts) {
    this.known = new Map(Object.entries(verdicts).map(([recipe, [state, star, reason, by, at_s]]) => [recipe, {state, star, reason, by, at_s}]));
    for (const {recipe, state, star, reason} of this.pending) {
      const before = this.known.get(recipe) || UNSAID;
      this.known.set(recipe, {...before, state: state ?? before.state, star: star ?? before.star, reason: reason ?? (state ? "" : before.reason)});
    }
  }

  tell(text, wrong = false) {
    $("saving").textContent = text;
    $("saving").classList.toggle("unsaved", wrong);
  }
}
