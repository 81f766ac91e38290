// What this pack says, in the editor's language: `callsheet` of locales/<language>/main.json, else English.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

let asked; // every pack's translations, by language

export async function words() {
  const language = app.extensionManager.setting.get("Comfy.Locale") ?? "en";
  asked ??= api.getCustomNodesI18n();
  const all = await asked;
  return { ...all.en.callsheet.menu, ...all[language]?.callsheet?.menu };
}

// A workflow's name and description there, {} where it has none.
export async function template(name, language) {
  asked ??= api.getCustomNodesI18n();
  const all = await asked;
  return all[language]?.callsheet?.templates?.[name] ?? all.en.callsheet.templates[name] ?? {};
}
