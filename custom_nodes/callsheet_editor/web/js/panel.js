// The panel beside the graph: findings, each a button that leads to its node; or a text to copy by hand.

import { app } from "../../../scripts/app.js";

const READABLE = 0.7; // of the graph's scale

let open; // one at a time

export function showFindings({ errors, findings }, t, again) {
  const summary = findings.length
    ? t.summary.replace("%e", errors).replace("%w", findings.length - errors)
    : t.fine;
  const list = element("ol", {}, ...findings.map((finding) => element("li", {}, line(finding, t))));
  show(t.title, [element("p", { className: errors ? "bad" : "good", textContent: summary }), list], [[t.again, again]]);
}

export function showText(text, notes, t) {
  const area = element("textarea", { value: text, readOnly: true, ariaLabel: t.request, spellcheck: false });
  show(t.request, [...notes.map((note) => element("p", { textContent: note })), area], []);
  area.select();
}

function line({ error, where, node_id, message, fix }, t) {
  const target = node_id && place(node_id, where);
  const mark = element("span", { className: error ? "mark error" : "mark", textContent: error ? t.error : t.warning });
  const said = element("span", {}, mark, element("b", { textContent: where }), ` ${message}`);
  const content = [said, element("span", { className: "fix", textContent: `→ ${fix}` })];
  if (!target) return element("div", {}, ...content);
  return element("button", { type: "button", title: t.show, onclick: () => reveal(target) }, ...content);
}

// The node of a finding. An id is a path through subgraphs ("5:23"), or one that is known inside its subgraph only.
function place(id, title) {
  const path = id.split(":");
  let graph = app.rootGraph;
  for (const step of path.slice(0, -1)) graph = graph?.getNodeById(step)?.subgraph;
  const others = [...app.rootGraph.subgraphs.values()];
  const found = [graph, ...others].map((one) => one?.getNodeById(path.at(-1))).filter(Boolean);
  return found.find((node) => node.title === title) ?? found[0];
}

async function reveal(node) {
  const { canvas } = app;
  if (!canvas.canvas.checkVisibility()) await app.extensionManager.command.execute("Comfy.ToggleLinear");
  if (canvas.graph !== node.graph) canvas.setGraph(node.graph);
  canvas.ds.scale = Math.max(canvas.ds.scale, READABLE);
  canvas.selectItems([node]);
  canvas.centerOnNode(node);
  canvas.setDirty(true, true);
}

function show(title, content, actions) {
  open?.remove();
  const close = () => open.remove();
  const buttons = [...actions, ["✕", close]].map(([textContent, onclick]) =>
    element("button", { type: "button", textContent, onclick, className: "action" }));
  open = element("section", { className: "callsheet-panel", ariaLabel: title, tabIndex: -1 },
    element("header", {}, element("h2", { textContent: title }), ...buttons), ...content);
  open.setAttribute("role", "region");
  // The editor has shortcuts on single keys.
  open.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Escape") close();
  };
  document.body.append(open);
  open.focus();
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

document.head.append(
  element("link", { rel: "stylesheet", href: new URL("../css/panel.css", import.meta.url).href }));
