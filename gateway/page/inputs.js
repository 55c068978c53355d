"use strict";
// The picture that somebody adds to a prompt, what it is for, and the mask painted over it.
const ROLES = ["img2img", "inpaint", "controlnet"];
const FIELD_OF = {img2img: "image_url", inpaint: "image_url", controlnet: "control_image_url"};
const PART_OF = {image_url: "image", mask_url: "mask", control_image_url: "control_image"};

// `file` is a picture of this machine, `reference` one that the service has; one of them is there.
const added = {file: null, reference: "", preview: "", role: "", mask: null, maskReference: ""};
let offered = null; // the file that was chosen last, while it is looked at

function rolesOf(model) {
  return ROLES.filter((role) => model?.modes.includes(role));
}

function addPicture(what, roles) {
  offered = null;
  if (added.preview.startsWith("blob:")) URL.revokeObjectURL(added.preview);
  Object.assign(added, {file: null, reference: "", preview: "", role: "", mask: null, maskReference: "", ...what});
  easel.forget();
  drawAdded(roles);
}

const hasPicture = () => Boolean(added.file || added.reference);

function drawAdded(roles) {
  if (!roles.includes(added.role)) added.role = roles[0] || "";
  $("add").hidden = !roles.length;
  $("added").hidden = !hasPicture() || !roles.length;
  $("added-picture").hidden = !added.preview;
  $("added-note").hidden = Boolean(added.preview);
  if (added.preview) $("added-picture").src = added.preview;
  $("added-picture").alt = word("image_url");
  $("roles").replaceChildren(...roles.map((role) => picked("role", role, word(role), added.role === role, () => { added.role = role; drawAdded(roles); })));
  $("strength-choice").hidden = added.role === "controlnet" || !added.role;
  $("mask").hidden = added.role !== "inpaint" || !added.preview;
  $("mask").setAttribute("aria-pressed", String(Boolean(added.mask || added.maskReference)));
}

// A radio button that looks like a pill.
function picked(group, value, text, checked, handler) {
  const label = element("label"), radio = element("input");
  Object.assign(radio, {type: "radio", name: group, value, checked});
  radio.addEventListener("change", handler);
  label.append(radio, element("span", "", text));
  return label;
}

// What a request says of the added picture, and the files that go with it.
function addedParts() {
  const fields = {}, files = {};
  if (!hasPicture() || !added.role) return {fields, files};
  const field = FIELD_OF[added.role];
  if (added.file) files[PART_OF[field]] = added.file; else fields[field] = added.reference;
  if (added.role === "inpaint") {
    if (added.mask) files.mask = added.mask; else if (added.maskReference) fields.mask_url = added.maskReference;
  }
  return {fields, files};
}

const lacksMask = () => hasPicture() && added.role === "inpaint" && !added.mask && !added.maskReference;

// Add a file unless another picture has been added meanwhile, or none is wanted any more; false if it is no picture.
async function takeFile(file) {
  const preview = URL.createObjectURL(file), test = new Image();
  test.src = preview;
  offered = file;
  const isPicture = await test.decode().then(() => true, () => false), isWanted = offered === file;
  if (isPicture && isWanted) addPicture({file, preview}, rolesOf(model())); else URL.revokeObjectURL(preview);
  return isPicture || !isWanted;
}

// Where a mask is painted: white strokes on black, in the picture's own size, at most 1024 px a side.
const easel = {
  strokes: [],

  forget() { this.strokes = []; },

  async open() {
    $("masked").src = added.preview;
    await $("masked").decode();
    const {naturalWidth: width, naturalHeight: height} = $("masked"), scale = Math.min(1, 1024 / Math.max(width, height));
    Object.assign($("mask-canvas"), {width: Math.round(width * scale), height: Math.round(height * scale)});
    $("masking").showModal();
    this.draw();
  },

  // Strokes are drawn half transparent over the picture; `onto` takes them as the mask itself.
  draw(onto = $("mask-canvas"), colour = "#d8553fb0") {
    const context = onto.getContext("2d");
    if (colour === "#fff") { context.fillStyle = "#000"; context.fillRect(0, 0, onto.width, onto.height); } else context.clearRect(0, 0, onto.width, onto.height);
    Object.assign(context, {fillStyle: colour, strokeStyle: colour, lineCap: "round", lineJoin: "round"});
    for (const {points, width} of this.strokes) {
      if (!points) { context.fillRect(0, 0, onto.width, onto.height); continue; }
      context.lineWidth = width;
      context.beginPath();
      points.forEach(([x, y], at) => at ? context.lineTo(x, y) : context.moveTo(x, y));
      if (points.length === 1) context.lineTo(points[0][0] + .1, points[0][1]);
      context.stroke();
    }
  },

  place(event) {
    const canvas = $("mask-canvas"), box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  },

  down(event) {
    event.preventDefault();
    $("mask-canvas").setPointerCapture(event.pointerId);
    const canvas = $("mask-canvas");
    this.strokes.push({points: [this.place(event)], width: $("brush").valueAsNumber / 100 * Math.max(canvas.width, canvas.height)});
    this.draw();
  },

  move(event) {
    if (!$("mask-canvas").hasPointerCapture(event.pointerId)) return;
    this.strokes.at(-1).points.push(this.place(event));
    this.draw();
  },

  everything() { this.strokes.push({}); this.draw(); },
  undo() { this.strokes.pop(); this.draw(); },
  clear() { this.strokes = []; this.draw(); },

  async done() {
    const mask = Object.assign(document.createElement("canvas"), {width: $("mask-canvas").width, height: $("mask-canvas").height});
    this.draw(mask, "#fff");
    const blob = this.strokes.length ? await new Promise((resolve) => mask.toBlob(resolve, "image/png")) : null;
    Object.assign(added, {mask: blob, maskReference: ""});
    $("masking").close();
  },

  wire(redraw) {
    const canvas = $("mask-canvas");
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    $("mask").addEventListener("click", () => this.open());
    for (const [id, deed] of [["mask-all", "everything"], ["mask-undo", "undo"], ["mask-clear", "clear"]]) $(id).addEventListener("click", () => this[deed]());
    $("mask-done").addEventListener("click", () => this.done().then(redraw));
  },
};
