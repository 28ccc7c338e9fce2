// Arrays as grids of cells: a plane at a time where there are many, a part of a plane where it is large.

const MOST_SIDE = 32, WRAP = 8, ALL_CELLS = 80, ALL_PLANES = 16, WIDE = 12;
// The plane and corner that each array shows, chosen by the reader or by what is marked.
const views = new Map();

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "html") made.innerHTML = value;
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function planesOf(array) {
  const shape = ARRAYS[array].shape, size = sizeOf(array);
  // What has one axis to speak of is a line; a long one is written in several rows.
  if (shape.filter((n) => n > 1).length < 2) {
    const columns = shape.length > 1 && shape[shape.length - 2] > 1 && size <= WIDE ? 1 : size > WIDE ? WRAP : size;
    return { count: 1, rows: Math.ceil(size / columns) || 0, columns, size };
  }
  const [rows, columns] = shape.slice(-2);
  return { count: size / (rows * columns) || 0, rows, columns, size: rows * columns };
}

function viewOf(array, marks) {
  const planes = planesOf(array);
  const view = views.get(array) || { plane: 0, row: 0, column: 0 };
  const wanted = marks.focus.get(array);
  if (wanted !== undefined && wanted !== view.followed) {
    const inPlane = wanted % planes.size;
    const row = Math.floor(inPlane / planes.columns), column = inPlane % planes.columns;
    view.plane = Math.floor(wanted / planes.size);
    view.row = row >= view.row && row < view.row + MOST_SIDE ? view.row : corner(row, planes.rows);
    view.column = column >= view.column && column < view.column + MOST_SIDE ? view.column : corner(column, planes.columns);
  }
  view.followed = wanted;
  views.set(array, view);
  return { planes, view };
}

function corner(place, size) {
  return Math.max(0, Math.min(place - MOST_SIDE / 2, size - MOST_SIDE));
}

// One array: its caption, what chooses the part that is shown, and the cells.
function gridOf(array, scene, marks, role) {
  const { symbol } = ARRAYS[array];
  const { planes, view } = viewOf(array, marks);
  const all = planes.count <= ALL_PLANES && planes.count * planes.size <= ALL_CELLS;
  const caption = element("figcaption", {}, element("span", { html: symbol }),
    element("span", { class: "shape" }, marks.veiled(array) ? "(?)" : shapeText(array)));
  const figure = element("figure", { class: `grid ${role}`, "data-array": array }, caption);
  // The cells of a gradient that is to be predicted would tell its shape.
  if (marks.veiled(array)) figure.append(element("p", { class: "aside" }, "Its cells appear once you have said its shape."));
  if (marks.veiled(array) || !sizeOf(array)) {
    if (!marks.veiled(array)) figure.append(element("p", { class: "aside" }, "It has no elements."));
    return figure;
  }
  const shown = all ? [...Array(planes.count).keys()] : [view.plane];
  if (!all && planes.count > 1) figure.append(planeChooser(array, planes, view));
  const tables = element("div", { class: "planes" });
  const scale = scaleOf(array, scene);
  for (const plane of shown) tables.append(planeTable(array, scene, marks, planes, plane, view, scale, shown.length > 1));
  figure.append(tables);
  if (planes.rows > MOST_SIDE || planes.columns > MOST_SIDE) figure.append(partChooser(array, planes, view));
  const held = numbersOf(array, scene).length, size = planes.count * planes.size;
  if (held < size) figure.append(element("p", { class: "aside" }, `The page holds the first ${held.toLocaleString("en")} of ${size.toLocaleString("en")} numbers.`));
  return figure;
}

function shapeText(array) {
  const { shape } = ARRAYS[array];
  return shape.length ? `(${shape.join(", ")}${shape.length === 1 ? "," : ""})` : "a number";
}

function planeName(array, plane) {
  return `[${[...indexOf(array, plane * planesOf(array).size).slice(0, -2), ":", ":"].join(", ")}]`;
}

function planeChooser(array, planes, view) {
  const select = element("select", { "aria-label": `Part of ${ARRAYS[array].name} that is shown`, "data-planes": array });
  for (let plane = 0; plane < planes.count; plane++) select.append(element("option", { value: plane, selected: plane === view.plane }, planeName(array, plane)));
  return element("p", { class: "chooser" }, select, element("span", {}, ` of ${planes.count} parts`));
}

function partChooser(array, planes, view) {
  const range = (from, size) => `${from}–${Math.min(from + MOST_SIDE, size) - 1} of ${size}`;
  const button = (text, label, row, column, off) => element("button", { type: "button", "data-part": array, "data-row": row, "data-column": column, "aria-label": label, disabled: off }, text);
  return element("p", { class: "chooser" },
    button("↑", "rows above", -MOST_SIDE, 0, view.row === 0), button("↓", "rows below", MOST_SIDE, 0, view.row + MOST_SIDE >= planes.rows),
    button("←", "columns before", 0, -MOST_SIDE, view.column === 0), button("→", "columns after", 0, MOST_SIDE, view.column + MOST_SIDE >= planes.columns),
    ` rows ${range(view.row, planes.rows)}, columns ${range(view.column, planes.columns)}`);
}

function movePart(array, row, column) {
  const planes = planesOf(array), view = views.get(array);
  view.row = Math.max(0, Math.min(view.row + row, planes.rows - 1));
  view.column = Math.max(0, Math.min(view.column + column, planes.columns - 1));
}

function scaleOf(array, scene) {
  let scale = 0;
  for (const number of numbersOf(array, scene)) if (Number.isFinite(number)) scale = Math.max(scale, Math.abs(number));
  return scale || 1;
}

function planeTable(array, scene, marks, planes, plane, view, scale, named) {
  const small = Math.min(planes.columns, MOST_SIDE) > WIDE;
  const table = element("table", { role: "grid", class: small ? "cells small" : "cells", "aria-label": `${ARRAYS[array].name}${planes.count > 1 ? ` ${planeName(array, plane)}` : ""}` });
  if (named) table.append(element("caption", {}, planeName(array, plane)));
  const body = element("tbody");
  const first = named ? { row: 0, column: 0 } : view;
  for (let row = first.row; row < Math.min(planes.rows, first.row + MOST_SIDE); row++) {
    const line = element("tr", { role: "row" });
    for (let column = first.column; column < Math.min(planes.columns, first.column + MOST_SIDE); column++) {
      const inPlane = row * planes.columns + column;
      if (inPlane < planes.size) line.append(cell(array, plane * planes.size + inPlane, scene, marks, scale, small));
    }
    body.append(line);
  }
  table.append(body);
  return table;
}

function cell(array, at, scene, marks, scale, small) {
  const hidden = marks.hidden(array);
  const number = hidden ? undefined : numberOf(array, at, scene);
  const text = hidden ? "?" : numberText(array, at, scene);
  const made = element("td", { role: "gridcell", tabindex: -1, "data-at": at, title: `${elementName(array, at)} = ${text}` });
  made.setAttribute("aria-label", `${elementName(array, at)} is ${text}${marks.words(array, at)}`);
  if (!small) made.textContent = hidden ? "?" : numberText(array, at, scene, 3);
  else if (hidden || !Number.isFinite(number)) made.textContent = text;
  // Where there is no room for the number its sign is still written, so that colour is not the only sign.
  else if (number < 0) made.textContent = "−";
  if (number !== undefined && Number.isFinite(number) && number !== 0) {
    made.style.setProperty("--heat", `${Math.max(8, Math.round((Math.abs(number) / scale) * (small ? 55 : 45)))}%`);
    made.classList.add(number > 0 ? "plus" : "minus");
  } else if (number !== undefined && !Number.isFinite(number)) made.classList.add("fault");
  for (const name of marks.classes(array, at)) made.classList.add(name);
  if (marks.selected && marks.selected.array === array && marks.selected.at === at) made.setAttribute("aria-selected", "true");
  return made;
}

// Focus moves with the arrow keys inside a grid, as in a spreadsheet.
function moveFocus(from, key) {
  const row = from.parentElement, place = [...row.children].indexOf(from);
  const target = {
    ArrowLeft: () => from.previousElementSibling,
    ArrowRight: () => from.nextElementSibling,
    ArrowUp: () => row.previousElementSibling && row.previousElementSibling.children[place],
    ArrowDown: () => row.nextElementSibling && row.nextElementSibling.children[place],
    Home: () => row.firstElementChild,
    End: () => row.lastElementChild,
  }[key];
  if (!target) return false;
  const cell = target();
  if (cell) {
    from.closest("table").querySelectorAll('td[tabindex="0"]').forEach((each) => each.setAttribute("tabindex", -1));
    cell.setAttribute("tabindex", 0);
    cell.focus();
  }
  return true;
}
