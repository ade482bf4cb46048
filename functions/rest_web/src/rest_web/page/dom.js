/**
 * Builds elements. Text only ever becomes text: nothing here takes markup, and the page's policy
 * (Trusted Types) would refuse it.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [properties] `class`, `data-*`, `aria-*` and other attributes;
 *   `on*` are listeners; false, null and undefined are left out.
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter(isShown).map(asNode));
  return element;
}

/** @param {Child} child */
function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}

/** @param {Child} child */
function asNode(child) {
  return child instanceof Node ? child : String(child);
}

const ICONS = {
  add: "M12 5v14M5 12h14",
  back: "M15 18l-6-6 6-6",
  bolt: "M13 3L5 14h6l-1 7 8-11h-6z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  chevron: "M9 6l6 6-6 6",
  clock: "M12 21a9 9 0 100-18 9 9 0 000 18zM12 7.5V12l3 2",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  down: "M12 5v14m-6-6l6 6 6-6",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  hash: "M9 4L7 20M17 4l-2 16M4 9h16M4 15h16",
  forbidden: "M12 21a9 9 0 100-18 9 9 0 000 18zM5.7 5.7l12.6 12.6",
  leave: "M10 5H5v14h5M14 8l4 4-4 4M18 12H9",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  people:
    "M9 11a3.5 3.5 0 100-7 3.5 3.5 0 000 7zM2.5 20c0-3.5 2.9-6 6.5-6s6.5 2.5 6.5 6M16 4.5a3.5 3.5 0 010 6M18 14.5c2.2.7 3.5 2.7 3.5 5.5",
  refresh: "M20 11a8 8 0 00-14.5-4L4 9M4 4v5h5M4 13a8 8 0 0014.5 4l1.5-2M20 20v-5h-5",
  remove: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  question: "M9.2 9a3 3 0 115 2.2c-1.2 1-2.2 1.6-2.2 3.3M12 18h.01",
  reply: "M9 7l-5 5 5 5M4 12h10a6 6 0 016 6v1",
  send: "M12 19V5M6 11l6-6 6 6",
  settings:
    "M4 7h10M18 7h2M4 17h2M10 17h10M16 9.5a2.5 2.5 0 100-5 2.5 2.5 0 000 5zM8 19.5a2.5 2.5 0 100-5 2.5 2.5 0 000 5z",
  smile: "M12 21a9 9 0 100-18 9 9 0 000 18zM8.5 14.5a4.2 4.2 0 007 0M9 9.5h.01M15 9.5h.01",
  spark: "M12 3l1.9 5.6a2.5 2.5 0 001.5 1.5L21 12l-5.6 1.9a2.5 2.5 0 00-1.5 1.5L12 21l-1.9-5.6a2.5 2.5 0 00-1.5-1.5L3 12l5.6-1.9a2.5 2.5 0 001.5-1.5z",
  stop: "M7 7h10v10H7z",
  warning: "M12 4L2.5 20h19zM12 10v4.5M12 17.2h.01",
};

/** @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon icon-${name}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A button that shows an icon alone; its label is read aloud and shown as a tooltip.
 *
 * @param {keyof typeof ICONS} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, unknown>} [properties]
 */
export function iconButton(name, label, onclick, properties = {}) {
  return h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...properties },
    icon(name),
  );
}

/**
 * Makes a list's children those of `rows`, keeping what did not change: an element is built anew
 * only where its row differs from the one it was built of.
 *
 * @template {{key: string}} Row
 */
export class KeyedChildren {
  /** @type {Map<string, {row: Row, element: HTMLElement}>} */
  #built = new Map();

  /**
   * @param {HTMLElement} parent
   * @param {(row: Row, before: HTMLElement | undefined) => HTMLElement} build `before`: the
   *   element of the same key so far, which may be kept.
   */
  constructor(parent, build) {
    this.parent = parent;
    this.build = build;
  }

  /** @param {readonly Row[]} rows */
  show(rows) {
    const keys = new Set(rows.map(({ key }) => key));
    for (const [key, { element }] of this.#built) {
      if (!keys.has(key)) element.remove();
    }
    const next = new Map();
    /** @type {ChildNode | null} */
    let position = this.parent.firstChild;
    for (const row of rows) {
      const known = this.#built.get(row.key);
      const element = known && isSame(known.row, row) ? known.element : this.build(row, known?.element);
      if (known !== undefined && known.element !== element) {
        if (position === known.element) position = known.element.nextSibling;
        known.element.remove();
      }
      if (position === element) position = element.nextSibling;
      else this.parent.insertBefore(element, position);
      next.set(row.key, { row, element });
    }
    this.#built = next;
  }

  /** @param {string} key */
  element(key) {
    return this.#built.get(key)?.element;
  }

  /** @returns {Row[]} */
  get rows() {
    return [...this.#built.values()].map(({ row }) => row);
  }
}

/**
 * @param {Record<string, unknown>} one
 * @param {Record<string, unknown>} other
 */
function isSame(one, other) {
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length && names.every((name) => Object.is(one[name], other[name]))
  );
}
