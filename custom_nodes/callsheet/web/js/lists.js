// A list in one text widget: rows with a picture, sound or video each, edited in place. Which cells a row has
// stands in the input's `columns`; the value is JSON text. Without this script the text itself is edited.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const TYPE = "CALLSHEET_ROWS";
const ROW_HEIGHT = 58; // pixels
const STYLE = `
.callsheet-rows { display: flex; flex-direction: column; gap: 4px; min-height: 44px; overflow: hidden auto;
  font: 12px Inter, sans-serif; color: var(--input-text, #ddd); border-radius: 6px; }
.callsheet-rows.over { outline: 2px dashed #4aa; outline-offset: -2px; }
.callsheet-row { display: flex; align-items: center; gap: 6px; padding: 4px 6px; border-radius: 6px;
  background: var(--comfy-input-bg, #222); }
.callsheet-row .media { flex: none; width: 56px; height: 46px; object-fit: cover; border-radius: 4px; cursor: pointer;
  background: #0006; color: #f99; font-size: 10px; overflow: hidden; }
.callsheet-row audio.media { width: 170px; height: 32px; }
.callsheet-row .cells { flex: 1; min-width: 0; display: flex; flex-direction: column; gap: 3px; }
.callsheet-row .head { display: flex; align-items: center; gap: 6px; }
.callsheet-row .file { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; opacity: 0.75; }
.callsheet-row .fields { display: flex; flex-wrap: wrap; gap: 3px 8px; }
.callsheet-row label { display: flex; align-items: center; gap: 4px; opacity: 0.9; }
.callsheet-row input, .callsheet-row select { width: 44px; height: 22px; padding: 0 4px; color: inherit; font: inherit;
  background: #0004; border: 1px solid #8886; border-radius: 4px; }
.callsheet-row input::-webkit-calendar-picker-indicator { display: none !important; } /* room for "first" */
.callsheet-row .moves { display: flex; gap: 2px; }
.callsheet-rows button { min-width: 22px; height: 22px; padding: 0 4px; color: inherit; font: inherit; cursor: pointer;
  background: #8882; border: 0; border-radius: 4px; }
.callsheet-rows button:hover:enabled { background: #8885; }
.callsheet-rows button:disabled { opacity: 0.35; cursor: default; }
.callsheet-rows .add { flex: none; height: 28px; }
.callsheet-rows textarea { min-height: 70px; color: inherit; background: #0004; border: 1px solid #c66; }
`;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- files of the input folder ---------------------------------------------------------------------------------

function url(name) {
  const slash = name.lastIndexOf("/");
  const file = { filename: name.slice(slash + 1), subfolder: name.slice(0, Math.max(0, slash)), type: "input" };
  return api.apiURL(`/view?${new URLSearchParams(file)}`);
}

async function upload(file) {
  const body = new FormData();
  body.append("image", file); // this route takes any file
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (response.status !== 200) throw new Error(`${file.name}: ${response.status} ${response.statusText}`);
  const { subfolder, name } = await response.json();
  return subfolder ? `${subfolder}/${name}` : name;
}

const complain = (detail) =>
  app.extensionManager.toast.add({ severity: "error", summary: "Not uploaded", detail, life: 8000 });

function chooseFiles(type, multiple, then) {
  const input = element("input", { type: "file", accept: `${type}/*`, multiple });
  input.onchange = () => then([...input.files]);
  input.click();
}

// --- cells ------------------------------------------------------------------------------------------------------

const MEDIA = {
  image: (name) => element("img", { src: url(name), draggable: false }),
  audio: (name) => element("audio", { src: url(name), controls: true, preload: "none" }),
  video: (name) => element("video", { src: url(name), muted: true, preload: "metadata" }),
};

function mediaCell(column, name, replace) {
  const cell = MEDIA[column.type](name);
  cell.classList.add("media");
  cell.title = `${name}\nclick to choose another file`;
  cell.onerror = () => {
    const missing = element("div", { className: "media", textContent: `no such ${column.type}`, title: cell.title });
    missing.onclick = replace;
    cell.replaceWith(missing);
  };
  if (column.type !== "audio") cell.onclick = replace; // a player's clicks are its own
  return cell;
}

const clamped = (number, { min = -Infinity, max = Infinity }) => Math.min(max, Math.max(min, number));

// What was typed, as the row keeps it; undefined leaves it out, null is nothing the cell can hold.
const READ = {
  text: (typed) => typed || undefined,
  choice: (typed) => typed || undefined,
  number: (typed, column) => (typed === "" ? undefined : isNaN(typed) ? null : clamped(Number(typed), column)),
  place: (typed, column) => (column.choices.includes(typed) ? typed : READ.number(typed, column)),
};

function field(column, row, index, put) {
  const input = column.type === "choice" ? select(column) : element("input", { type: "text" });
  const stored = row[column.name];
  input.value = stored ?? "";
  input.placeholder = column.placeholders?.[Math.min(index, column.placeholders.length - 1)] ?? "auto";
  input.title = column.tooltip ?? "";
  input.dataset.column = column.name;
  if (column.type === "place") offer(input, column.choices);
  let settled = input.value;
  input.onchange = () => {
    const value = READ[column.type](input.value.trim(), column);
    if (value !== null) {
      settled = value ?? "";
      put(value);
    }
    input.value = settled;
  };
  // The editor has shortcuts on single keys; Enter is how a number field of its own is left.
  input.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Enter") input.blur();
  };
  return element("label", {}, column.label ?? column.name, input);
}

const select = ({ choices }) => element("select", {}, ...choices.map((choice) => new Option(choice)));

function offer(input, choices) {
  const id = `callsheet-${choices.join("-")}`;
  if (!document.getElementById(id)) document.body.append(element("datalist", { id }, ...choices.map((c) => new Option(c))));
  input.setAttribute("list", id);
}

// --- the list ---------------------------------------------------------------------------------------------------

function parse(text) {
  try {
    const rows = JSON.parse(text || "[]");
    return Array.isArray(rows) && rows.every((row) => row && typeof row === "object") ? rows : null;
  } catch {
    return null;
  }
}

function rowsWidget(node, name, [, options]) {
  const columns = options.columns;
  const media = columns.find((column) => column.type in MEDIA);
  const fields = columns.filter((column) => column !== media);
  const list = element("div", { className: "callsheet-rows" });
  let text = options.default ?? "[]";
  const rows = () => parse(text) ?? [];
  const most = () => node.widgets?.find((widget) => widget.name === "max_rows")?.value ?? Infinity;

  // One step for undo, also where an upload has taken its time.
  function store(changed) {
    app.canvas.emitBeforeChange();
    try {
      widget.value = typeof changed === "string" ? changed : JSON.stringify(changed);
    } finally {
      app.canvas.emitAfterChange();
    }
    app.canvas.setDirty(true, true);
  }

  function change(edit) {
    const changed = rows();
    edit(changed);
    store(changed);
  }

  // Typing must not rebuild the cell that is being left, nor the one that is entered.
  function put(index, column, value) {
    const changed = rows();
    if (value === undefined) delete changed[index][column];
    else changed[index][column] = value;
    text = JSON.stringify(changed);
    store(text);
  }

  async function add(files) {
    const fitting = files.filter((file) => file.type.startsWith(`${media.type}/`));
    const room = Math.max(0, most() - rows().length);
    if (fitting.length < files.length) complain(`only ${media.type} files can be added`);
    if (fitting.length > room) complain(`at most ${most()} rows`);
    const uploaded = await Promise.allSettled(fitting.slice(0, room).map(upload));
    uploaded.filter((one) => one.reason).forEach((one) => complain(one.reason.message));
    const names = uploaded.filter((one) => one.value).map((one) => one.value);
    if (names.length) change((all) => all.push(...names.map((file) => ({ [media.name]: file }))));
  }

  const replace = (index) => () =>
    chooseFiles(media.type, false, async ([file]) => {
      try {
        const uploaded = await upload(file);
        change((all) => (all[index][media.name] = uploaded));
      } catch (error) {
        complain(error.message);
      }
    });

  const move = (index, by) => change((all) => all.splice(index + by, 0, ...all.splice(index, 1)));

  function button(label, title, onclick, disabled = false) {
    return element("button", { type: "button", textContent: label, title, onclick, disabled });
  }

  function drawRow(row, index, all) {
    const moves = element("div", { className: "moves" },
      button("↑", "move up", () => move(index, -1), index === 0),
      button("↓", "move down", () => move(index, 1), index === all.length - 1),
      button("✕", "remove", () => change((changed) => changed.splice(index, 1))));
    const inputs = fields.map((column) => field(column, row, index, (value) => put(index, column.name, value)));
    const file = row[media.name] ?? "";
    return element("div", { className: "callsheet-row" },
      mediaCell(media, file, replace(index)),
      element("div", { className: "cells" },
        element("div", { className: "head" },
          element("div", { className: "file", textContent: file, title: file }), moves),
        element("div", { className: "fields" }, ...inputs)));
  }

  // What is no list of rows stays as it is, to be mended by hand.
  function drawText() {
    const area = element("textarea", { value: text, title: "not a list of rows; mend the JSON text" });
    area.onchange = () => store(area.value);
    return area;
  }

  function draw() {
    const all = parse(text);
    const full = rows().length >= most();
    const adding = button(`+ ${media.type}`, `choose ${media.type} files, or drop them here`,
      () => chooseFiles(media.type, true, add), full);
    adding.classList.add("add");
    list.replaceChildren(...(all ? all.map(drawRow) : [drawText()]), adding);
  }

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

  const height = () => 44 + Math.max(1, rows().length) * (ROW_HEIGHT + 4);
  const widget = node.addDOMWidget(name, TYPE, list, {
    getValue: () => text,
    setValue(value) {
      const next = typeof value === "string" ? value : JSON.stringify(value ?? []);
      if (next === text) return;
      text = next;
      draw();
    },
    getMinHeight: height,
  });
  draw();
  keepMounted(node, name, list);
  return { widget, minWidth: 340, minHeight: 120 };
}

// The editor mounts the element of a widget once per widget id. Loading the same workflow again (undo does) makes
// a new widget with the old id, while the page keeps the old element, which edits a widget that is gone.
export function keepMounted(node, name, own) {
  const replaceStale = () =>
    setTimeout(() => {
      own.dataset.callsheet = `${node.graph?.id}:${node.id}:${name}`;
      for (const stale of document.querySelectorAll(`[data-callsheet="${own.dataset.callsheet}"]`))
        if (stale !== own) stale.replaceWith(own);
    });
  for (const method of ["onConfigure", "onAdded"]) {
    const before = node[method];
    node[method] = function (...args) {
      before?.apply(this, args);
      replaceStale();
    };
  }
}

// A sound chosen in the node can be heard there.
function addPlayer(node) {
  const value = node.widgets.find((widget) => widget.name === "value");
  const player = element("audio", { controls: true, preload: "metadata" });
  player.style.cssText = "width:100%;height:36px;min-height:36px";
  const show = () => {
    if (player.dataset.file === value.value) return;
    player.dataset.file = value.value ?? "";
    player.hidden = !value.value;
    if (value.value) player.src = url(value.value);
    else player.removeAttribute("src");
  };
  const widget = node.addDOMWidget("player", "CALLSHEET_PLAYER", player, {
    getValue: () => "",
    getMinHeight: () => 40,
    serialize: false,
  });
  widget.serialize = false;
  for (const [object, method] of [[value, "callback"], [node, "onConfigure"], [node, "onAdded"]]) {
    const before = object[method];
    object[method] = function (...args) {
      const result = before?.apply(this, args);
      show();
      return result;
    };
  }
  show();
  keepMounted(node, "player", player);
}

app.registerExtension({
  name: "callsheet.lists",
  init: () => document.head.append(element("style", { textContent: STYLE })),
  getCustomWidgets: () => ({ [TYPE]: rowsWidget }),
  // Here and not in the server's schema: there it stays a plain STRING, which converters read as it is.
  beforeRegisterNodeDef(_, definition) {
    for (const [type, options] of Object.values(definition.input?.required ?? {}))
      // Rows are added by choosing files: a list without a column for them stays text.
      if (type === "STRING" && options?.columns?.some((column) => column.type in MEDIA)) options.widgetType = TYPE;
  },
  nodeCreated(node) {
    if (node.comfyClass === "CallsheetAudio") addPlayer(node);
  },
});
