// Where a number comes from, in words: its terms, what was read to decide on them, and where it goes on to.

const FIRST_TERMS = 24, FIRST_USES = 6, HINTED_TERMS = 3;

function cellButton(array, at, shown) {
  return element("button", { type: "button", class: "cell", "data-go": array, "data-at": at, title: shown === undefined ? "" : `= ${shown}` }, elementName(array, at));
}

// The marks that an origin puts on the grids: which cells take part, and which were only looked at.
function marksOf(selected, origin) {
  const terms = new Map(), reads = new Map(), focus = new Map();
  const put = (into, array, cells) => {
    if (!into.has(array)) into.set(array, new Set());
    cells.forEach((at) => into.get(array).add(at));
    if (cells.length && !focus.has(array)) focus.set(array, cells[0]);
  };
  if (origin) {
    for (const part of [...origin.parts, ...origin.slopes]) part.nodes.forEach((node, i) => put(terms, node, part.cells[i]));
    for (const read of origin.reads) put(origin.formula ? terms : reads, read.node, read.cells);
  }
  if (selected) focus.set(selected.array, selected.at);
  return { terms, reads, focus };
}

function kindOf(origin) {
  const count = termCount(origin);
  const products = origin.parts.reduce((sum, part) => sum + (part.nodes.length > 1 && !part.values ? part.count : 0), 0);
  // Terms that are no products of their elements have no weight to speak of.
  const weights = new Set(origin.parts.flatMap((part) => (part.values ? [1] : part.weight)));
  if (origin.formula) return "";
  if (!count) return "nothing comes through";
  if (count === 1) return weights.has(1) || origin.parts[0].values ? "" : "one weighted element";
  if (weights.size === 1 && !weights.has(1) && !weights.has(-1)) return `${share([...weights][0])} of the sum of ${count} ${products === count ? "products" : "elements"}`;
  return `sum of ${count} ${products === count ? "products" : "terms"}`;
}

// 0.25 as 1/4, where it is one over a whole number.
function share(weight) {
  const whole = Math.round(1 / weight);
  return Math.abs(weight * whole - 1) < 1e-7 && whole > 1 && whole < 1e6 ? `1/${whole.toLocaleString("en")}` : written(weight);
}

function filled(text, reads, scene) {
  const line = element("span"), said = new Set();
  text.split(/\{(\d+)\}/).forEach((piece, i) => {
    if (i % 2 === 0) { line.append(piece); return; }
    const read = reads[Number(piece)];
    const at = read.cells[0], name = elementName(read.node, at);
    line.append(cellButton(read.node, at));
    // A number is said once.
    if (said.has(name)) return;
    said.add(name);
    if (ARRAYS[read.node].dtype === "bool") line.append(numberOf(read.node, at, scene) ? " is true" : " is false");
    else line.append(state.hides(read.node) ? " = ?" : ` = ${numberText(read.node, at, scene)}`);
  });
  return line;
}

function termLine(part, t, scene, hidden) {
  const line = element("li", { "data-cells": JSON.stringify(part.nodes.map((node, i) => [node, part.cells[i][t]])) });
  const cells = part.nodes.map((node, i) => [node, part.cells[i][t]]);
  const weight = Array.isArray(part.weight) ? part.weight[t] : part.weight;
  if (part.text) {
    part.text.split(/\{(\d+)\}/).forEach((piece, i) => line.append(i % 2 ? cellButton(...cells[Number(piece)]) : piece));
    if (!hidden) line.append(` = ${written(part.values[t])}`);
    return line;
  }
  if (weight !== 1 || !cells.length) line.append(weight === -1 && cells.length ? "− " : cells.length ? `${share(weight)} · ` : hidden ? "?" : written(weight));
  cells.forEach(([node, at], i) => line.append(i ? " · " : "", cellButton(node, at)));
  const factors = cells.map(([node, at]) => (state.hides(node) ? "?" : parenthesized(numberText(node, at, scene))));
  const numbers = [...(weight === 1 || !cells.length ? [] : [weight === -1 ? "−1" : share(weight)]), ...factors];
  if (numbers.length > 1) line.append(element("span", { class: "numbers-of" }, ` = ${numbers.join(" · ")}`));
  if (!hidden && cells.length) line.append(` = ${written(termValue(part, t, scene))}`);
  return line;
}

function parenthesized(text) {
  return text.startsWith("−") ? `(${text})` : text;
}

function termList(origin, scene, hidden) {
  const list = element("ol", { class: "terms" });
  const all = origin.parts.flatMap((part) => [...Array(part.count).keys()].map((t) => [part, t]));
  const fill = (most) => { list.replaceChildren(...all.slice(0, most).map(([part, t]) => termLine(part, t, scene, hidden))); };
  fill(FIRST_TERMS);
  if (all.length <= FIRST_TERMS) return list;
  const more = element("button", { type: "button", class: "more" }, `Show all ${all.length} terms`);
  more.addEventListener("click", () => {
    fill(all.length);
    more.remove();
    list.children[FIRST_TERMS].querySelector("button")?.focus();
  });
  return element("div", {}, list, more);
}

// The panel below the grids.
function explained(array, at, scene) {
  const name = elementName(array, at), hidden = state.hides(array);
  const number = numberOf(array, at, scene), origin = originOf(array, at, scene);
  const title = element("h4", {}, element("b", {}, name), hidden ? " = ?" : ` = ${numberText(array, at, scene)}`);
  const panel = element("div", { class: "origin" }, title);
  if (!origin) {
    const words = ARRAYS[array].tables.length ? `is one of many: the page explains where the first ${ARRAYS[array].explained.toLocaleString("en")} elements of ${ARRAYS[array].name} come from.`
      : STEP_OF.has(array) ? "is where the backward pass starts." : `is given: it is ${{ input: "an input", parameter: "a parameter", constant: "a constant", tensor: "a value" }[ARRAYS[array].role] || "a leaf"}.`;
    panel.append(element("p", {}, `${name} ${words}`));
  } else if (hidden) panel.append(hintOf(array, at, scene));
  else {
    panel.append(...originLines(array, origin, scene, false));
    if (termCount(origin) > 1) panel.append(element("p", { class: "sum" }, sumText(sumOf(origin, scene), number)));
  }
  panel.append(uses(array, at, scene));
  return panel;
}

function originLines(array, origin, scene, hidden) {
  const kind = kindOf(origin), lines = [];
  if (kind) lines.push(element("p", { class: "kind" }, `= ${kind}`));
  if (origin.formula) lines.push(element("p", { class: "kind" }, ARRAYS[array].dtype === "bool" ? "= whether " : "= ", filled(origin.formula, origin.reads, scene)));
  if (origin.reason && !origin.formula) lines.push(element("p", { class: "reason" }, filled(origin.reason, origin.reads, scene)));
  if (termCount(origin)) lines.push(termList(origin, scene, hidden));
  if (origin.slopes.length) lines.push(slopes(origin, scene));
  return lines;
}

function sumText(sum, number) {
  if (sum === undefined) return `The engine's number is ${written(number)}. The page does not hold all the numbers of these terms, so it does not add them up.`;
  const text = `These add up to ${written(sum)}; the engine's number is ${written(number)}`;
  return written(sum) === written(number) ? `${text}.` : `${text}, the same to within rounding.`;
}

// What makes a number that is to be predicted, for those who ask for it.
function hintOf(array, at, scene) {
  const origin = originOf(array, at, scene);
  if (!origin) return null;
  const hint = element("details", { class: "hint-of" }, element("summary", {}, `A hint: what makes ${elementName(array, at)}`));
  if (termCount(origin) <= MOST_BY_HAND) hint.append(...originLines(array, origin, scene, true));
  else {
    // How many they are is what is asked.
    const [part] = origin.parts, first = Math.min(part.count, HINTED_TERMS);
    hint.append(element("ul", { class: "terms" }, ...[...Array(first).keys()].map((t) => termLine(part, t, scene, true))), element("p", {}, "and so on"));
  }
  return hint;
}

function slopes(origin, scene) {
  const lines = origin.slopes.flatMap((part) => part.cells[0].slice(0, FIRST_TERMS).map((at, t) => element("li", {}, "moves by ", written(Array.isArray(part.weight) ? part.weight[t] : part.weight), " for each unit of ", cellButton(part.nodes[0], at))));
  return element("ul", { class: "terms" }, ...lines);
}

function uses(array, at, scene) {
  const found = usesOf(array, at, scene, FIRST_USES);
  const partial = found.filter((use) => use.partial).map((use) => ARRAYS[use.array].name).join(", ");
  const more = partial ? ` Of ${partial} the page tells in part.` : "";
  const used = found.filter((use) => use.count);
  const further = furtherUse(array, at, scene);
  if (!used.length) return element("p", { class: "uses" }, further || `${partial ? "No number that the page explains" : "No number on this page"} is made from it.`, more);
  const line = element("p", { class: "uses" }, "It goes on to ");
  used.forEach(({ array: user, cells, count }, i) => {
    line.append(i ? "; " : "");
    cells.forEach((cell, k) => line.append(k ? ", " : "", cellButton(user, cell)));
    if (count > cells.length) line.append(` and ${count - cells.length} more of ${ARRAYS[user].name}`);
  });
  line.append(`.${more} `, further);
  return line;
}

// What uses a number without being an element of an array of this page: the update, the next step of training, the backward pass.
function furtherUse(array, at, scene) {
  const line = element("span"), parameter = DATA.updates[array];
  if (parameter !== undefined) {
    const { sample, updated } = DATA.scenes[scene], after = updated ? -1 : DATA.scenes.findIndex((each) => each.sample === sample && each.updated);
    line.append("The update uses it: ", cellButton(parameter, at));
    if (after >= 0 && !state.hides(array)) line.append(` goes from ${numberText(parameter, at, scene)} to ${numberText(parameter, at, after)}`);
    line.append(".");
  } else if (ARRAYS[array].role === "gradient" && !ARRAYS[array].tables.length) line.append("Every gradient has it as a factor.");
  else if (DATA.state.includes(array)) line.append("The next step of training begins with it.");
  else if (DATA.output === array) line.append("It is what the backward pass differentiates.");
  return line.childNodes.length ? line : "";
}
