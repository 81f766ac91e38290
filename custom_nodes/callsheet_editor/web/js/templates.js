// Our workflows in the template browser under their names, with what they do. Without this script it lists them by
// their files' names, as it does for any pack.

import { api } from "../../../scripts/api.js";
import { template } from "./words.js";

const MODULE = "callsheet_workflows"; // the pack that `callsheet edit` makes of the workflows
const listed = fetch(new URL(`/extensions/${MODULE}/templates.json`, import.meta.url)).then((r) => (r.ok ? r.json() : []));

async function group(language) {
  const found = await listed;
  const templates = found.map(async ({ name, description }) => {
    const said = await template(name, language);
    return {
      name,
      title: said.title ?? name,
      description: said.description ?? description,
      mediaType: "image",
      mediaSubtype: "jpg",
      sourceModule: MODULE,
    };
  });
  return { moduleName: MODULE, title: "Callsheet", isEssential: true, icon: "icon-[lucide--film]", type: "video",
           templates: await Promise.all(templates) };
}

// As a group of the editor's own list, which has titles and descriptions, and no more among the extensions.
const { getCoreWorkflowTemplates, getWorkflowTemplates } = api;
api.getCoreWorkflowTemplates = async (language) => {
  const groups = await getCoreWorkflowTemplates.call(api, language);
  return (await listed).length ? [await group(language ?? "en"), ...groups] : groups;
};
api.getWorkflowTemplates = async () => {
  const { [MODULE]: ours, ...others } = await getWorkflowTemplates.call(api);
  return (await listed).length || !ours ? others : { ...others, [MODULE]: ours };
};
