// The Callsheet menu: what `callsheet check` says of the open workflow, and the request that a service would send.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { showFindings, showText } from "./panel.js";
import { words } from "./words.js";

const toast = (severity, summary, detail) =>
  app.extensionManager.toast.add({ severity, summary, detail, life: severity === "error" ? 10_000 : 6000 });

// The runner's answer about the workflow as it stands in the editor.
async function ask(route) {
  document.activeElement?.blur?.(); // a field that is being typed in stores its value
  const response = await api.fetchApi(`/callsheet/${route}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(app.rootGraph.serialize()),
  });
  const answer = await response.json().catch(() => ({ error: `${response.status} ${response.statusText}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function check() {
  const t = await words();
  try {
    showFindings(await ask("check"), t, check);
  } catch (error) {
    toast("error", t.notChecked, error.message);
  }
}

async function copyAsRequest() {
  const t = await words();
  try {
    const { text, notes } = await ask("request");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return showText(text, notes, t); // no clipboard without https, but for localhost
    }
    toast(notes.length ? "warn" : "success", t.copied, notes.map((note) => (notes.length > 1 ? `• ${note}` : note)).join("\n"));
  } catch (error) {
    toast("error", t.notCopied, error.message);
  }
}

app.registerExtension({
  name: "callsheet.menu",
  commands: [
    { id: "Callsheet.Check", label: "Check workflow", icon: "pi pi-check-circle", function: check },
    { id: "Callsheet.CopyAsRequest", label: "Copy as request", icon: "pi pi-copy", function: copyAsRequest },
  ],
  menuCommands: [{ path: ["Callsheet"], commands: ["Callsheet.Check", "Callsheet.CopyAsRequest"] }],
});
