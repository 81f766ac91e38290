// What the pack's scripts say, in the editor's language: `callsheet.words` of locales/<language>/main.json by the
// English sentence, which stands in the scripts.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

let translations = {}; // of all packs, by language
export const translated = api.getCustomNodesI18n().then((all) => (translations = all));

const inLanguage = () => translations[app.extensionManager.setting.get("Comfy.Locale")];

// Each {} is one of the values, in order.
export function say(text, ...values) {
  const said = inLanguage()?.callsheet?.words?.[text] ?? text;
  return said.replaceAll("{}", () => values.shift());
}

// Columns of a list with their labels and tooltips.
export function columnsIn(node, input, columns) {
  const said = inLanguage()?.nodeDefs?.[node.comfyClass]?.inputs?.[input]?.columns ?? {};
  return columns.map((column) => ({ ...column, ...said[column.name] }));
}
