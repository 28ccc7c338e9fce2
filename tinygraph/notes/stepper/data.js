// The data of the page: arrays in each scene, and where every element comes from.

const DATA = await unpacked(document.getElementById("stepper-data").textContent);
const ARRAYS = DATA.arrays;
const STEPS = DATA.steps;
// The step that makes an array; leaves have none.
const STEP_OF = new Map(STEPS.map((step, i) => [step.array, i]).reverse());

function bytes(text) {
  const raw = atob(text);
  const found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
  return found.buffer;
}

async function unpacked(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

const numberCache = new Map();

// The numbers of an array in a scene, row by row.
function numbersOf(array, scene) {
  const key = `${array} ${scene}`;
  if (!numberCache.has(key)) {
    const raw = bytes(ARRAYS[array].values[scene]);
    numberCache.set(key, ARRAYS[array].wide ? new Float64Array(raw) : new Float32Array(raw));
  }
  return numberCache.get(key);
}

const tableCache = new Map();

// Distances come in short where all cells lie equally far apart.
function distancesOf(cells) {
  return Array.isArray(cells) ? cells : Array.from({ length: cells.count }, (_, i) => i * cells.step);
}

// JSON has no NaN and no infinity: they come as words.
function revived(pattern) {
  const part = (found) => ({
    ...found,
    cells: found.cells.map(distancesOf),
    weight: Array.isArray(found.weight) ? found.weight.map(Number) : Number(found.weight),
    values: found.values && found.values.map(Number),
  });
  const reads = (pattern.reads || []).map((read) => ({ ...read, cells: distancesOf(read.cells) }));
  return { ...pattern, parts: pattern.parts.map(part), slopes: (pattern.slopes || []).map(part), reads };
}

function tableOf(array, scene) {
  const number = ARRAYS[array].tableOf[scene];
  if (number === undefined) return null;
  const key = `${array} ${number}`;
  if (!tableCache.has(key)) {
    const table = ARRAYS[array].tables[number];
    const which = table.wide ? new Uint32Array(bytes(table.which)) : new Uint16Array(bytes(table.which));
    tableCache.set(key, { patterns: table.patterns.map(revived), which, first: new Int32Array(bytes(table.first)), columns: table.columns });
  }
  return tableCache.get(key);
}

// How one element is made: parts of a sum, elements that are read, a reason, a formula; null where the page does not tell.
function originOf(array, at, scene) {
  const table = tableOf(array, scene);
  if (!table || at >= table.which.length) return null;
  const pattern = table.patterns[table.which[at]];
  let column = at * table.columns;
  const moved = (distances) => {
    const first = table.first[column++];
    return distances.map((distance) => distance + first);
  };
  const part = (found) => ({ ...found, cells: found.cells.map(moved) });
  return {
    parts: pattern.parts.map(part),
    slopes: pattern.slopes.map(part),
    reads: pattern.reads.map((read) => ({ node: read.node, cells: moved(read.cells) })),
    reason: pattern.reason || "",
    formula: pattern.formula || "",
  };
}

// A term as a number; undefined where the page does not hold a number that it is made of.
function termValue(part, t, scene) {
  if (part.values) return part.values[t];
  const factors = part.nodes.map((node, i) => numberOf(node, part.cells[i][t], scene));
  const weight = Array.isArray(part.weight) ? part.weight[t] : part.weight;
  return factors.includes(undefined) ? undefined : factors.reduce((product, factor) => product * factor, weight);
}

function termCount(origin) {
  return origin.parts.reduce((sum, part) => sum + part.count, 0);
}

// The sum of all terms, which equals the engine's number to within rounding; undefined where the page does not hold them all.
function sumOf(origin, scene) {
  let sum = 0;
  for (const part of origin.parts) {
    for (let t = 0; t < part.count; t++) {
      const value = termValue(part, t, scene);
      if (value === undefined) return undefined;
      sum += value;
    }
  }
  return sum;
}

// The arrays that the origins of an array speak of, in order.
function operandsOf(array, scene) {
  const table = tableOf(array, scene);
  if (!table) return [];
  const found = new Set();
  for (const pattern of table.patterns) {
    for (const part of [...pattern.parts, ...pattern.slopes]) part.nodes.forEach((node) => found.add(node));
    for (const read of pattern.reads) found.add(read.node);
  }
  found.delete(array);
  return [...found];
}

const placesCache = new Map();

// Where the patterns of a table speak of an array: for each, the columns of first cells and the distances from them.
function placesOf(user, scene, array) {
  const key = `${user} ${ARRAYS[user].tableOf[scene]} ${array}`;
  if (!placesCache.has(key)) {
    placesCache.set(key, tableOf(user, scene).patterns.map((pattern) => {
      const columns = [...pattern.parts, ...pattern.slopes].flatMap((part) => part.nodes.map((node, i) => [node, part.cells[i]]));
      columns.push(...pattern.reads.map((read) => [read.node, read.cells]));
      return columns.flatMap(([node, distances], column) => (node === array ? [[column, new Set(distances)]] : []));
    }));
  }
  return placesCache.get(key);
}

// Elements of other arrays that one element has a part in, at most so many of each array.
function usesOf(array, at, scene, most) {
  const found = [];
  ARRAYS.forEach((_, user) => {
    if (user === array || !operandsOf(user, scene).includes(array)) return;
    const { which, first, columns } = tableOf(user, scene), places = placesOf(user, scene, array);
    const cells = [];
    let count = 0;
    for (let cell = 0; cell < which.length; cell++) {
      if (!places[which[cell]].some(([column, distances]) => distances.has(at - first[cell * columns + column]))) continue;
      count++;
      if (cells.length < most) cells.push(cell);
    }
    if (count || which.length < sizeOf(user)) found.push({ array: user, cells, count, partial: which.length < sizeOf(user) });
  });
  return found;
}

function sizeOf(array) {
  return ARRAYS[array].shape.reduce((product, n) => product * n, 1);
}

function indexOf(array, at) {
  const index = [];
  let rest = at;
  for (const size of [...ARRAYS[array].shape].reverse()) { index.unshift(rest % size); rest = Math.floor(rest / size); }
  return index;
}

function positionOf(array, index) {
  const shape = ARRAYS[array].shape;
  if (index.length !== shape.length || index.some((i, axis) => !(i >= 0 && i < shape[axis]))) return -1;
  return index.reduce((at, i, axis) => at * shape[axis] + i, 0);
}

function elementName(array, at) {
  const { name, shape } = ARRAYS[array];
  if (!shape.length) return name;
  return `${/^[\p{L}_][\p{L}\p{N}_.']*(\(\d+\))?$/u.test(name) ? name : `(${name})`}[${indexOf(array, at).join(",")}]`;
}

function numberOf(array, at, scene) {
  const numbers = numbersOf(array, scene);
  return at < numbers.length ? numbers[at] : undefined;
}

// Four digits, as everywhere in the notes; three in the cells of grids.
function written(number, digits = 4) {
  if (number === undefined) return "…";
  if (Number.isNaN(number)) return "NaN";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  const rounded = Number(number.toPrecision(digits)), size = Math.abs(rounded);
  const text = size !== 0 && (size < 1e-4 || size >= 1e6) ? rounded.toExponential().replace("e+", "e") : String(rounded);
  return (text === "-0" ? "0" : text).replaceAll("-", "−");
}

// A number of an array in words: integers stay integers, as far as the page has them exactly.
function numberText(array, at, scene, digits) {
  const number = numberOf(array, at, scene);
  return Number.isSafeInteger(number) && /^(u?int|bool)/.test(ARRAYS[array].dtype) ? String(number).replace("-", "−") : written(number, digits);
}
