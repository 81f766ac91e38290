// A list in one text widget: rows of files, choices and numbers, edited in place. Which cells a row has stands in
// the input's `columns`; the value is JSON text. Without this script the text itself is edited.

import { app } from "../../../scripts/app.js";
import { element } from "./dom.js";
import { url } from "./files.js";
import { mainColumn, rowsEditor } from "./rows.js";
import { columnsIn, translated } from "./words.js";

const TYPE = "CALLSHEET_ROWS";
const columnsNow = new Map(); // "node type.input" → columns, as the server last said: files come and go

function rowsWidget(node, name, [, options]) {
  const editor = rowsEditor({
    columns: () => columnsIn(node, name, columnsNow.get(`${node.comfyClass}.${name}`) ?? options.columns),
    text: options.default ?? "[]",
    most: () => node.widgets?.find((widget) => widget.name === "max_rows")?.value ?? Infinity,
    tell: store,
  });

  // One step for undo, also where an upload has taken its time.
  function store(text) {
    app.canvas.emitBeforeChange();
    try {
      widget.value = text;
    } finally {
      app.canvas.emitAfterChange();
    }
    app.canvas.setDirty(true, true);
  }

  const widget = node.addDOMWidget(name, TYPE, editor.element, {
    getValue: editor.text,
    setValue: (value) => {
      editor.show(typeof value === "string" ? value : JSON.stringify(value ?? []));
      if (node.graph && !LiteGraph.vueNodesMode) node.expandToFitContent(); // it would grow one picture too late
    },
    // The classic canvas takes its margins out of that.
    getMinHeight: () => editor.height() + (LiteGraph.vueNodesMode ? 0 : 2 * widget.margin),
  });
  widget.redraw = editor.draw;
  keepMounted(node, name, editor.element);
  return { widget, minWidth: 380, minHeight: 80 };
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

const lists = (definition) =>
  Object.entries(definition.input?.required ?? {}).filter(
    // Without a column to add rows by, a list stays text.
    ([, [type, options]]) => type === "STRING" && options?.columns && mainColumn(options.columns),
  );

function remember(definition) {
  for (const [name, [, options]] of lists(definition)) columnsNow.set(`${definition.name}.${name}`, options.columns);
}

function redraw() {
  for (const graph of [app.rootGraph, ...app.rootGraph.subgraphs.values()])
    for (const node of graph.nodes) node.widgets?.forEach((widget) => widget.type === TYPE && widget.redraw());
}

app.registerExtension({
  name: "callsheet.lists",
  init() {
    document.head.append(element("link", { rel: "stylesheet", href: new URL("../css/lists.css", import.meta.url).href }));
    translated.then(redraw);
  },
  getCustomWidgets: () => ({ [TYPE]: rowsWidget }),
  // Here and not in the server's schema: there it stays a plain STRING, which converters read as it is.
  beforeRegisterNodeDef(_, definition) {
    remember(definition);
    for (const [, [, options]] of lists(definition)) options.widgetType = TYPE;
  },
  refreshComboInNodes(definitions) {
    Object.values(definitions).forEach(remember);
    redraw();
  },
  nodeCreated(node) {
    if (node.comfyClass === "CallsheetAudio") addPlayer(node);
  },
});
