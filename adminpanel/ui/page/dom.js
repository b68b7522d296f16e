// Small helpers to change the page in place.

const SVG = 'http://www.w3.org/2000/svg';

// parts finds the elements of root that carry data-el, by that name.
export function parts(root) {
  const found = {};
  for (const el of root.querySelectorAll('[data-el]')) found[el.dataset.el] = el;
  return found;
}

// clone makes the only element of a template.
export function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

// text and attr touch the page only when something changes, so that selections,
// focus and screen readers are left in peace.
export function text(el, value) {
  if (el.textContent !== value) el.textContent = value;
}

export function attr(el, name, value) {
  if (value === null) el.removeAttribute(name);
  else if (el.getAttribute(name) !== String(value)) el.setAttribute(name, value);
}

// sign sets a state with its sign and its word: never colour alone.
export function sign(el, state, icon, words) {
  attr(el, 'data-state', state);
  attr(el.querySelector('use'), 'href', '#i-' + icon);
  if (words !== undefined) text(el.querySelector('span'), words);
}

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'i');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', '#i-' + name);
  svg.append(use);
  return svg;
}

export function make(tag, className, words) {
  const el = document.createElement(tag);
  if (className) el.className = className;
  if (words !== undefined) el.textContent = words;
  return el;
}

// bar fills a progress bar to part, between 0 and 1.
export function bar(el, part) {
  const bounded = Math.min(1, Math.max(0, part || 0));
  el.firstElementChild.style.setProperty('--part', bounded.toFixed(3));
  attr(el, 'aria-valuenow', Math.round(bounded * 100));
}
