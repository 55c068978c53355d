"use strict";
// The calls of the gateway.
class Refused extends Error {
  constructor(code, message, problems, retryAfter) {
    super(message);
    Object.assign(this, {code, problems, retryAfter});
  }
}

// The token in the address that `imagegenx dev` prints: it leaves the address at once, and this tab keeps it.
function startToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token") || "";
  if (given) {
    history.replaceState(null, "", location.pathname + location.search);
    kept.set("token", given, thisTab);
  }
  return given || kept.get("token", thisTab);
}

// The address of a new start, put into a tab where the page is open, loads nothing by itself.
addEventListener("hashchange", () => { if (location.hash.startsWith("#token=")) { startToken(); location.reload(); } });

const service = {
  key: kept.get("key"),
  token: startToken(),
  local: false,

  // Who has the start-up token gets a key from the gateway; all others enter one.
  async findKey() {
    if (this.key && !this.local) return true;
    if (!this.token) return false;
    const response = await fetch("/page/key", {method: "POST", headers: {"X-Page-Token": this.token}, cache: "no-store"});
    const key = response.ok ? (await response.json()).data.key : "";
    if (key) Object.assign(this, {key, local: true});
    return Boolean(key);
  },

  // `files` by the names of a form's parts; with any, the body is the form's part `request`.
  async call(method, path, body, files = {}) {
    const response = await this.fetched(method, path, body, files);
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) {
      throw new Refused(response.status, answer.message || response.statusText, answer.data?.problems || [], response.headers.get("Retry-After"));
    }
    return answer.data;
  },

  fetched(method, path, body, files = {}) {
    const headers = {"X-API-Key": this.key};
    if (!Object.keys(files).length) {
      if (body) headers["Content-Type"] = "application/json";
      return fetch(path, {method, headers, body: body && JSON.stringify(body), cache: "no-store"});
    }
    const form = new FormData();
    form.append("request", JSON.stringify(body));
    for (const [name, file] of Object.entries(files)) form.append(name, file, file.name || `${name}.png`);
    return fetch(path, {method, headers, body: form, cache: "no-store"});
  },

  // Server-sent events, read by hand because EventSource sends no key. Ends when the task has ended, or with the status
  // of the answer that says that there is nothing to follow.
  async follow(taskId, onTask, onPreview) {
    for (let pause = 500; ; pause = Math.min(2 * pause, 8000)) {
      try {
        const response = await this.fetched("GET", `/api/v1/image/task/${encodeURIComponent(taskId)}/events?previews=true`);
        if ([401, 403, 404].includes(response.status)) return response.status;
        if (response.ok && await this.readEvents(response, onTask, onPreview)) return response.status;
        if (response.ok) pause = 500;
      } catch { /* the connection broke: try again */ }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  },

  async readEvents(response, onTask, onPreview) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return false;
      text += value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        const lines = event.split("\n"), line = lines.find((one) => one.startsWith("data: "));
        if (!line) continue;
        const task = JSON.parse(line.slice(6));
        if (lines.includes("event: preview")) { onPreview(task); continue; }
        onTask(task);
        if (isOver(task)) return true;
      }
    }
  },
};

const isOver = (task) => !["waiting", "processing"].includes(task.status);

// Results carry absolute URLs for clients elsewhere; the page asks the gateway it came from.
function own(url) {
  try {
    const parsed = new URL(url, location.href);
    return parsed.pathname.startsWith("/api/v1/image/file/") ? parsed.pathname + parsed.search : "";
  } catch { return ""; }
}
