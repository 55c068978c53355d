"use strict";
// The cards of tasks, their progress, and finding them by words and tags.
const FOLLOWED = 3; // browsers keep six connections to a server; streams of events must leave some free
const tasks = new Map(), cards = new Map(), following = new Set(), dropped = new Set();
let nextBefore = null, visits = 0; // a visit begins with each key

// A task as it is, or was a moment ago: answers overtake each other, and what has ended stays ended.
function show(task, first = false) {
  const known = tasks.get(task.task_id);
  if (known && isOver(known) && !isOver(task)) return;
  task = {...known, ...task};
  tasks.set(task.task_id, task);
  const card = cards.get(task.task_id) || newCard(task, first);
  draw(card, task);
  if (known && known.status !== task.status && isOver(task)) tell(`${word(task.status)}: ${task.text} ${task.error_msg || ""}`);
  $("empty").hidden = true;
  $("finding").hidden = false;
  card.hidden = !isFound(task);
  if (viewer.task?.task_id === task.task_id) viewer.task = task;
}

// The same of a task whose card may be gone by now.
function update(task) { if (tasks.has(task.task_id)) show(task); }

// For who hears the page: what has come to an end, once.
function tell(text) { $("news").textContent = text; }

function newCard(task, first) {
  const card = element("div", "card");
  card.tabIndex = -1;
  card.dataset.task = task.task_id;
  cards.set(task.task_id, card);
  if (first) $("grid").prepend(card); else $("grid").append(card);
  return card;
}

function draw(card, task) {
  const pictures = task.result?.pictures || [];
  if (card.dataset.status === task.status && !isOver(task)) return drawProgress(card, task);
  card.dataset.status = task.status;
  const stage = element("div", pictures.length > 1 ? "stage several" : "stage");
  stage.append(...pictures.length ? pictures.slice(0, 4).map((picture, at) => thumb(task, picture, at)) : stateOf(task));
  if (pictures.length > 4) stage.append(element("span", "further", `+${pictures.length - 4}`));
  const hint = task.hint ? [element("span", "hint", task.hint)] : [];
  card.replaceChildren(stage, element("span", "words", task.text), element("span", "facts", factsLine(task, pictures[0])), ...hint);
  drawProgress(card, task);
}

function thumb(task, picture, at) {
  const image = element("img"), count = task.result.pictures.length;
  image.alt = count > 1 ? `${task.text} (${at + 1} / ${count})` : task.text;
  image.loading = "lazy";
  image.src = own(picture.thumb_url);
  const button = buttonOf("", () => viewer.open(tasks.get(task.task_id), at), "open");
  button.append(image);
  return button;
}

function stateOf(task) {
  const state = element("span", "state", word(task.status)), deeds = element("span", "deeds");
  if (isOver(task)) {
    if (task.status !== "rejected") deeds.append(buttonOf(word("retry"), () => retry(task)));
    deeds.append(buttonOf(word("dismiss"), () => remove(task).catch(complain)));
    return [state, element("span", "why", task.error_msg || ""), deeds];
  }
  const bar = element("progress"), stop = buttonOf(word("cancel"), () => cancel(task.task_id));
  bar.max = 100;
  stop.dataset.cancel = task.task_id;
  deeds.append(stop);
  return [state, bar, deeds];
}

function drawProgress(card, task) {
  const bar = card.querySelector("progress");
  if (!bar) return;
  bar.value = task.progress;
  bar.setAttribute("aria-label", word(task.status));
  card.querySelector(".state").textContent = stateText(task);
}

// A small picture of how far one is, behind the bar; several stand side by side.
function showPreview({task_id: id, picture, image}) {
  const task = tasks.get(id), stage = cards.get(id)?.querySelector(".stage");
  if (!stage || isOver(task)) return;
  const previews = stage.querySelector(".previews") || element("div", task.params.num_images > 1 ? "previews several" : "previews");
  if (!previews.isConnected) stage.prepend(previews);
  const place = Math.min(picture, 4), shown = previews.querySelector(`[data-picture="${place}"]`) || element("img", "", "", {"data-picture": place, alt: ""});
  shown.src = image;
  if (!shown.isConnected) previews.insertBefore(shown, [...previews.children].find((other) => other.dataset.picture > place) || null);
}

function stateText(task) {
  if (task.status === "processing") return task.progress ? `${word("processing")} ${task.progress} %` : word("preparing");
  if (workers === 0) return word("starting");
  const place = task.queue_position > 1 ? word("place", task.queue_position - 1) : "";
  const time = task.eta_s ? word("about", Math.ceil(task.eta_s)) : "";
  return [word("waiting"), place, time].filter(Boolean).join(" · ");
}

function factsLine(task, picture) {
  const count = task.result?.pictures.length || task.params.num_images || 1;
  return [picture?.resolution || task.params.resolution, task.model_type, ...(count > 1 ? [`× ${count}`] : [])].join(" · ");
}

// Follow the oldest unfinished tasks; the next ones as these end.
function follow() {
  const open = [...tasks.values()].filter((task) => !isOver(task) && !following.has(task.task_id));
  open.sort((a, b) => a.created_at - b.created_at);
  for (const {task_id: id} of open.slice(0, Math.max(0, FOLLOWED - following.size))) {
    following.add(id);
    service.follow(id, update, showPreview).then((refusal) => {
      following.delete(id);
      if (refusal === 404 && tasks.has(id)) drop(id);
      if (![401, 403].includes(refusal)) follow();
    });
  }
}

// Whether anybody is there to paint, and how far the waiting ones are: asked only while somebody waits.
let workers = null;

async function lookAtWaiting() {
  const waiting = [...tasks.values()].filter((task) => task.status === "waiting");
  if (!waiting.length || document.hidden) return;
  const health = await (await fetch("/health", {cache: "no-store"})).json();
  workers = health.data?.workers?.live ?? null;
  for (const task of waiting.slice(0, FOLLOWED)) update(await service.call("GET", `/api/v1/image/task/${encodeURIComponent(task.task_id)}`));
}
setInterval(() => lookAtWaiting().catch(() => { /* the stream of events says when the service is away */ }), 3000);

async function cancel(id) {
  cards.get(id)?.focus(); // the button goes, and the keyboard stays where it was
  try { update(await service.call("DELETE", `/api/v1/image/task/${encodeURIComponent(id)}`)); } catch (error) { complain(error); }
}

// The same request once more, with the same inputs; its old card goes once the new one is there.
async function retry(task) {
  const buttons = cards.get(task.task_id).querySelectorAll("button");
  calm();
  for (const button of buttons) button.disabled = true;
  try {
    await submit(requestOf(task));
    await remove(task);
  } catch (error) {
    for (const button of buttons) button.disabled = false;
    complain(error);
    scrollTo(0, 0);
  }
}

function requestOf(task, changes = {}) {
  const inputs = Object.fromEntries([...Object.keys(PART_OF), "controls"].filter((field) => task[field]).map((field) => [field, task[field]]));
  return {text: task.text, model_type: task.model_type, params: {...task.params, ...changes}, ...inputs};
}

async function remove(task) {
  try {
    await service.call("DELETE", `/api/v1/image/picture/${encodeURIComponent(task.task_id)}`);
  } catch (error) {
    if (error.code !== 404) throw error;
  }
  const card = cards.get(task.task_id), next = card?.nextElementSibling || card?.previousElementSibling || $("text");
  next.focus();
  drop(task.task_id);
  tell(`${word("deleted")}: ${task.text}`);
}

// The service has it no more.
function drop(id) {
  cards.get(id)?.remove();
  cards.delete(id);
  tasks.delete(id);
  dropped.add(id);
  tagged.set(id, []);
  $("empty").hidden = tasks.size > 0;
  $("finding").hidden = !tasks.size;
}

async function load(older = false) {
  const before = older && nextBefore ? `&before=${encodeURIComponent(nextBefore)}` : "", visit = visits;
  const page = await service.call("GET", `/api/v1/image/tasks?limit=48${before}`);
  if (visit !== visits) return;
  for (const task of page.tasks) if (!dropped.has(task.task_id)) show(task);
  nextBefore = page.next_before;
  $("older").hidden = nextBefore === null;
  $("empty").hidden = tasks.size > 0;
  follow();
}

// ---- words and tags -----------------------------------------------------------------------------------------------
const tagged = {
  all() { try { return JSON.parse(kept.get("tags") || "{}"); } catch { return {}; } },
  of(id) { return this.all()[id] || []; },

  set(id, tags) {
    const all = this.all();
    if (tags.length) all[id] = tags; else delete all[id];
    kept.set("tags", Object.keys(all).length ? JSON.stringify(all) : "");
    drawTags();
  },
};

function drawTags() {
  const counts = new Map();
  for (const tag of Object.values(tagged.all()).flat()) counts.set(tag, (counts.get(tag) || 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, 12);
  $("tags").replaceChildren(...most.map(([tag, count]) => {
    const button = buttonOf(`${tag} ${count}`, () => { $("search").value = $("search").value === tag ? "" : tag; find(); });
    button.setAttribute("aria-pressed", String($("search").value === tag));
    return button;
  }));
}

function isFound(task) {
  const wanted = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [task.text, task.model_type, task.params?.negative_text, ...tagged.of(task.task_id)].join(" ").toLowerCase();
  return wanted.every((one) => text.includes(one));
}

// Among the pictures that are here, then page by page among all earlier ones while these words are asked for.
async function find() {
  const words = $("search").value;
  const refresh = () => {
    for (const [id, card] of cards) card.hidden = !isFound(tasks.get(id));
    $("none-found").hidden = !tasks.size || [...cards.values()].some((card) => !card.hidden);
    $("none-found").textContent = words && nextBefore !== null ? word("searching") : word("noneFound");
  };
  refresh();
  drawTags();
  while (words && nextBefore !== null && $("search").value === words) {
    await load(true);
    if ($("search").value === words) refresh();
  }
}
