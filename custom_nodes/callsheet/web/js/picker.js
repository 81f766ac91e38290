// A menu of choices that is searched by typing, above everything else on the page.

import { element } from "./dom.js";
import { say } from "./words.js";

const ROOM = 8; // pixels to the edges of the page

export function pick({ anchor, choices, current, label, none }, then) {
  const search = element("input", { type: "text", placeholder: say("search {}", label), role: "combobox" });
  const options = element("div", { role: "listbox", ariaLabel: label });
  const menu = element("div", { className: "callsheet-picker", popover: "auto" }, search, options);
  let found = [];
  let active = 0;

  function show() {
    const words = search.value.toLowerCase().split(/\s+/);
    found = choices.filter((choice) => words.every((word) => choice.toLowerCase().includes(word)));
    active = search.value ? 0 : Math.max(0, found.indexOf(current));
    options.replaceChildren(...found.map(option));
    if (!found.length) options.append(element("div", { className: "none", textContent: choices.length ? say("none found") : none }));
    mark(active);
  }

  function option(choice, index) {
    const made = element("div", { role: "option", id: `callsheet-option-${index}`, textContent: choice, title: choice });
    made.classList.toggle("current", choice === current);
    made.onclick = () => take(choice);
    made.onpointermove = () => mark(index);
    return made;
  }

  function mark(index) {
    options.children[active]?.removeAttribute("aria-selected");
    active = index;
    if (!found.length) return;
    options.children[active].ariaSelected = "true";
    options.children[active].scrollIntoView({ block: "nearest" });
    search.setAttribute("aria-activedescendant", options.children[active].id);
  }

  function take(choice) {
    close();
    then(choice);
  }

  function close() {
    menu.hidePopover();
    anchor.focus();
  }

  search.oninput = show;
  search.onkeydown = (event) => {
    event.stopPropagation(); // the editor has shortcuts on single keys
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step || event.key === "Enter") event.preventDefault(); // Enter would go on to the anchor
    if (step && found.length) mark((active + step + found.length) % found.length);
    if (event.key === "Enter" && found.length) take(found[active]);
    if (["Tab", "Escape"].includes(event.key)) close();
  };
  menu.addEventListener("toggle", ({ newState }) => newState === "closed" && menu.remove());
  document.body.append(menu);
  menu.showPopover();
  show();
  place(menu, anchor.getBoundingClientRect());
  search.focus();
}

// Below the anchor, or above where there is more room.
function place(menu, anchor) {
  const below = innerHeight - anchor.bottom - ROOM;
  const above = anchor.top - ROOM;
  const upwards = below < Math.min(menu.offsetHeight, above);
  menu.style.minWidth = `${Math.min(anchor.width, innerWidth - 2 * ROOM)}px`;
  menu.style.maxHeight = `${upwards ? above : below}px`;
  menu.style.left = `${Math.max(ROOM, Math.min(anchor.left, innerWidth - menu.offsetWidth - ROOM))}px`;
  menu.style.top = `${upwards ? anchor.top - menu.offsetHeight : anchor.bottom}px`;
}
