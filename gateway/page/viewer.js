"use strict";
// The dialog with the full picture and its recipe.
const bytesText = (bytes) => bytes < 1000 ? `${bytes} B` : bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

function stepText(step) {
  const values = step.params || {};
  if (step.op === "upscale") return `${word("enlarge")} ${values.scale ?? ""}×`;
  if (step.op === "watermark") return values.text || values.image_path || step.op;
  return step.op;
}

function lorasOf(recipe) {
  return recipe.loras || (recipe.lora_name ? [{name: recipe.lora_name, weight: recipe.lora_weight}] : []);
}

function factsOf(task, picture) {
  const recipe = picture.recipe || {}, painted = recipe.width_px ? `${recipe.width_px}×${recipe.height_px}` : "";
  const rows = [
    ["size", `${picture.resolution} px`],
    ["painted", painted !== picture.resolution ? painted : ""],
    ["file", `${picture.format}, ${bytesText(picture.size)}`],
    ["model", task.model_type],
    ["lora", lorasOf(recipe).map((lora) => `${lora.name} (${lora.weight})`).join(", ")],
    ["negative", recipe.negative_text],
    ["steps", recipe.steps ?? task.params.steps],
    ["guidance", recipe.cfg_scale ?? task.params.cfg_scale],
    ["sampler", recipe.sampler ?? task.params.sampler],
    ["seed", picture.seed],
    ["mode", recipe.mode !== "text2img" ? recipe.mode : ""],
    ["strength", recipe.strength],
    ["post", (recipe.post || []).filter((step) => step.op !== "thumbnail").map(stepText).join(", ")],
    ["madeAt", new Date(1000 * task.created_at).toLocaleString(locale(), {dateStyle: "medium", timeStyle: "short"})],
  ];
  return rows.filter(([, value]) => value !== "" && value != null);
}

const viewer = {
  task: null,

  open(task, index = 0) {
    const picture = task.result?.pictures[index];
    if (!picture) return;
    this.task = task;
    this.index = index;
    const count = task.result.pictures.length;
    $("place").textContent = count > 1 ? `${index + 1} / ${count}` : "";
    for (const [id, step] of [["before", -1], ["after", 1]]) {
      $(id).hidden = count === 1;
      $(id).disabled = !task.result.pictures[index + step];
    }
    $("about-text").textContent = task.text;
    $("about-text").classList.toggle("long", task.text.length > 160);
    $("facts").replaceChildren(...factsOf(task, picture).flatMap(([name, value]) => [element("dt", "", word(name)), element("dd", "", String(value))]));
    $("recipe").textContent = JSON.stringify(picture.recipe, null, 2);
    $("copy").textContent = word("copy");
    $("download").href = own(picture.original_url);
    $("download").download = `${task.task_id}${index ? `_${index + 1}` : ""}.${picture.format}`;
    if (!$("viewer").open) $("viewer").showModal();
    this.show(task, picture);
    $("scroll").scrollTop = 0;
  },

  // The thumbnail at once, in the size of the full picture, which replaces it.
  show(task, picture) {
    const full = own(picture.original_url), loader = new Image();
    $("full").alt = task.text;
    $("full").src = own(picture.thumb_url);
    $("note").hidden = true;
    this.fit();
    loader.onload = () => { if (this.picture() === picture) $("full").src = full; };
    loader.onerror = () => {
      if (this.picture() !== picture) return;
      $("note").textContent = word("gone");
      $("note").hidden = false;
    };
    loader.src = full;
  },

  // As large as the stage allows; small pictures grow to three times their size, no further.
  fit() {
    const picture = this.picture();
    if (!picture || !$("viewer").open) return;
    const [width, height] = picture.resolution.split("×").map(Number), style = getComputedStyle($("show"));
    const wide = $("show").clientWidth - 2 * parseFloat(style.paddingLeft);
    const high = $("show").clientHeight - 2 * parseFloat(style.paddingTop);
    const scale = Math.max(0, Math.min(3, wide / width, high / height));
    $("full").style.width = `${width * scale}px`;
    $("full").style.height = `${height * scale}px`;
  },

  picture() {
    return this.task?.result.pictures[this.index];
  },

  step(by) {
    if (this.task) this.open(this.task, this.index + by);
  },

  turn(event) {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (by) this.step(by);
  },

  // A finger that moves sideways over the picture turns it, as the arrow keys do.
  touched(event) {
    const {clientX, clientY} = event.changedTouches[0];
    if (event.type === "touchstart") { this.finger = event.touches.length === 1 ? [clientX, clientY] : null; return; }
    if (!this.finger) return;
    const [x, y] = [clientX - this.finger[0], clientY - this.finger[1]];
    this.finger = null;
    if (Math.abs(x) > 40 && Math.abs(x) > 2 * Math.abs(y)) this.step(x < 0 ? 1 : -1);
  },

  async copy() {
    const text = $("recipe").textContent;
    try { await navigator.clipboard.writeText(text); $("copy").textContent = word("copied"); } catch { getSelection().selectAllChildren($("recipe")); $("recipe").parentNode.open = true; }
  },
};
