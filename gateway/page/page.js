"use strict";
// The form, the grid of pictures, and what ties them to the service.
const FOLLOWED = 3; // browsers keep six connections to a server; streams of events must leave some free
const RATIOS = [[1, 1], [4, 3], [3, 4], [3, 2], [2, 3], [16, 9], [9, 16]];
const FIELDS = {text: "text", model_type: "model", "params.resolution": "size", "params.steps": "steps", "params.cfg_scale": "guidance",
  "params.negative_text": "negative", "params.sampler": "sampler", "params.seed": "seed", "params.post_process": "enlarge"};

let models = new Map(), nextBefore = null;
const tasks = new Map(), cards = new Map(), following = new Set();

// ---- form ---------------------------------------------------------------------------------------------------------
function sizesOf(model) {
  const [width, height] = model.defaults.resolution.split("×").map(Number), area = width * height;
  const fits = (side) => side >= model.min_side_px && side <= model.max_side_px;
  const round = (side) => Math.round(side / 8) * 8;
  const sizes = new Set([`${width}×${height}`]);
  for (const scale of [1, 2]) {
    for (const [wide, high] of RATIOS) {
      const one = Math.sqrt(area * wide / high) * scale, other = Math.sqrt(area * high / wide) * scale;
      const [w, h] = [round(one), round(other)];
      if (fits(w) && fits(h) && w * h <= model.max_pixels) sizes.add(`${w}×${h}`);
    }
  }
  return [...sizes];
}

const options = (values) => values.map((value) => new Option(value, value));

function chooseModel(name) {
  const model = models.get(name);
  if (!model) return;
  $("model").value = name;
  $("size").replaceChildren(...options(sizesOf(model)));
  $("size").value = model.defaults.resolution;
  $("steps").value = model.defaults.steps;
  $("guidance").value = model.defaults.cfg_scale;
  $("sampler").replaceChildren(...options(model.samplers));
  $("sampler").value = model.defaults.sampler;
}

// What an earlier picture had and the form has no field for; each is shown, and can be taken away.
let carried = {params: {}, inputs: {}};
const INPUTS = ["image_url", "mask_url", "control_image_url"];

function carriedParts() {
  const {params, inputs} = carried, parts = [];
  const add = (label, drop) => parts.push({label, drop});
  if (params.lora_name) add(`${word("lora")} ${params.lora_name} (${params.lora_weight})`, () => { delete params.lora_name; delete params.lora_weight; });
  for (const lora of params.loras || []) add(`${word("lora")} ${lora.name} (${lora.weight})`, () => { params.loras = params.loras.filter((one) => one !== lora); });
  if (params.watermark) add(`${word("watermark")} ${params.watermark.text || params.watermark.image_path}`, () => delete params.watermark);
  if (params.schedule) add(`${word("schedule")} ${params.schedule}`, () => delete params.schedule);
  for (const name of INPUTS) if (inputs[name]) add(word(name), () => dropInput(name));
  if (inputs.image_url) add(`${word("strength")} ${params.strength}`, () => delete params.strength);
  return parts.filter(({label}) => !label.endsWith("undefined"));
}

function dropInput(name) {
  delete carried.inputs[name];
  if (name === "image_url") { delete carried.inputs.mask_url; delete carried.params.strength; }
}

function carry(task) {
  const {lora_name, lora_weight, loras, schedule, strength, post_process: post} = task.params;
  const params = {schedule};
  if (lora_name) Object.assign(params, {lora_name, lora_weight});
  if (loras?.length) params.loras = loras;
  if (post?.watermark?.enable) params.watermark = post.watermark;
  const inputs = Object.fromEntries(INPUTS.filter((name) => task[name]).map((name) => [name, task[name]]));
  if (inputs.image_url) params.strength = strength;
  carried = {params, inputs};
  drawCarried();
}

function drawCarried() {
  const parts = carriedParts();
  $("carried").replaceChildren(...parts.map(({label, drop}) => {
    const chip = element("button", "button small", `${label} ✕`);
    chip.type = "button";
    chip.setAttribute("aria-label", word("without", label));
    chip.addEventListener("click", () => { drop(); drawCarried(); });
    return chip;
  }));
  $("carried").hidden = !parts.length;
}

function asked() {
  const {watermark, ...more} = carried.params;
  const post_process = {super_resolution: $("enlarge").value, format: $("format").value, ...(watermark && {watermark})};
  const params = {...more, resolution: $("size").value, steps: $("steps").valueAsNumber, sampler: $("sampler").value,
    negative_text: $("negative").value, post_process};
  if ($("guidance").value) params.cfg_scale = $("guidance").valueAsNumber;
  if ($("seed").value) params.seed = $("seed").valueAsNumber;
  return {text: $("text").value, model_type: $("model").value, params, ...carried.inputs};
}

function fillIn(task, picture) {
  const {params} = task;
  chooseModel(task.model_type);
  $("text").value = task.text;
  if (![...$("size").options].some((one) => one.value === params.resolution)) $("size").append(new Option(params.resolution, params.resolution));
  $("size").value = params.resolution;
  $("steps").value = params.steps;
  $("guidance").value = params.cfg_scale;
  $("sampler").value = params.sampler;
  $("negative").value = params.negative_text || "";
  $("seed").value = picture?.seed ?? params.seed ?? "";
  $("enlarge").value = params.post_process?.super_resolution || "";
  $("format").value = params.post_process?.format || "webp";
  carry(task);
  $("more").open = true;
  $("viewer").close();
  $("text").focus();
  scrollTo(0, 0);
}

function complain(error) {
  const text = error.code === 429 || error.retryAfter && error.code !== 503 ? word("busy", error.retryAfter) : error instanceof Refused ? error.message : word("offline");
  $("wrong").textContent = error.problems?.length ? error.problems.map((one) => one.rule).join("\n") : text;
  $("wrong").hidden = false;
  for (const {field} of error.problems || []) $(FIELDS[field] || "")?.setAttribute("aria-invalid", "true");
}

function calm() {
  $("wrong").hidden = true;
  for (const node of document.querySelectorAll("[aria-invalid]")) node.removeAttribute("aria-invalid");
}

async function make(event) {
  event.preventDefault();
  calm();
  if (!models.size) return void withKey(start).catch(complain);
  const request = asked();
  $("make").disabled = true;
  try {
    const task = await withKey(() => service.call("POST", "/api/v1/image/generate", request));
    if (task) { show({...task, ...request, created_at: Date.now() / 1000}, true); follow(); }
  } catch (error) {
    complain(error);
  } finally {
    $("make").disabled = false;
  }
}

// ---- grid ---------------------------------------------------------------------------------------------------------
function show(task, first = false) {
  const known = tasks.get(task.task_id);
  task = {...known, ...task};
  tasks.set(task.task_id, task);
  const card = cards.get(task.task_id) || newCard(task, first);
  draw(card, task);
  if (known && known.status !== task.status && isOver(task)) tell(`${word(task.status)}: ${task.text} ${task.error_msg || ""}`);
  $("empty").hidden = true;
  $("earlier").hidden = false;
  if (viewer.task?.task_id === task.task_id) viewer.task = task;
}

// For who hears the page: what has come to an end, once.
function tell(text) {
  $("news").textContent = text;
}

function newCard(task, first) {
  const card = element("div", "card");
  card.tabIndex = -1;
  card.dataset.task = task.task_id;
  cards.set(task.task_id, card);
  if (first) $("grid").prepend(card); else $("grid").append(card);
  return card;
}

function draw(card, task) {
  const picture = task.result?.pictures[0];
  if (card.dataset.status === task.status && !isOver(task)) return drawProgress(card, task);
  card.dataset.status = task.status;
  const stage = picture ? element("button", "stage") : element("div", "stage");
  if (picture) stage.append(drawnThumb(task, picture)); else stage.append(...stateOf(task));
  card.replaceChildren(stage, element("span", "words", task.text), element("span", "facts", factsLine(task, picture)));
  drawProgress(card, task);
}

function drawnThumb(task, picture) {
  const image = element("img");
  image.alt = task.text;
  image.loading = "lazy";
  image.src = own(picture.thumb_url);
  return image;
}

function stateOf(task) {
  const state = element("span", "state", word(task.status));
  if (isOver(task)) return [state, element("span", "why", task.error_msg || "")];
  const bar = element("progress");
  bar.max = 100;
  const cancel = element("button", "button small", word("cancel"));
  cancel.dataset.cancel = task.task_id;
  return [state, bar, cancel];
}

function drawProgress(card, task) {
  const bar = card.querySelector("progress");
  if (!bar) return;
  bar.value = task.progress;
  bar.setAttribute("aria-label", word(task.status));
  card.querySelector(".state").textContent = task.status === "processing" ? `${word("processing")} ${task.progress} %` : word("waiting");
}

function factsLine(task, picture) {
  const more = task.result && task.result.pictures.length > 1 ? [`${task.result.pictures.length}`] : [];
  return [picture?.resolution || task.params.resolution, task.model_type, ...more].join(" · ");
}

// Follow the oldest unfinished tasks; the next ones as these end.
function follow() {
  const open = [...tasks.values()].filter((task) => !isOver(task) && !following.has(task.task_id));
  open.sort((a, b) => a.created_at - b.created_at);
  for (const {task_id: id} of open.slice(0, Math.max(0, FOLLOWED - following.size))) {
    following.add(id);
    service.follow(id, show).finally(() => { following.delete(id); if (isOver(tasks.get(id))) follow(); });
  }
}

async function cancel(id) {
  cards.get(id)?.focus(); // the button goes, and the keyboard stays where it was
  try { show(await service.call("DELETE", `/api/v1/image/task/${encodeURIComponent(id)}`)); } catch (error) { complain(error); }
}

async function load(older = false) {
  const before = older && nextBefore ? `&before=${nextBefore}` : "";
  const page = await service.call("GET", `/api/v1/image/tasks?limit=48${before}`);
  for (const task of page.tasks) show(task);
  nextBefore = page.next_before;
  $("older").hidden = nextBefore === null;
  $("empty").hidden = tasks.size > 0;
  follow();
}

// ---- key ----------------------------------------------------------------------------------------------------------
// Run a call; when the key is missing or refused, find another one, or ask the person for it.
async function withKey(call) {
  try {
    if (await service.findKey()) return await call();
  } catch (error) {
    if (![401, 403].includes(error.code)) throw error;
    if (service.local) { service.key = ""; if (await service.findKey()) return call(); }
    $("key-wrong").textContent = error.message;
    $("key-wrong").hidden = false;
  }
  askKey();
  return null;
}

// Without a key nothing here can be chosen or made: the page says so, and asks again when somebody tries.
function drawLocked() {
  const locked = models.size === 0;
  $("locked").hidden = !locked;
  for (const node of $("composer").querySelectorAll("select, input")) node.disabled = locked;
  if (locked) $("empty").hidden = true;
}

function askKey() {
  $("key").value = service.local ? "" : service.key;
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

async function useKey(event) {
  event.preventDefault();
  const before = [service.key, service.local];
  service.key = $("key").value.trim();
  service.local = false;
  try {
    await start();
    kept.set("key", service.key);
    $("key-dialog").close();
  } catch (error) {
    [service.key, service.local] = before;
    $("key-wrong").textContent = error instanceof Refused ? error.message : word("offline");
    $("key-wrong").hidden = false;
  }
}

function forgetKey() {
  kept.set("key", "");
  location.reload();
}

// ---- start --------------------------------------------------------------------------------------------------------
async function start() {
  const found = await service.call("GET", "/api/v1/models");
  models = new Map(found.models.map((model) => [model.name, model]));
  $("model").replaceChildren(...options([...models.keys()]));
  chooseModel(found.default_model);
  for (const id of cards.keys()) cards.get(id).remove();
  tasks.clear();
  cards.clear();
  drawLocked();
  await load();
  $("key-wrong").hidden = true;
}

function speak(next) {
  language = next;
  kept.set("language", language);
  translate();
  drawCarried();
  for (const [id, card] of cards) { card.dataset.status = ""; draw(card, tasks.get(id)); }
}

function wire() {
  $("composer").addEventListener("submit", make);
  $("composer").addEventListener("input", calm);
  $("text").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("composer").requestSubmit(); });
  $("model").addEventListener("change", () => chooseModel($("model").value));
  $("language").addEventListener("click", () => speak(language === "zh" ? "en" : "zh"));
  $("theme").addEventListener("click", switchTheme);
  $("key-button").addEventListener("click", () => { $("key-wrong").hidden = true; askKey(); });
  $("key-form").addEventListener("submit", useKey);
  $("key-forget").addEventListener("click", forgetKey);
  $("key-dialog").addEventListener("close", drawLocked);
  $("locked-key").addEventListener("click", askKey);
  $("older").addEventListener("click", () => load(true).catch(complain));
  $("grid").addEventListener("click", (event) => {
    const id = event.target.closest(".card")?.dataset.task;
    if (event.target.dataset.cancel) cancel(id);
    else if (event.target.closest("button.stage")) viewer.open(tasks.get(id));
  });
  $("close").addEventListener("click", () => $("viewer").close());
  $("viewer").addEventListener("close", () => { viewer.task = null; });
  $("viewer").addEventListener("keydown", (event) => viewer.turn(event));
  for (const kind of ["touchstart", "touchend"]) $("show").addEventListener(kind, (event) => viewer.touched(event), {passive: true});
  $("again").addEventListener("click", () => fillIn(viewer.task, viewer.picture()));
  $("before").addEventListener("click", () => viewer.step(-1));
  $("after").addEventListener("click", () => viewer.step(1));
  $("copy").addEventListener("click", () => viewer.copy());
  addEventListener("resize", () => viewer.fit());
}

translate();
wire();
withKey(start).catch(complain).finally(() => { document.documentElement.dataset.ready = "yes"; });
