// The picture: what is done, the card of the step, and the numbers of the sample on the cards. A click on a card goes to its step.

const map = document.querySelector("#stepper .map");
// Cards are laid out with figure dashes where their numbers will be: of a large array six, which an image covers.
const ROOM = /\u2012+/, MOST_ON_CARD = 64, MOST_MAPS = 8, MAPS_IN_A_ROW = 4, SQUARE = 4;
const SVG = "http://www.w3.org/2000/svg";

function idOf(element) {
  return element.id.replace("step-", "");
}

// Views: the picture of the graph, and those of what its folded cards hold

const viewCache = new Map();

// A view with what is found in it: its element, and the card of each item.
function viewOfGraph(number) {
  if (!viewCache.has(number)) {
    const view = DATA.views[number], cardOf = new Map();
    for (const [id, { items }] of Object.entries(view.cards)) for (const item of items) cardOf.set(item, id);
    const body = element("div", { class: "view" });
    if (number) body.append(pathTo(number));
    if (view.svg) body.insertAdjacentHTML("beforeend", view.svg);
    else body.append(element("div", { class: "lines" }, ...Object.keys(view.cards).map((id, i) => element("button", { type: "button", class: "card", id: `step-${id}` }, view.lines[i]))));
    const svg = body.querySelector("svg");
    // An image has no parts that can be used.
    svg?.setAttribute("role", "group");
    for (const card of svg?.querySelectorAll("g.card") ?? []) {
      const { opens } = view.cards[idOf(card)] ?? {}, name = ARRAYS[DATA.cards[itemOf(card)].value].name;
      card.setAttribute("role", "button");
      card.setAttribute("aria-label", opens === undefined ? `The step of ${name}` : `Open ${DATA.views[opens].title}`);
    }
    const forward = new Set(STEPS.filter((step) => step.phase === "forward").map((step) => cardOf.get(step.item)));
    const computed = new Set(STEPS.map((step) => cardOf.get(step.item)));
    viewCache.set(number, { ...view, cardOf, body, svg, forward, computed });
  }
  return viewCache.get(number);
}

// The last item that a card shows, which its id counts from 1.
function itemOf(card) {
  return Number(idOf(card).slice(1)) - 1;
}

// Links back to the views that contain a view.
function pathTo(number) {
  const path = element("p", { class: "path" }, DATA.views[number].title);
  for (let at = DATA.views[number].parent; at !== null; at = DATA.views[at].parent) {
    const to = at, back = element("button", { type: "button" }, DATA.views[to].title || "The picture");
    back.addEventListener("click", () => { open(to); });
    path.prepend(back, " › ");
  }
  return path;
}

function open(number) {
  state.view = number;
  const { cardOf } = viewOfGraph(number), { phase, item } = STEPS[state.step];
  const own = [...STEPS.keys()].filter((i) => cardOf.has(STEPS[i].item));
  if (cardOf.has(item) || !own.length) draw();
  else go(own.find((i) => STEPS[i].phase === phase) ?? own[0]);
  (map.querySelector(".card[tabindex='0']") ?? map).focus({ preventScroll: true });
}

function drawMap(step) {
  if (!DATA.views.length) return;
  // A step elsewhere is shown in the nearest view that has it.
  while (state.view && !viewOfGraph(state.view).cardOf.has(step.item) && !isLeafView(state.view)) state.view = DATA.views[state.view].parent;
  const { body, svg, cardOf, forward, computed, edges } = viewOfGraph(state.view);
  if (body.parentNode !== map) map.replaceChildren(body);
  const current = cardOf.get(step.item), reached = new Map();
  STEPS.forEach((each, i) => { if (i <= state.step) reached.set(`${each.phase} ${cardOf.get(each.item)}`, i); });
  for (const card of body.querySelectorAll(".card")) {
    const id = idOf(card);
    card.classList.toggle("todo", forward.has(id) && computed.has(id) && !reached.has(`forward ${id}`));
    card.classList.toggle("passed", reached.has(`backward ${id}`));
    card.classList.toggle("now", id === current);
    card.setAttribute("tabindex", id === current ? 0 : -1);
    if (svg) drawNumbers(card, DATA.cards[itemOf(card)]);
  }
  if (!svg) {
    body.querySelector(".now")?.scrollIntoView({ block: "nearest" });
    return;
  }
  for (const edge of svg.querySelectorAll("g.edge")) {
    const data = edges[idOf(edge)];
    if (data) edge.classList.toggle("todo", data.lane === "gradient" ? !passed(data.tail, reached, edges) : svg.getElementById(`step-${data.tail}`)?.classList.contains("todo") ?? false);
  }
  ring(svg, current && svg.getElementById(`step-${current}`), step.phase);
}

// Whether a view has no step at all, so that no step leads out of it.
function isLeafView(number) {
  return !STEPS.some((step) => viewOfGraph(number).cardOf.has(step.item));
}

// Whether a gradient has set out from a card; from a bead, once it has from all that meet there.
function passed(tail, reached, edges) {
  if (!tail.startsWith("s")) return reached.has(`backward ${tail}`);
  return Object.values(edges).filter(({ head }) => head === tail).every((edge) => reached.has(`backward ${edge.tail}`));
}

function ring(svg, card, phase) {
  svg.querySelector(".ring")?.remove();
  if (!card || !card.getBBox) return;
  const box = card.getBBox();
  const made = document.createElementNS(SVG, "rect");
  const sizes = { x: box.x - 4, y: box.y - 4, width: box.width + 8, height: box.height + 8, rx: 5, class: `ring ${phase}` };
  for (const [name, value] of Object.entries(sizes)) made.setAttribute(name, value);
  card.parentNode.append(made);
  const middle = made.getBoundingClientRect(), frame = map.getBoundingClientRect();
  const by = { top: middle.top + middle.height / 2 - frame.top - frame.height / 2, left: middle.left + middle.width / 2 - frame.left - frame.width / 2 };
  map.scrollBy({ ...by, behavior: still.matches ? "auto" : "smooth" });
}

// The numbers of a card

const roomsOf = new Map();

// The texts of a card that have room for numbers: those of its value, and those of its gradient.
function rooms(card, { value, gradient }) {
  if (!roomsOf.has(card)) {
    const texts = [...card.querySelectorAll("text")].filter((text) => ROOM.test(text.textContent));
    const each = gradient === null ? texts.length : texts.length / 2;
    const found = [[value, texts.slice(0, each)], [gradient, texts.slice(each)]];
    roomsOf.set(card, found.filter(([, own]) => own.length).map(([array, own]) => ({ array, texts: own.map(placed) })));
  }
  return roomsOf.get(card);
}

// A text with the words around its number, its end fixed, so that numbers stand below each other.
function placed(text) {
  const words = text.textContent, isAlone = ROOM.exec(words)[0] === words, box = text.getBBox();
  if (isAlone) {
    text.setAttribute("x", box.x + box.width);
    text.setAttribute("text-anchor", "end");
    text.textContent = "";
  }
  return { text, words, box };
}

function drawNumbers(card, arrays) {
  if (!arrays) return;
  for (const { array, texts } of rooms(card, arrays)) {
    const isReached = (STEP_OF.get(array) ?? (ARRAYS[array].role === "gradient" ? Infinity : -1)) <= state.step;
    const shown = isReached && !state.hides(array);
    if (texts.length === sizeOf(array)) {
      texts.forEach(({ text, words }, at) => { text.textContent = words.replace(ROOM, shown ? numberText(array, at, state.scene) : ""); });
    } else drawImage(card, array, texts, shown);
  }
}

// A heat map that covers the rooms of a large array.
function drawImage(card, array, texts, shown) {
  const name = `image-${array}`;
  let image = card.querySelector(`.${name}`);
  if (!image) {
    const boxes = texts.map(({ box }) => box), left = Math.min(...boxes.map((box) => box.x)), top = Math.min(...boxes.map((box) => box.y));
    image = document.createElementNS(SVG, "image");
    const right = Math.max(...boxes.map((box) => box.x + box.width)), bottom = Math.max(...boxes.map((box) => box.y + box.height));
    const places = { class: name, x: left, y: top, width: right - left, height: bottom - top, preserveAspectRatio: "xMinYMid" };
    for (const [key, value] of Object.entries(places)) image.setAttribute(key, value);
    texts[0].text.parentNode.append(image);
  }
  image.style.display = shown ? "" : "none";
  if (shown) image.setAttribute("href", heatOf(array, state.scene));
}

const heatCache = new Map();

// The first planes of an array as an image, a square for each number: green above 0, purple below, yellow where it is not finite.
function heatOf(array, scene) {
  const key = `${array} ${scene}`;
  if (!heatCache.has(key)) {
    const planes = planesOf(array), scale = scaleOf(array, scene), numbers = numbersOf(array, scene);
    const rows = Math.min(planes.rows, MOST_ON_CARD), columns = Math.min(planes.columns, MOST_ON_CARD), count = Math.min(planes.count, MOST_MAPS);
    const width = columns * SQUARE + 2, height = rows * SQUARE + 2, across = Math.min(count, MAPS_IN_A_ROW);
    const canvas = element("canvas", { width: across * (width + SQUARE), height: Math.ceil(count / MAPS_IN_A_ROW) * (height + SQUARE) });
    const paint = canvas.getContext("2d");
    for (let plane = 0; plane < count; plane++) {
      const left = (plane % across) * (width + SQUARE), top = Math.floor(plane / across) * (height + SQUARE);
      paint.strokeStyle = "#999";
      paint.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
      for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
        const inPlane = row * planes.columns + column, number = numbers[plane * planes.size + inPlane];
        if (inPlane >= planes.size || number === undefined) continue;
        const colour = !Number.isFinite(number) ? "255 215 0" : number < 0 ? "140 80 160" : "60 145 75";
        paint.fillStyle = `rgb(${colour} / ${Number.isFinite(number) ? Math.abs(number) / scale : 1})`;
        paint.fillRect(left + 1 + column * SQUARE, top + 1 + row * SQUARE, SQUARE, SQUARE);
      }
    }
    heatCache.set(key, canvas.toDataURL());
  }
  return heatCache.get(key);
}

// Cards as buttons

// A folded card opens. Others go to their step in the phase that is shown, and from there to their next one; a leaf shows its numbers.
function goToCard(card) {
  const { opens } = viewOfGraph(state.view).cards[idOf(card)] ?? {};
  if (opens !== undefined) { open(opens); return; }
  const item = itemOf(card), { value, gradient } = DATA.cards[item], { phase } = STEPS[state.step];
  let own = [...STEPS.keys()].filter((i) => STEPS[i].item === item);
  if (!own.length && phase === "backward" && STEP_OF.has(gradient)) own = [STEP_OF.get(gradient)];
  if (!own.length) select(value, 0);
  else if (own.includes(state.step)) go(own[(own.indexOf(state.step) + 1) % own.length]);
  else go(own.find((i) => STEPS[i].phase === phase) ?? own[0]);
}

map.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (card) goToCard(card);
});
map.addEventListener("keydown", (event) => {
  const card = event.target.closest(".card"), cards = [...map.querySelectorAll(".card")];
  const next = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (card && (event.key === "Enter" || event.key === " ")) goToCard(card);
  else if (card && next) cards[cards.indexOf(card) + next]?.focus();
  else return;
  event.preventDefault();
});
