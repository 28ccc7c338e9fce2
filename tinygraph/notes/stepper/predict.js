// Predict, then reveal: gradients are hidden until the learner has said what they are.

const revealed = new Set();
const score = { right: 0, asked: 0 };
// Questions that were answered, so that each counts once.
const answered = new Set();

function parseShape(text) {
  const numbers = text.match(/\d+/g);
  return numbers ? numbers.map(Number) : text.trim() && /scalar|\(\s*\)|number/i.test(text) ? [] : null;
}

function parseNumber(text) {
  const plain = text.trim().replace(/−/g, "-").replace(",", ".");
  const fraction = plain.match(/^([-+]?[\d.]+(?:e[-+]?\d+)?)\s*\/\s*([\d.]+)$/i);
  if (fraction) return Number(fraction[1]) / Number(fraction[2]);
  return plain === "" ? NaN : Number(plain);
}

// What is wrong with a number, so that the learner finds it; nothing where it is right to about one part in a hundred.
function judged(given, right) {
  if (Number.isNaN(given)) return "That is no number: write it like −0.25, 3e-4 or 1/4.";
  if (Math.abs(given - right) <= 0.011 * Math.abs(right) || (right === 0 && Math.abs(given) < 1e-12)) return "";
  if (right === 0) return "Not yet: nothing comes through here.";
  if (Math.abs(given + right) <= 0.011 * Math.abs(right)) return "Not yet: the size is right, the sign is not.";
  const factor = given / right;
  for (const whole of [2, 3, 4, 8, 9, 16]) {
    if (Math.abs(factor / whole - 1) < 0.011) return `Not yet: it is ${whole} times too large.`;
    if (Math.abs(factor * whole - 1) < 0.011) return `Not yet: it is ${whole} times too small.`;
  }
  return `Not yet: it is too ${given > right ? "large" : "small"}.`;
}

// The element that is asked for: not 0 and made of few terms, so that it can be worked out by hand.
function askedElement(array, scene) {
  let best = 0, fewest = Infinity;
  for (let at = 0; at < Math.min(ARRAYS[array].told, 4096); at++) {
    if (!numberOf(array, at, scene)) continue;
    const count = termCount(originOf(array, at, scene));
    if (count < fewest) { best = at; fewest = count; }
    if (count <= 1) break;
  }
  return best;
}

function question(label, id, check) {
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
  });
  return form;
}

function scoreText() {
  return score.asked ? `${score.right} of ${score.asked} right at once` : "";
}

function predictPanel(array, at, scene) {
  const { name, shape } = ARRAYS[array];
  const panel = element("div", { class: "predict" }, element("h4", {}, `Predict ${name}`));
  const ofShape = question(`The shape of ${name}:`, "predict-shape", (text) => {
    const given = parseShape(text);
    if (given === null) return "Write sizes like 8, 1, 3, 3; of a single number, ().";
    if (given.join() === shape.join()) return "";
    return given.length !== shape.length ? `Not yet: it has ${shape.length} axes.` : "Not yet: the axes are as many, the sizes are others.";
  });
  ofShape.dataset.key = `shape ${array}`;
  const ofNumber = question(`${elementName(array, at)} =`, "predict-number", (text) => judged(parseNumber(text), numberOf(array, at, scene)));
  ofNumber.dataset.key = `number ${array} ${at} ${scene}`;
  const reveal = element("button", { type: "button", class: "reveal", "data-reveal": array }, `Reveal ${name}`);
  panel.append(ofShape, ofNumber, element("p", {}, "Any other ? can be clicked and asked for. ", reveal));
  return panel;
}
