// A list as rows of cells: drawn from JSON text, edited in place, told as JSON text again.

import { caption, cell, chooseFor, isFile, isPicture } from "./cells.js";
import { button, element } from "./dom.js";
import { choose, complain, ofType, uploadAll } from "./files.js";
import { pick } from "./picker.js";
import { say } from "./words.js";

// Pixels, as lists.css has them.
const HEIGHT = { heads: 20, table: 32, picture: 62, sound: 106, adding: 32 };

// Rows are added by giving this cell: its file, or what is chosen for it.
export const mainColumn = (columns) =>
  columns.find((column) => isFile(column) && !column.optional) ?? columns.find(({ type }) => type === "choice");

// `tell(text)` is called with what the user has made of the list; `most()` is how many rows it may have.
export function rowsEditor({ columns, text, most, tell }) {
  const list = element("div", { className: "callsheet-rows" });
  const main = mainColumn(columns());
  const inTable = !isFile(main);
  list.classList.toggle("table", inTable);
  let asText = false;
  const rows = () => parse(text) ?? [];
  const room = () => Math.max(0, most() - rows().length);

  function store(changed) {
    text = typeof changed === "string" ? changed : JSON.stringify(changed);
    tell(text);
  }

  function change(edit) {
    const changed = rows();
    edit(changed);
    store(changed);
    draw();
  }

  // Typing must not rebuild the cell that is being left, nor the one that is entered.
  function put(index, key, value) {
    const changed = rows();
    if (!changed[index]) return; // removed while its file was uploaded
    if (value === undefined) delete changed[index][key];
    else changed[index][key] = value;
    store(changed);
  }

  // --- adding, moving ---

  function fresh(value) {
    const given = columns().filter((column) => column.default !== undefined);
    return { [main.name]: value, ...Object.fromEntries(given.map((column) => [column.name, column.default])) };
  }

  const append = (values) => values.length && change((all) => all.push(...values.map(fresh)));

  async function addFiles(files) {
    const fitting = ofType(main.type, files);
    if (fitting.length > room()) complain(say("at most {} rows", most()));
    list.classList.add("busy");
    try {
      append(await uploadAll(fitting.slice(0, room())));
    } finally {
      list.classList.remove("busy");
    }
  }

  function add() {
    if (isFile(main)) return choose(main.type, { multiple: true }, addFiles);
    const { choices, none } = columns().find(({ name }) => name === main.name);
    pick({ anchor: list.querySelector(".add"), choices, label: caption(main), none }, (chosen) => {
      append([chosen]);
      list.querySelector(".add").focus();
    });
  }

  function move(from, to) {
    if (to === from || to < 0 || to >= rows().length) return;
    change((all) => all.splice(to, 0, ...all.splice(from, 1)));
    focusOn(to, ".handle");
  }

  function remove(index) {
    change((all) => all.splice(index, 1));
    focusOn(Math.min(index, rows().length - 1), ".remove");
  }

  // For the keyboard: what was pressed goes with its row.
  const focusOn = (index, what) =>
    (list.querySelectorAll(".callsheet-row")[index]?.querySelector(what) ?? list.querySelector(".add")).focus();

  // --- drawing ---

  function drawRow(row, index, all) {
    const slot = (column) => ({
      value: row[column.name],
      index,
      put: (value) => put(index, column.name, value),
      replace(value) {
        put(index, column.name, value);
        const focused = list.contains(document.activeElement);
        draw();
        if (focused) list.querySelectorAll(".callsheet-row")[index]?.querySelector(`[data-column="${column.name}"]`)?.focus();
      },
    });
    const end = element("div", { className: "end" },
      ...extra(row),
      button("✕", "remove", () => remove(index), { className: "remove" }));
    const cells = inTable ? [...columns().map((column) => cell(column, slot(column))), end] : fileCells(slot, end);
    const handle = moveHandle(index, move);
    handle.disabled = all.length === 1;
    return element("div", { className: "callsheet-row", role: "group", ariaLabel: say("row {}", index + 1) }, handle, ...cells);
  }

  // A picture stands before the other cells, a sound above them with the pictures that belong to it.
  function fileCells(slot, end) {
    const file = slot(main).value;
    const shown = typeof file === "string" ? file : "";
    const name = button(shown, say("{}\nclick to choose another file", shown), chooseFor(main, slot(main)), { className: "file" });
    const others = columns().filter((column) => column.name !== main.name);
    const fields = others.filter((column) => !isPicture(column)).map((column) => captioned(column, cell(column, slot(column))));
    const pictures = others.filter(isPicture).map((column) => cell(column, slot(column)));
    const head = element("div", { className: "head" }, name, end);
    const line = element("div", { className: "fields" }, ...fields);
    const first = cell(main, slot(main));
    if (isPicture(main)) return [first, element("div", { className: "cells" }, head, line), ...pictures];
    return [element("div", { className: "cells" }, head, element("div", { className: "body" }, first, ...pictures), line)];
  }

  function captioned(column, made) {
    const tag = made.matches("input, button") ? "label" : "div"; // a box has labels of its own
    const name = element("span", { className: "caption", textContent: caption(column) });
    return element(tag, { className: "field", title: column.tooltip ?? "" }, name, made);
  }

  // Keys that are no column stay in the row, and are said.
  function extra(row) {
    const known = columns().map(({ name }) => name);
    const others = Object.entries(row).filter(([key]) => !known.includes(key));
    if (!others.length) return [];
    const title = say("also in this row: {}", JSON.stringify(Object.fromEntries(others)));
    return [element("span", { className: "extra", textContent: `+${others.length}`, title })];
  }

  const heads = () =>
    element("div", { className: "heads", ariaHidden: "true" },
      element("span"), // above the handles
      ...columns().map((column) => element("span", { textContent: caption(column), title: column.tooltip ?? "" })));

  // What is no list of rows stays as it is, to be mended by hand.
  function drawText(broken) {
    const area = element("textarea", { value: text, spellcheck: false, ariaLabel: say("the list as JSON text") });
    area.classList.toggle("wrong", broken);
    area.title = broken ? say("not a list of rows; mend the JSON text") : say("the list as JSON text");
    area.onkeydown = (event) => event.stopPropagation();
    area.onchange = () => {
      store(area.value);
      draw();
    };
    return area;
  }

  function drawFoot(broken) {
    const hint = isFile(main) ? say("choose {} files, or drop them here", say(main.type)) : say("add a row: {}", caption(main));
    const adding = button(`+ ${caption(main)}`, hint, add, { className: "add", disabled: broken || !room() });
    const text = button("{ }", asText ? say("edit as a list") : say("edit as text"), () => {
      asText = !asText;
      draw();
      list.querySelector(".foot [aria-pressed]").focus();
    });
    text.ariaPressed = String(asText);
    return element("div", { className: "foot" }, adding, ...(broken ? [] : [text]));
  }

  function draw() {
    const all = parse(text);
    if (inTable) list.style.setProperty("--columns", columns().map(({ type }) => TRACK[type] ?? TRACK.text).join(" "));
    const shown = !all || asText ? [drawText(!all)] : [...(inTable && all.length ? [heads()] : []), ...all.map(drawRow)];
    list.replaceChildren(...shown, drawFoot(!all));
  }

  if (isFile(main)) takeDrops(list, addFiles);
  draw();
  return {
    element: list,
    text: () => text,
    show(next) {
      if (next === text) return;
      text = next;
      draw();
    },
    draw,
    height() {
      const each = inTable ? HEIGHT.table : isPicture(main) ? HEIGHT.picture : HEIGHT.sound;
      const count = Math.max(1, rows().length);
      return HEIGHT.adding + (inTable ? HEIGHT.heads : 0) + count * each;
    },
  };
}

const TRACK = { boolean: "30px", number: "52px", place: "52px", text: "minmax(0, 1fr)", choice: "minmax(0, 2fr)" };

function parse(text) {
  try {
    const rows = JSON.parse(text || "[]");
    return Array.isArray(rows) && rows.every((row) => row && typeof row === "object" && !Array.isArray(row)) ? rows : null;
  } catch {
    return null;
  }
}

// A row is dragged by it, or moved with ↑ and ↓. While it is dragged, the rows on the page show the new order.
function moveHandle(index, move) {
  const handle = button(String(index + 1), say("drag, or ↑ and ↓, to move the row"), null, { className: "handle" });
  handle.onkeydown = (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    move(index, index + by);
  };
  handle.onpointerdown = (event) => {
    event.stopPropagation(); // else the node moves
    const row = handle.parentElement;
    const list = row.parentElement;
    const rows = () => [...list.querySelectorAll(".callsheet-row")];
    row.classList.add("dragged");
    list.setPointerCapture(event.pointerId); // not the handle: it loses it where its row is put elsewhere
    list.onpointermove = ({ clientY }) => {
      const others = rows().filter((one) => one !== row);
      const behind = others.find((one) => clientY < middle(one));
      if (behind) behind.before(row);
      else others.at(-1).after(row);
    };
    list.onlostpointercapture = () => {
      list.onpointermove = list.onlostpointercapture = null;
      row.classList.remove("dragged");
      move(index, rows().indexOf(row));
    };
  };
  return handle;
}

function middle(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return (top + bottom) / 2;
}

function takeDrops(list, add) {
  list.ondragover = (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    list.classList.add("over");
  };
  list.ondragleave = () => list.classList.remove("over");
  list.ondrop = (event) => {
    event.preventDefault(); // else the editor makes nodes of the pictures, or opens them as workflows
    event.stopPropagation();
    list.classList.remove("over");
    add([...event.dataTransfer.files]);
  };
}
