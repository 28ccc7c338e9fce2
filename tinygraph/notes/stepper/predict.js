// Predict, then reveal: gradients are hidden until the learner has said what they are.

const revealed = new Set();
const shapesSaid = new Set();
// A sum of more terms is counted and not worked out.
const MOST_BY_HAND = 12;
const score = { right: 0, asked: 0 };
// Questions that were answered, so that each counts once.
const answered = new Set();

function parseShape(text) {
  const numbers = text.match(/\d+/g);
  return numbers ? numbers.map(Number) : text.trim() && /scalar|\(\s*\)|number/i.test(text) ? [] : null;
}

function parseNumber(text) {
  const plain = text.trim().replace(/−/g, "-").replace(",", ".");
  const fraction = plain.match(/^([-+]?[\d.]+(?:e[-+]?\d+)?)\s*\/\s*([-+]?[\d.]+)$/i);
  if (fraction) return Number(fraction[1]) / Number(fraction[2]);
  return plain === "" ? NaN : Number(plain);
}

// What is wrong with a number, so that the learner finds it; nothing where it is right to about one part in a hundred.
function judged(given, right) {
  if (Object.is(given, right)) return "";
  if (Number.isNaN(given)) return "That is no number: write it like −0.25, 3e-4 or 1/4.";
  // Of an infinite number every other lies within one part in a hundred.
  if (!Number.isFinite(right)) return "Not yet: it is no finite number.";
  if (Math.abs(given - right) <= 0.011 * Math.abs(right) || (right === 0 && Math.abs(given) < 1e-12)) return "";
  if (right === 0) return "Not yet: nothing comes through here.";
  if (Math.abs(given + right) <= 0.011 * Math.abs(right)) return "Not yet: the size is right, the sign is not.";
  const factor = given / right;
  for (const whole of [2, 3, 4, 8, 9, 16]) {
    if (Math.abs(factor / whole - 1) < 0.011) return `Not yet: it is ${whole} times too large.`;
    if (Math.abs(factor * whole - 1) < 0.011) return `Not yet: it is ${whole} times too small.`;
  }
  if (given * right < 0) return "Not yet: neither the sign nor the size is right.";
  return `Not yet: ${right < 0 ? "without its sign " : ""}it is too ${Math.abs(given) > Math.abs(right) ? "large" : "small"}.`;
}

// The element that is asked for: not 0 and made of few terms, so that it can be worked out by hand; -1 where there is none.
function askedElement(array, scene) {
  if (!sizeOf(array)) return -1;
  let best = 0, fewest = Infinity;
  for (let at = 0; at < Math.min(ARRAYS[array].explained, 4096); at++) {
    const number = numberOf(array, at, scene);
    if (!number || !Number.isFinite(number)) continue;
    const count = termCount(originOf(array, at, scene));
    if (count < fewest) { best = at; fewest = count; }
    if (count <= 1) break;
  }
  return best;
}

function question(label, id, check, then) {
  const input = element("input", { type: "text", id, autocomplete: "off", inputmode: "text", spellcheck: "false" });
  const answer = element("output", { for: id, class: "answer" });
  const form = element("form", { class: "question" }, element("label", { for: id }, label), input, element("button", { type: "submit" }, "Check"), answer);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wrong = check(input.value);
    if (!answered.has(form.dataset.key)) { answered.add(form.dataset.key); score.asked++; score.right += wrong === "" ? 1 : 0; }
    answer.textContent = wrong === "" ? "✓ Right." : `✗ ${wrong}`;
    answer.className = wrong === "" ? "answer right" : "answer wrong";
    document.querySelector("#stepper .score").textContent = scoreText();
    if (wrong === "" && then) then();
  });
  return form;
}

function scoreText() {
  return score.asked ? `${score.right} of ${score.asked} right at once` : "";
}

function shapeQuestion(array) {
  const { name, shape } = ARRAYS[array];
  const form = question(`The shape of ${name}:`, "predict-shape", (text) => {
    const given = parseShape(text);
    if (given === null) return "Write sizes like 8, 1, 3, 3; of a single number, ().";
    if (given.join() === shape.join()) return "";
    if (given.length === shape.length) return "Not yet: the axes are as many, the sizes are others.";
    return shape.length ? `Not yet: it has ${shape.length} ${shape.length === 1 ? "axis" : "axes"}.` : "Not yet: it is a single number.";
  }, () => {
    shapesSaid.add(array);
    draw();
    board.querySelector("#predict-number, #predict-count, .reveal").focus();
  });
  form.dataset.key = `shape ${array}`;
  return form;
}

// What is asked about one element: the number, or of how many terms it is the sum where these are too many to add by hand.
function elementQuestion(array, at, scene) {
  const origin = originOf(array, at, scene), name = elementName(array, at), count = origin ? termCount(origin) : 0;
  const form = count > MOST_BY_HAND
    ? question(`${name} is a sum. Of how many terms?`, "predict-count", (text) => judgedCount(parseNumber(text), count))
    : question(`${name} =`, "predict-number", (text) => judged(/^nan$/i.test(text.trim()) ? NaN : parseNumber(text), numberOf(array, at, scene)));
  form.dataset.key = `number ${array} ${at} ${scene}`;
  return form;
}

function judgedCount(given, right) {
  if (given === right) return "";
  return Number.isNaN(given) ? "That is no number." : `Not yet: there are ${given > right ? "fewer" : "more"}.`;
}

function predictPanel(array, at, scene) {
  const { name } = ARRAYS[array];
  const panel = element("div", { class: "predict" }, element("h4", {}, `Predict ${name}`));
  const reveal = element("button", { type: "button", class: "reveal", "data-reveal": array }, `Reveal ${name}`);
  if (!shapesSaid.has(array)) {
    panel.append(shapeQuestion(array), element("p", {}, reveal));
    return panel;
  }
  panel.append(element("p", {}, `✓ Its shape is ${shapeText(array)}.`));
  if (at >= 0) panel.append(elementQuestion(array, at, scene), ...[hintOf(array, at, scene)].filter(Boolean));
  panel.append(element("p", {}, sizeOf(array) > 1 ? "Any other ? can be clicked and asked for. " : "", reveal));
  return panel;
}
