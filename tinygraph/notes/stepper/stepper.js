// The state of the page, its controls, and what is drawn for the state. The state is in the address, after the #.

const root = document.getElementById("stepper");
const board = root.querySelector(".board");
const state = {
  step: 0,
  scene: 0,
  view: 0,
  selected: null,
  predict: false,
  hides(array) {
    return this.predict && ARRAYS[array].role === "gradient" && !revealed.has(array) && (STEP_OF.get(array) ?? -1) >= this.step;
  },
};

const still = window.matchMedia("(prefers-reduced-motion: reduce)");
const samples = [...new Set(DATA.scenes.map((scene) => scene.sample))];

function sceneOf(sample, updated) {
  const found = DATA.scenes.findIndex((scene) => scene.sample === sample && scene.updated === updated);
  return found < 0 ? DATA.scenes.findIndex((scene) => scene.sample === sample) : found;
}

// Controls, made once

const slider = element("input", { type: "range", min: 0, max: STEPS.length - 1, step: 1, "aria-label": "Step", list: false });
const place = element("output", { class: "place" });
// The rule that stands there, so that it is not read out again where it stays.
let ruleShown = null;
// The address that was last shown: a move in the history causes two events.
let shownHash = null;
const sampleChooser = element("select", { "aria-label": "Sample" }, ...samples.map((name) => element("option", { value: name }, name || "these numbers")));
const updateChooser = element("select", { "aria-label": "Before or after one update" }, element("option", { value: "" }, "before the update"), element("option", { value: "yes" }, "after one update"));
const predictBox = element("input", { type: "checkbox", id: "predict-mode" });
const move = (text, label, to) => {
  const made = element("button", { type: "button", title: label }, text);
  made.addEventListener("click", () => go(to()));
  return made;
};
const backButton = move("◀ Previous", "One step back (left arrow)", () => state.step - 1);
const nextButton = move("Next ▶", "One step on (right arrow)", () => state.step + 1);
const firstBackward = STEPS.findIndex((step) => step.phase === "backward");

const bar = element("div", { class: "bar", role: "group", "aria-label": "Steps" },
  slider, backButton, nextButton, place,
  move("Forward pass", "To the first step (Home)", () => 0),
  firstBackward < 0 ? null : move("Backward pass", "To the first step of the backward pass", () => firstBackward));
const choices = element("div", { class: "bar choices" },
  DATA.scenes.length > 1 ? element("label", {}, "Numbers of ", sampleChooser) : null,
  DATA.scenes.some((scene) => scene.updated) ? updateChooser : null,
  firstBackward < 0 ? null : element("label", { for: "predict-mode" }, predictBox, " predict, then reveal"),
  element("span", { class: "score", role: "status" }));
const rule = element("div", { class: "rule", "aria-live": "polite" });
const grids = element("div", { class: "grids" });
const result = element("div", { class: "grids" });
const panel = element("div", { class: "panel" });
// What is said of a number in short: nobody wants all its terms read out at once.
const spoken = element("p", { class: "spoken", role: "status" });
board.append(bar, choices, rule, element("div", { class: "made" }, result, panel), grids, spoken);

// Drawing

function focusArray() {
  const { selected } = state;
  if (selected && ARRAYS[selected.array].tables.length && !STEP_OF.has(selected.array)) return selected.array;
  return STEPS[state.step].array;
}

function draw() {
  const step = STEPS[state.step], array = focusArray();
  const { selected, scene } = state;
  slider.value = state.step;
  slider.setAttribute("aria-valuetext", `step ${state.step + 1} of ${STEPS.length}, ${step.phase}: ${step.text}`);
  place.textContent = `${state.step + 1} of ${STEPS.length}, ${step.phase}`;
  const ends = document.activeElement;
  backButton.disabled = state.step === 0;
  nextButton.disabled = state.step === STEPS.length - 1;
  // A button that has come to its end hands the focus to the other.
  if (ends === backButton && backButton.disabled) nextButton.focus();
  if (ends === nextButton && nextButton.disabled) backButton.focus();
  sampleChooser.value = DATA.scenes[scene].sample;
  updateChooser.value = DATA.scenes[scene].updated ? "yes" : "";
  updateChooser.disabled = !DATA.scenes.some((each) => each.sample === DATA.scenes[scene].sample && each.updated);
  predictBox.checked = state.predict;
  document.body.classList.toggle("predicting", state.predict);
  root.dataset.phase = step.phase;
  if (ruleShown !== step) rule.innerHTML = step.html;
  ruleShown = step;
  const hidden = state.hides(array);
  const own = selected && selected.array === array;
  const at = !hidden ? -1 : own ? selected.at : askedElement(array, scene);
  drawGrids(array, selected || (at < 0 ? null : { array, at }), scene);
  panel.replaceChildren(...[
    hidden ? predictPanel(array, at, scene) : null,
    selected && !(hidden && own) ? explained(selected.array, selected.at, scene) : null,
    hidden || selected ? null : element("p", { class: "hint" }, "Click any number to ask where it comes from."),
  ].filter(Boolean));
  spoken.textContent = [...panel.querySelectorAll(":scope > .origin > :is(h4, .kind, .reason)")].map((each) => each.textContent).join("; ");
  drawMap(step);
}

function drawGrids(array, selected, scene) {
  const origin = selected ? originOf(selected.array, selected.at, scene) : null;
  const { terms, reads, focus } = marksOf(selected, origin);
  // What takes part in a number that is to be predicted is not marked: an empty mark would tell a 0.
  if (selected && state.hides(selected.array)) for (const marked of [terms, reads]) marked.clear();
  const has = (marks, a, at) => marks.has(a) && marks.get(a).has(at);
  const isSelected = (a, at) => selected && selected.array === a && selected.at === at;
  const marks = {
    focus, selected,
    hidden: (a) => state.hides(a),
    veiled: (a) => a === array && state.hides(a) && !shapesSaid.has(a),
    classes: (a, at) => [isSelected(a, at) && "selected", has(terms, a, at) && "term", has(reads, a, at) && "read"].filter(Boolean),
    words: (a, at) => (isSelected(a, at) ? ", selected" : has(terms, a, at) ? ", takes part" : has(reads, a, at) ? ", was looked at" : ""),
  };
  const operands = operandsOf(array, scene);
  const shown = [...operands.map((a) => [a, "operand"]), [array, "result"]];
  if (selected && !shown.some(([a]) => a === selected.array)) shown.unshift([selected.array, "operand"]);
  const focused = placeOfFocus();
  const made = shown.map(([a, role]) => gridOf(a, scene, marks, `${role} ${ARRAYS[a].role === "gradient" ? "backward" : "forward"}`));
  result.replaceChildren(made.pop());
  grids.replaceChildren(...made);
  // One cell of each grid can be reached with Tab: the selected one, or the first.
  for (const table of board.querySelectorAll("table")) (table.querySelector(".selected, .term") || table.querySelector("td"))?.setAttribute("tabindex", 0);
  if (focused) (board.querySelector(`${focused.place}:not(:disabled)`) || board.querySelector(`${focused.instead}:not(:disabled)`))?.focus({ preventScroll: true });
}

// The place of the focus in the grids, as selectors that find it again when the grids are redrawn.
function placeOfFocus() {
  const held = document.activeElement?.closest("#stepper figure :is(td, select, button)");
  if (!held) return null;
  const { array } = held.closest("figure").dataset, { at, row, column } = held.dataset;
  const inside = `figure[data-array="${array}"]`;
  if (held.matches("td")) return { place: `${inside} td[data-at="${at}"]`, instead: `${inside} td[tabindex="0"]` };
  if (held.matches("select")) return { place: `${inside} select`, instead: `${inside} select` };
  return { place: `${inside} [data-row="${row}"][data-column="${column}"]`, instead: `${inside} [data-part]` };
}

// Moving

function address() {
  const parts = [`step=${state.step + 1}`];
  if (state.selected) parts.push(`at=${encodeURIComponent(ARRAYS[state.selected.array].name)}:${indexOf(state.selected.array, state.selected.at).join(".")}`);
  if (state.scene) parts.push(`numbers=${state.scene}`);
  if (state.predict) parts.push("predict");
  return `#${parts.join("&")}`;
}

function show(remember) {
  if (remember) history.pushState(null, "", address());
  else history.replaceState(null, "", address());
  shownHash = location.hash;
  draw();
}

function go(step) {
  const to = Math.max(0, Math.min(step, STEPS.length - 1));
  if (to === state.step) return;
  if (to > state.step) for (let i = state.step; i < to; i++) revealed.add(STEPS[i].array);
  state.step = to;
  state.selected = null;
  show(false);
}

function select(array, at) {
  const step = STEP_OF.get(array);
  // What was seen stays seen when a step further back is shown.
  if (state.predict) for (let i = 0; i < state.step; i++) revealed.add(STEPS[i].array);
  if (step !== undefined && !(state.predict && step > state.step)) state.step = step;
  state.selected = { array, at };
  show(true);
  board.querySelector("td.selected")?.focus({ preventScroll: true });
}

// An address that begins with a step is the stepper's, an empty one is where it began; any other is a place in the notes.
function read() {
  if (location.hash === "" && shownHash) Object.assign(state, { step: 0, scene: 0, selected: null, predict: false });
  if (!location.hash.startsWith("#step=")) return location.hash === "" && Boolean(shownHash);
  const parts = new Map(location.hash.slice(1).split("&").map((part) => part.split("=")));
  state.step = Math.max(0, Math.min((parseInt(parts.get("step"), 10) || 1) - 1, STEPS.length - 1));
  state.scene = Math.max(0, Math.min(parseInt(parts.get("numbers"), 10) || 0, DATA.scenes.length - 1));
  state.predict = parts.has("predict");
  const [name, index] = (parts.get("at") || "").split(":");
  const array = ARRAYS.findIndex((each) => each.name === decoded(name));
  const at = array < 0 ? -1 : positionOf(array, index ? index.split(".").map(Number) : []);
  state.selected = at < 0 ? null : { array, at };
  if (at >= 0 && !state.predict && STEP_OF.has(array)) state.step = STEP_OF.get(array);
  return true;
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

slider.addEventListener("input", () => go(Number(slider.value)));
sampleChooser.addEventListener("change", () => { state.scene = sceneOf(sampleChooser.value, DATA.scenes[state.scene].updated); show(false); });
updateChooser.addEventListener("change", () => { state.scene = sceneOf(DATA.scenes[state.scene].sample, updateChooser.value === "yes"); show(false); });
predictBox.addEventListener("change", () => { state.predict = predictBox.checked; revealed.clear(); shapesSaid.clear(); state.selected = null; show(false); });
board.addEventListener("click", (event) => {
  const button = event.target.closest("[data-go], [data-reveal], [data-part]");
  const cellHit = event.target.closest("td[data-at]");
  if (button?.dataset.go) select(Number(button.dataset.go), Number(button.dataset.at));
  else if (button?.dataset.reveal) {
    revealed.add(Number(button.dataset.reveal));
    show(false);
    (result.querySelector('td[tabindex="0"]') || nextButton).focus({ preventScroll: true });
  }
  else if (button?.dataset.part) { movePart(Number(button.dataset.part), Number(button.dataset.row), Number(button.dataset.column)); draw(); }
  else if (cellHit) select(Number(cellHit.closest("figure").dataset.array), Number(cellHit.dataset.at));
});
board.addEventListener("change", (event) => {
  if (event.target.dataset.planes === undefined) return;
  views.get(Number(event.target.dataset.planes)).plane = Number(event.target.value);
  draw();
});
// A term under the pointer, or in focus, shows its cells.
for (const name of ["mouseover", "focusin"]) board.addEventListener(name, (event) => {
  board.querySelectorAll(".hot").forEach((hot) => hot.classList.remove("hot"));
  const line = event.target.closest("li[data-cells]");
  const cells = line ? JSON.parse(line.dataset.cells) : event.target.dataset.go ? [[event.target.dataset.go, event.target.dataset.at]] : [];
  for (const [array, at] of cells) board.querySelector(`figure[data-array="${array}"] td[data-at="${at}"]`)?.classList.add("hot");
});
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const target = event.target;
  if (target.matches?.("#stepper td")) {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); target.click(); }
    else if (moveFocus(target, event.key)) event.preventDefault();
    return;
  }
  if (target.matches?.("input:not([type=checkbox]), select, textarea") && target !== slider) return;
  // A part of the page that scrolls sideways keeps its arrow keys.
  if (target === map && map.scrollWidth > map.clientWidth) return;
  if (!isNear()) return;
  const to = { ArrowRight: state.step + 1, ArrowLeft: state.step - 1, Home: 0, End: STEPS.length - 1 }[event.key];
  if (to === undefined || (target === slider)) return;
  event.preventDefault();
  go(to);
});
for (const name of ["popstate", "hashchange"]) window.addEventListener(name, () => {
  if (location.hash === shownHash || !read()) return;
  shownHash = location.hash;
  draw();
});

// Arrow keys step only while the stepper can be seen.
function isNear() {
  const { top, bottom } = root.getBoundingClientRect();
  return bottom > 0 && top < window.innerHeight;
}

// For lectures and for the curious: the same answers from the browser's console.
window.tinygraph = { arrays: ARRAYS, steps: STEPS, numbersOf, originOf, sumOf, elementName };
root.hidden = false;
const asked = read();
shownHash = location.hash;
draw();
if (asked) root.scrollIntoView();
