// The cells of a row, by the type of their column: what each shows, and what it stores.

import { button, element } from "./dom.js";
import { choose, uploadAll, url } from "./files.js";
import { pick } from "./picker.js";
import { player } from "./player.js";
import { say } from "./words.js";

export const isFile = ({ type }) => type in FILES;
export const isPicture = ({ type }) => type === "image" || type === "video";
export const caption = ({ label, name }) => label ?? name;
// A file's name without the ending that nearly all of its kind have.
export const shortName = (name) => name.replace(/\.safetensors$/, "");

// `slot` is the cell's place: {value, index, put, replace}. `put(value)` stores, and `replace(value)` also draws the
// list again; undefined takes the key out of the row. A value that a cell cannot show stays, as JSON to be mended.
export function cell(column, slot) {
  const { fits, draw } = CELLS[column.type] ?? {};
  return draw && (slot.value === undefined || fits(slot.value)) ? draw(column, slot) : rawCell(column, slot);
}

const isText = (value) => value === null || typeof value === "string";
const isWritten = (value) => isText(value) || typeof value === "number";
const isLength = (value) => value === null || typeof value === "number";
const isBox = (value) => !value || (Array.isArray(value) && [0, 4].includes(value.length) && value.every(isLength));

const CELLS = {
  image: { fits: isText, draw: picture },
  video: { fits: isText, draw: picture },
  audio: { fits: isText, draw: sound },
  text: { fits: isWritten, draw: typed },
  number: { fits: isWritten, draw: typed },
  place: { fits: isWritten, draw: typed },
  choice: { fits: isText, draw: choice },
  boolean: { fits: (value) => typeof value === "boolean", draw: toggle },
  box: { fits: isBox, draw: box },
};

// --- files ------------------------------------------------------------------------------------------------------

const FILES = {
  image: (name) => element("img", { src: url(name), alt: name, draggable: false }),
  video: (name) => element("video", { src: url(name), muted: true, preload: "metadata" }),
  audio: (name, missing) => player(url(name), missing),
};

export const chooseFor = (column, slot) => () =>
  choose(column.type, {}, async (files) => {
    const [name] = await uploadAll(files);
    if (name) slot.replace(name);
  });

function picture(column, slot) {
  const name = slot.value ?? "";
  const hint = name ? say("{}\nclick to choose another file", name) : column.tooltip ?? say("choose a file: {}", caption(column));
  const shown = button("", hint, chooseFor(column, slot), { className: "media", data: { column: column.name } });
  const put = (text) => shown.replaceChildren(text);
  if (name) shown.append(Object.assign(FILES[column.type](name), { onerror: () => missing(shown, column, put) }));
  else put(`+ ${caption(column)}`);
  shown.classList.toggle("empty", !name);
  const clear = button("✕", say("no {}", caption(column)), () => slot.replace(undefined), { className: "clear" });
  return element("div", { className: "picture" }, shown, ...(column.optional && name ? [clear] : []));
}

function missing(shown, column, put) {
  put(say("no such {}", say(column.type)));
  shown.classList.add("missing");
}

function sound(column, slot) {
  const chooser = (text, className) =>
    button(text, say("{}\nclick to choose another file", slot.value ?? ""), chooseFor(column, slot), { className });
  if (!slot.value) return chooser(`+ ${caption(column)}`, "empty");
  const shown = FILES.audio(slot.value, () => shown.replaceWith(chooser(say("no such {}", say(column.type)), "missing")));
  return shown;
}

// --- typed ------------------------------------------------------------------------------------------------------

const clamped = (number, { min = -Infinity, max = Infinity }) => Math.min(max, Math.max(min, number));

function number(text, column) {
  const value = Number(text.replace(",", "."));
  return Number.isFinite(value) ? clamped(value, column) : null;
}

// What was typed, as the row keeps it; undefined leaves it out, null is nothing the cell can hold.
const READ = {
  text: (text) => text || undefined,
  number: (text, column) => (text === "" ? undefined : number(text, column)),
  place: (text, column) => (column.choices.includes(text) ? text : READ.number(text, column)),
};

function typed(column, slot) {
  const { placeholders = [column.default ?? "auto"] } = column;
  const input = entry(slot.value ?? "", (text) => READ[column.type](text, column), slot.put);
  input.placeholder = placeholders[Math.min(slot.index, placeholders.length - 1)];
  input.title = column.tooltip ?? "";
  if (column.type === "place") offer(input, column.choices);
  if (column.type === "number") input.addEventListener("keydown", stepping(input, column));
  return named(input, column);
}

// A text field: what `read` refuses leaves it as it was.
function entry(stored, read, put) {
  const input = element("input", { type: "text", value: stored, spellcheck: false });
  let settled = input.value;
  input.onchange = () => {
    if (input.value === settled) return;
    const value = read(input.value.trim());
    if (value !== null) {
      settled = String(value ?? "");
      put(value);
    }
    input.value = settled;
  };
  // The editor has shortcuts on single keys; Enter is how a number field of its own is left.
  input.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Enter") input.blur();
  };
  return input;
}

// ↑ and ↓ count, as in a number field.
const stepping = (input, column) => (event) => {
  const sign = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  const from = READ.number(input.value || input.placeholder, column);
  if (!sign || typeof from !== "number") return;
  event.preventDefault();
  input.value = Number(clamped(from + sign * (column.step ?? 1), column).toPrecision(12));
  input.onchange();
};

function offer(input, choices) {
  const id = `callsheet-${choices.join("-")}`;
  if (!document.getElementById(id)) document.body.append(element("datalist", { id }, ...choices.map((c) => new Option(c))));
  input.setAttribute("list", id);
}

function rawCell(column, slot) {
  const input = entry(JSON.stringify(slot.value), parsed, slot.replace);
  input.classList.add("wrong");
  input.title = say("{} is no {}: mend or empty it", input.value, say(column.type));
  return named(input, column);
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return null;
  }
}

function named(control, column) {
  control.dataset.column = column.name;
  control.ariaLabel = caption(column);
  return control;
}

// --- chosen -----------------------------------------------------------------------------------------------------

function choice(column, slot) {
  const name = slot.value ?? "";
  const known = !name || column.choices.includes(name);
  const open = () =>
    pick({ anchor: made, choices: column.choices, current: name, label: caption(column), none: column.none }, slot.replace);
  const made = button(name ? shortName(name) : say("choose {}", caption(column)), name || column.tooltip, open);
  made.classList.add("choice");
  made.classList.toggle("missing", !known);
  made.classList.toggle("empty", !name);
  if (!known) made.title = say("{}\nThis file is not there; the row keeps its name.", name);
  made.ariaHasPopup = "listbox";
  return named(made, column);
}

function toggle(column, slot) {
  const made = element("input", { type: "checkbox", checked: slot.value ?? column.default ?? false });
  made.setAttribute("role", "switch");
  made.title = column.tooltip ?? caption(column);
  made.onchange = () => slot.put(made.checked);
  return named(made, column);
}

// --- a place in a picture ---------------------------------------------------------------------------------------

const SIDES = { x: "left edge", y: "top edge", w: "width", h: "height" };

function box(column, slot) {
  const sides = slot.value?.length ? [...slot.value] : [null, null, null, null];
  const unit = element("span", { className: "unit" });
  const made = element("div", { className: "box" });

  // Some sides without the others are no box yet: the row keeps them, the server asks for the rest.
  function mark() {
    const given = sides.filter((side) => side !== null);
    made.classList.toggle("partial", given.length > 0 && given.length < 4);
    unit.title = say("0–1: shares of the picture; px: its pixels");
    unit.textContent = given.length < 4 ? "" : given.every((side) => side <= 1) ? "0–1" : "px";
  }

  const inputs = Object.entries(SIDES).map(([letter, meaning], index) => {
    const put = (value) => {
      sides[index] = value ?? null;
      slot.put(sides.every((side) => side === null) ? undefined : [...sides]);
      mark();
    };
    const input = entry(sides[index] ?? "", (text) => READ.number(text, { min: 0 }), put);
    input.dataset.column = `${column.name}.${letter}`;
    input.placeholder = " "; // the style of what is missing asks whether it is shown
    input.ariaLabel = `${caption(column)}: ${say(meaning)}`;
    return element("label", { title: `${say(meaning)}. ${column.tooltip ?? ""}` }, letter, input);
  });
  made.append(...inputs, unit);
  mark();
  return made;
}
