// Elements of a page, made in one expression.

export function element(tag, properties = {}, ...children) {
  const { data = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

export const button = (label, title, onclick, more = {}) =>
  element("button", { type: "button", textContent: label, title, ariaLabel: title, onclick, ...more });
