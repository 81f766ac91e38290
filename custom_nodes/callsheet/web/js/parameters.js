// Parameter nodes in the editor: each instance's own limits and choices, its title as the label of its
// value, one colour for all of them, and a badge with the sign of their kind and the name that callers write. Without this script the nodes work the same, only plainer;
// the server checks limits on its own.

import { app } from "../../../scripts/app.js";
import { nearestAllowed, numberLimits, wholeChoices } from "./limits.js";
import { say } from "./words.js";

const NUMBERS = ["CallsheetInteger", "CallsheetNumber"];
const SIGNS = {
  CallsheetText: "¶",
  CallsheetInteger: "#",
  CallsheetNumber: "≈",
  CallsheetBoolean: "◐",
  CallsheetChoice: "☰",
  CallsheetSeed: "⚄",
  CallsheetImage: "▣",
  CallsheetAudio: "♪",
  CallsheetVideo: "▶",
  CallsheetKeyframes: "▤",
  CallsheetSpeakers: "♫",
};
const COLOR = { header: "#1d4f4b", body: "#163230", badge: "#2c7a73" };
const WIDTH = { CallsheetText: 360, CallsheetKeyframes: 400, CallsheetSpeakers: 400, default: 280 }; // pixels

const widget = (node, name) => node.widgets?.find((candidate) => candidate.name === name);

// A getter, set once: widget values are reactive, so node and App view follow the limits as they are edited.
// Plain assignment to `options` goes unseen after the first render.
function option(target, key, get) {
  Object.defineProperty(target.options, key, { get, set() {}, enumerable: true, configurable: true });
}

function limitNumber(node) {
  const value = widget(node, "value");
  const limits = () =>
    numberLimits({
      min: widget(node, "min").value,
      max: widget(node, "max").value,
      step: widget(node, "step").value,
      choices: wholeChoices(widget(node, "choices")?.value), // an Integer's only
      optional: !widget(node, "required").value,
      value: value.value,
    });
  option(value, "min", () => limits().lowest);
  option(value, "max", () => limits().highest);
  option(value, "step2", () => limits().arrowStep);
  option(value, "step", () => limits().arrowStep * 10); // the classic canvas counts in tenths
  option(value, "precision", () => (node.comfyClass === "CallsheetInteger" ? 0 : limits().decimals));

  let settled = value.value; // where the value was before the change that calls back
  value.callback = function (changed) {
    settled = nearestAllowed(changed, limits(), settled);
    value.value = settled;
  };
  after(node, "onConfigure", () => (settled = value.value));
}

function offerChoices(node) {
  const lines = (text) => String(text ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
  const offered = () => [...new Set(lines(widget(node, "choices").value))];
  option(widget(node, "value"), "values", () => offered);
}

// App view labels a field by the label of its input slot, never by the node's title: keep both the same.
function labelByTitle(node) {
  const value = widget(node, "value");
  const relabel = () => {
    const slot = node.inputs?.find((input) => input.widget?.name === "value");
    if (slot) slot.label = node.title;
    if (value.label !== node.title) value.label = node.title;
  };
  onSet(node, "title", relabel);
  onSet(value, "label", () => {
    if (value.label && value.label !== node.title) node.title = value.label; // renamed in App view
  });
  after(node, "onConfigure", relabel);
  after(node, "onAdded", relabel); // a fresh node gets its title after nodeCreated
}

// The classic canvas draws it into the title bar, Vue nodes below their widgets.
function showName(node) {
  const badge = () => {
    const name = widget(node, "name").value || say("no name yet");
    const required = widget(node, "required").value ? " *" : "";
    return new LGraphBadge({ text: `${SIGNS[node.comfyClass]} ${name}${required}`, bgColor: COLOR.badge, fgColor: "#fff" });
  };
  node.badges.push(badge);
}

function after(object, method, then) {
  const before = object[method];
  object[method] = function (...args) {
    const result = before?.apply(this, args);
    then();
    return result;
  };
}

// Wraps the property the editor has put there, wherever it stands: replacing it would stop the node's header
// from following its title.
function onSet(object, key, then) {
  let owner = object;
  while (owner && !Object.hasOwn(owner, key)) owner = Object.getPrototypeOf(owner);
  const there = owner && Object.getOwnPropertyDescriptor(owner, key);
  let plain = object[key];
  Object.defineProperty(object, key, {
    configurable: true,
    enumerable: true,
    get: there?.get ?? (() => plain),
    set(next) {
      if (there?.set) there.set.call(this, next);
      else plain = next;
      then();
    },
  });
}

// A fresh node comes sized for all its widgets. Vue nodes show only the value until "Show advanced inputs", and grow to
// what they show; the classic canvas shows all, and would grow one picture too late.
const compact = (node) =>
  node.setSize([WIDTH[node.comfyClass] ?? WIDTH.default, LiteGraph.vueNodesMode ? 0 : node.computeSize()[1]]);

// Opening a file makes a node as tall as its visible widgets need. Those behind "Show advanced inputs" would count
// there, and a long list would grow into its neighbour.
function foldAdvanced(node) {
  const { isWidgetVisible } = node;
  node.isWidgetVisible = function (one) {
    const folded = LiteGraph.vueNodesMode && one.options?.advanced && !this.showAdvanced;
    return !folded && isWidgetVisible.call(this, one);
  };
}

app.registerExtension({
  name: "callsheet.parameters",
  nodeCreated(node) {
    // Not node.type: it is still empty here.
    if (!(node.comfyClass in SIGNS)) return;
    if (NUMBERS.includes(node.comfyClass)) limitNumber(node);
    if (node.comfyClass === "CallsheetChoice") offerChoices(node);
    labelByTitle(node);
    showName(node);
    foldAdvanced(node);
    compact(node);
    node.color = COLOR.header; // loading a file that has other colours replaces them
    node.bgcolor = COLOR.body;
  },
});
