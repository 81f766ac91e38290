// Files of ComfyUI's input folder: where they are seen, chosen and uploaded.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { element } from "./dom.js";
import { say } from "./words.js";

export function url(name) {
  const slash = name.lastIndexOf("/");
  const file = { filename: name.slice(slash + 1), subfolder: name.slice(0, Math.max(0, slash)), type: "input" };
  return api.apiURL(`/view?${new URLSearchParams(file)}`);
}

export const complain = (detail) =>
  app.extensionManager.toast.add({ severity: "error", summary: say("Not uploaded"), detail, life: 8000 });

// `then` gets the chosen files.
export function choose(type, { multiple = false }, then) {
  const input = element("input", { type: "file", accept: `${type}/*`, multiple });
  input.onchange = () => then([...input.files]);
  input.click();
}

// Those that a cell of this type takes.
export function ofType(type, files) {
  const fitting = files.filter((file) => file.type.startsWith(`${type}/`));
  if (fitting.length < files.length) complain(say("only {} files can be added", say(type)));
  return fitting;
}

// The names of those that could be uploaded, in order; every other one is complained of.
export async function uploadAll(files) {
  const uploads = await Promise.allSettled(files.map(upload));
  uploads.filter((one) => one.reason).forEach((one) => complain(one.reason.message));
  return uploads.filter((one) => one.value).map((one) => one.value);
}

async function upload(file) {
  const body = new FormData();
  body.append("image", file); // this route takes any file
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (response.status !== 200) throw new Error(`${file.name}: ${response.status} ${response.statusText}`);
  const { subfolder, name } = await response.json();
  return subfolder ? `${subfolder}/${name}` : name;
}
