"use strict";
// The form: what can be chosen for a model, what a request says, and an earlier picture's settings put back.
const RATIOS = [[1, 1], [4, 3], [3, 4], [3, 2], [2, 3], [16, 9], [9, 16]];
const FIELDS = {text: "text", model_type: "model", "params.resolution": "size", "params.steps": "steps", "params.cfg_scale": "guidance",
  "params.negative_text": "negative", "params.sampler": "sampler", "params.seed": "seed", "params.post_process": "enlarge",
  "params.num_images": "count", "params.lora_name": "lora", "params.lora_weight": "lora-weight", "params.strength": "strength"};
let models = new Map();

const model = () => models.get($("model").value);

// The sizes of a ratio that the model makes: of its usual area first, then of four times that.
function sizesOfRatio([wide, high]) {
  const {defaults, min_side_px: least, max_side_px: most, max_pixels: room} = model();
  const [width, height] = defaults.resolution.split("×").map(Number), area = width * height;
  const round = (side) => Math.round(side / 8) * 8;
  return [1, 2].map((scale) => [round(Math.sqrt(area * wide / high) * scale), round(Math.sqrt(area * high / wide) * scale)])
    .filter((sides) => sides.every((side) => side >= least && side <= most) && sides[0] * sides[1] <= room)
    .map(([w, h]) => `${w}×${h}`);
}

const usableRatios = () => RATIOS.map((ratio) => [ratio, sizesOfRatio(ratio)]).filter(([, sizes]) => sizes.length);

function drawRatios() {
  const legend = $("ratios").querySelector("legend");
  $("ratios").replaceChildren(legend, ...usableRatios().map(([[wide, high], sizes]) => {
    const label = picked("ratio", sizes[0], `${wide}:${high}`, sizes.includes($("size").value), () => setSize(sizes[0]));
    const shape = element("i", "shape"), longest = Math.max(wide, high);
    Object.assign(shape.style, {width: `${16 * wide / longest}px`, height: `${16 * high / longest}px`});
    label.querySelector("span").prepend(shape);
    return label;
  }));
}

function setSize(size) {
  if (![...$("size").options].some((one) => one.value === size)) $("size").append(new Option(size, size));
  $("size").value = size;
  drawRatios();
}

function chooseModel(name) {
  if (!models.has(name)) return;
  $("model").value = name;
  const {defaults, samplers, loras} = model();
  $("size").replaceChildren(...options([...new Set([defaults.resolution, ...usableRatios().flatMap(([, sizes]) => sizes)])]));
  setSize(defaults.resolution);
  $("steps").value = defaults.steps;
  $("guidance").value = defaults.cfg_scale;
  $("sampler").replaceChildren(...options(samplers));
  $("sampler").value = defaults.sampler;
  $("lora-choice").hidden = !loras.length;
  $("lora").replaceChildren(new Option(word("none"), ""), ...options(loras));
  drawLoraWeight();
  drawAbout();
  drawAdded(rolesOf(model()));
}

function drawLoraWeight() { $("lora-weight-choice").hidden = !$("lora").value; }

function drawAbout() {
  const {description, description_zh: chinese, examples} = model();
  $("about-model").textContent = language === "zh" && chinese || description;
  const isHan = (text) => /\p{Script=Han}/u.test(text), own = examples.filter((text) => isHan(text) === (language === "zh"));
  const shown = (own.length ? own : examples).slice(0, 6);
  $("examples").hidden = !shown.length;
  $("examples").replaceChildren(...shown.map((text) => buttonOf(text, () => {
    $("text").value = text;
    calm();
    $("make").focus();
  })));
  if ($("lora").options.length) $("lora").options[0].text = word("none");
}

// What an earlier picture had and the form has no field for; each is shown, and can be taken away.
let carried = {};
const CONTROL = ["control_weight", "control_start", "control_end"];

function carriedParts() {
  const parts = (carried.loras || []).map((lora) => [`${word("lora")} ${lora.name} (${lora.weight})`, () => { carried.loras = carried.loras.filter((one) => one !== lora); }]);
  const {watermark, schedule, step_cache: cache, upscaler, controls} = carried;
  if (watermark) parts.push([`${word("watermark")} ${watermark.text || watermark.image_path}`, () => delete carried.watermark]);
  if (schedule) parts.push([`${word("schedule")} ${schedule}`, () => delete carried.schedule]);
  if (cache) parts.push([`${word("cache")} ${cache}`, () => delete carried.step_cache]);
  if (upscaler) parts.push([`${word("enlarge")} ${upscaler}`, () => delete carried.upscaler]);
  if (controls) parts.push([`${word("controlnet")} ×${controls.length}`, () => delete carried.controls]);
  return parts;
}

function drawCarried() {
  const parts = carriedParts();
  $("carried").replaceChildren(...parts.map(([label, drop]) => {
    const chip = buttonOf(`${label} ✕`, () => { drop(); drawCarried(); });
    chip.setAttribute("aria-label", word("without", label));
    return chip;
  }));
  $("carried").hidden = !parts.length;
}

// The request of the form, and the files that go with it.
function asked() {
  const {watermark, schedule, step_cache, loras, upscaler, control, controls} = carried, {fields, files} = addedParts();
  const post_process = {super_resolution: $("enlarge").value, format: $("format").value, ...(watermark && {watermark})};
  if (upscaler && post_process.super_resolution) post_process.upscaler = upscaler;
  const params = {resolution: $("size").value, steps: $("steps").valueAsNumber, sampler: $("sampler").value,
    num_images: $("count").valueAsNumber, negative_text: $("negative").value, post_process};
  if (schedule) params.schedule = schedule;
  if (step_cache) params.step_cache = step_cache;
  if (loras?.length) params.loras = loras;
  else if ($("lora").value) Object.assign(params, {lora_name: $("lora").value, lora_weight: $("lora-weight").valueAsNumber});
  if (hasPicture() && added.role === "controlnet") Object.assign(params, control);
  if (hasPicture() && added.role !== "controlnet") params.strength = $("strength").valueAsNumber;
  if ($("guidance").value) params.cfg_scale = $("guidance").valueAsNumber;
  if ($("seed").value) params.seed = $("seed").valueAsNumber;
  const followed = controls && !hasPicture() ? {controls} : {};
  return [{text: $("text").value, model_type: $("model").value, params, ...followed, ...fields}, files];
}

function fillIn(task, picture) {
  const {params} = task, {post_process: post, loras} = params;
  chooseModel(task.model_type);
  $("text").value = task.text;
  setSize(params.resolution);
  $("count").value = 1;
  $("steps").value = params.steps;
  $("guidance").value = params.cfg_scale;
  $("sampler").value = params.sampler;
  $("negative").value = params.negative_text || "";
  $("seed").value = picture?.seed ?? params.seed ?? "";
  $("enlarge").value = post?.super_resolution || "";
  $("format").value = post?.format || "webp";
  const single = loras?.length === 1 ? loras[0] : params.lora_name ? {name: params.lora_name, weight: params.lora_weight} : null;
  $("lora").value = single?.name || "";
  $("lora-weight").value = single?.weight ?? 1;
  drawLoraWeight();
  const control = Object.fromEntries(CONTROL.filter((name) => params[name] != null).map((name) => [name, params[name]]));
  carried = {schedule: params.schedule, step_cache: params.step_cache, upscaler: post?.upscaler, control, controls: task.controls, ...(loras?.length > 1 && {loras}), ...(post?.watermark?.enable && {watermark: post.watermark})};
  drawCarried();
  const role = task.control_image_url ? "controlnet" : task.mask_url ? "inpaint" : "img2img";
  addPicture({reference: task.control_image_url || task.image_url || "", role, maskReference: task.mask_url || ""}, rolesOf(model()));
  if (task.image_url && params.strength != null) $("strength").value = params.strength;
  $("more").open = true;
  toComposer();
}

function toComposer() {
  $("viewer").close();
  $("text").focus();
  scrollTo(0, 0);
}

function complain(error) {
  const text = error.code === 429 || error.retryAfter && error.code !== 503 ? word("busy", error.retryAfter) : error instanceof Refused ? error.message : word("offline");
  complainOf(error.problems?.length ? error.problems.map((one) => one.rule).join("\n") : text);
  for (const {field} of error.problems || []) $(FIELDS[field] || "")?.setAttribute("aria-invalid", "true");
}

function complainOf(text) {
  $("wrong").textContent = text;
  $("wrong").hidden = false;
}

function calm() {
  $("wrong").hidden = true;
  for (const node of document.querySelectorAll("[aria-invalid]")) node.removeAttribute("aria-invalid");
}

async function make(event) {
  event.preventDefault();
  calm();
  if (!models.size) return void withKey(start).catch(complain);
  if (lacksMask()) return complainOf(word("needMask"));
  $("make").disabled = true;
  try {
    await submit(...asked());
  } catch (error) {
    complain(error);
  } finally {
    $("make").disabled = false;
  }
}

// Ask for pictures and show their card; whatever the service kept of the inputs is named by the task from now on.
async function submit(request, files = {}) {
  const task = await withKey(() => service.call("POST", "/api/v1/image/generate", request, files));
  if (!task) return;
  const inputs = Object.fromEntries(Object.entries(PART_OF).filter(([field, part]) => files[part] || request[field]).map(([field, part]) => [field, `${task.task_id}/${part}`]));
  show({...request, ...task, ...inputs, created_at: Date.now() / 1000}, true);
  follow();
}

function wireComposer() {
  $("composer").addEventListener("submit", make);
  $("composer").addEventListener("input", calm);
  $("text").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("composer").requestSubmit(); });
  $("model").addEventListener("change", () => chooseModel($("model").value));
  $("size").addEventListener("change", drawRatios);
  $("lora").addEventListener("change", drawLoraWeight);
  $("add").addEventListener("click", () => $("add-file").click());
  $("add-file").addEventListener("change", () => { offer($("add-file").files); $("add-file").value = ""; });
  $("added-away").addEventListener("click", () => { addPicture({}, rolesOf(model())); $("add").focus(); });
  for (const kind of ["dragover", "drop"]) $("composer").addEventListener(kind, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    if (kind === "drop") offer(event.dataTransfer.files);
  });
  $("text").addEventListener("paste", (event) => { if (event.clipboardData.files.length) { event.preventDefault(); offer(event.clipboardData.files); } });
  easel.wire(() => drawAdded(rolesOf(model())));
}

async function offer([file]) {
  if (!file || !model() || !rolesOf(model()).length) return;
  calm();
  if (!await takeFile(file)) complainOf(word("notPicture"));
}
