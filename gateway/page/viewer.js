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
    ["madeAt", day(task.created_at)],
  ];
  return rows.filter(([, value]) => value !== "" && value != null);
}

const viewer = {
  task: null,

  open(task, index = 0) {
    const picture = task?.result?.pictures[index];
    if (!picture) return;
    this.task = task;
    this.index = index;
    const count = task.result.pictures.length;
    $("place").textContent = count > 1 ? `${index + 1} / ${count}` : "";
    for (const [id, step] of [["before", -1], ["after", 1]]) $(id).disabled = !this.beside(step);
    $("about-text").textContent = task.text;
    $("about-text").classList.toggle("long", task.text.length > 160);
    $("facts").replaceChildren(...factsOf(task, picture).flatMap(([name, value]) => [element("dt", "", word(name)), element("dd", "", String(value))]));
    $("recipe").textContent = JSON.stringify(picture.recipe, null, 2);
    for (const id of ["copy", "share"]) $(id).textContent = word(id);
    $("delete").textContent = count > 1 ? word("deleteAll", count) : word("delete");
    $("delete").dataset.sure = "";
    $("larger").hidden = task.params.post_process?.super_resolution === "4x";
    $("own-tags").value = tagged.of(task.task_id).join(", ");
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

  // [task, index] of the next picture in that direction: of this task, then of the finished cards around it.
  beside(by) {
    if (this.task.result.pictures[this.index + by]) return [this.task, this.index + by];
    for (let card = cards.get(this.task.task_id); (card = by > 0 ? card?.nextElementSibling : card?.previousElementSibling);) {
      const task = tasks.get(card.dataset.task);
      if (task.result && !card.hidden) return [task, by > 0 ? 0 : task.result.pictures.length - 1];
    }
    return null;
  },

  step(by) {
    const found = this.task && this.beside(by);
    if (found) this.open(...found);
  },

  turn(event) {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (by && event.target.tagName !== "INPUT") this.step(by);
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

  async copy(button, text, otherwise) {
    try { await navigator.clipboard.writeText(text); button.textContent = word("copied"); } catch { otherwise(); }
  },

  copyRecipe() {
    this.copy($("copy"), $("recipe").textContent, () => { $("recipe").parentNode.open = true; getSelection().selectAllChildren($("recipe")); });
  },

  // The link opens this picture for whoever has it, as long as the service says.
  share() {
    this.copy($("share"), this.picture().original_url, () => prompt(word("share"), this.picture().original_url));
  },

  asInput() {
    const reference = `${this.task.task_id}/${this.index + 1}`;
    addPicture({reference, preview: own(this.picture().original_url)}, rolesOf(model()));
    toComposer();
  },

  async makeLike(changes) {
    const task = this.task;
    toComposer();
    try { await submit(requestOf(task, changes)); } catch (error) { complain(error); }
  },

  variations() {
    return this.makeLike({num_images: 4, seed: null});
  },

  larger() {
    const post = this.task.params.post_process || {}, next = post.super_resolution === "2x" ? "4x" : "2x";
    return this.makeLike({num_images: 1, seed: this.picture().seed, post_process: {...post, super_resolution: next}});
  },

  // Asked for twice, as nothing brings it back.
  async remove() {
    if (!$("delete").dataset.sure) { $("delete").dataset.sure = "yes"; $("delete").textContent = word("sure"); return; }
    const task = this.task;
    $("viewer").close();
    try { await remove(task); } catch (error) { complain(error); scrollTo(0, 0); }
  },

  tag() {
    const tags = $("own-tags").value.split(/[,，、]/).map((one) => one.trim()).filter(Boolean);
    tagged.set(this.task.task_id, [...new Set(tags)]);
  },

  wire() {
    $("close").addEventListener("click", () => $("viewer").close());
    $("viewer").addEventListener("close", () => { this.task = null; });
    $("viewer").addEventListener("keydown", (event) => this.turn(event));
    for (const kind of ["touchstart", "touchend"]) $("show").addEventListener(kind, (event) => this.touched(event), {passive: true});
    const deeds = {before: () => this.step(-1), after: () => this.step(1), again: () => fillIn(this.task, this.picture()), "as-input": () => this.asInput(),
      variations: () => this.variations(), larger: () => this.larger(), share: () => this.share(), copy: () => this.copyRecipe(), delete: () => this.remove()};
    for (const [id, deed] of Object.entries(deeds)) $(id).addEventListener("click", deed);
    $("own-tags").addEventListener("change", () => this.tag());
    addEventListener("resize", () => this.fit());
  },
};
