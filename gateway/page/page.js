"use strict";
// The key, the start of the page, and its switches.
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
  for (const node of $("composer").querySelectorAll("select, input, #add")) node.disabled = locked;
  for (const id of ["model", "ratios"]) $(id).hidden = locked; // nothing to choose from
  if (locked) $("empty").hidden = true;
}

function askKey() {
  $("key").value = service.local ? "" : service.key;
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

async function useKey(event) {
  event.preventDefault();
  const before = [service.key, service.local], button = $("key-save");
  button.disabled = true;
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
  } finally {
    button.disabled = false;
  }
}

function forgetKey() {
  kept.set("key", "");
  location.reload();
}

async function start() {
  const found = await service.call("GET", "/api/v1/models");
  models = new Map(found.models.map((model) => [model.name, model]));
  $("model").replaceChildren(...options([...models.keys()]));
  chooseModel(found.default_model);
  visits += 1;
  for (const id of cards.keys()) cards.get(id).remove();
  tasks.clear();
  cards.clear();
  drawLocked();
  drawTags();
  await load();
  $("key-wrong").hidden = true;
}

function speak(next) {
  language = next;
  kept.set("language", language);
  translate();
  drawCarried();
  if (models.size) { drawAbout(); drawAdded(rolesOf(model())); }
  for (const [id, card] of cards) { card.dataset.status = ""; draw(card, tasks.get(id)); }
}

function wire() {
  $("language").addEventListener("click", () => speak(language === "zh" ? "en" : "zh"));
  $("theme").addEventListener("click", switchTheme);
  $("key-button").addEventListener("click", () => { $("key-wrong").hidden = true; askKey(); });
  $("key-form").addEventListener("submit", useKey);
  $("key-forget").addEventListener("click", forgetKey);
  $("key-dialog").addEventListener("close", drawLocked);
  $("locked-key").addEventListener("click", askKey);
  $("older").addEventListener("click", () => load(true).catch(complain));
  $("search").addEventListener("input", () => find().catch(complain));
  wireComposer();
  viewer.wire();
}

translate();
wire();
withKey(start).catch(complain).finally(() => { document.documentElement.dataset.ready = "yes"; });
