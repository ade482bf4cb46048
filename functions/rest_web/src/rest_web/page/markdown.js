/**
 * Shows Markdown. Elements are built one by one from what a text means, so that HTML in a text stays
 * text, and no address but a web or mail one becomes a link.
 */

import { h, icon } from "./dom.js";
import { blocksOf } from "./markdown-blocks.js";
import { inlinesOf } from "./markdown-inline.js";

/**
 * @import { Block, Item, List, Table } from "./markdown-blocks.js"
 * @import { Inline } from "./markdown-inline.js"
 */

const LINKS = new Set(["http:", "https:", "mailto:"]);

/** A text that grows piece by piece keeps the blocks that stand. */
export class MarkdownView {
  /** @type {string[]} */
  #shown = [];

  constructor() {
    this.element = h("div", { class: "markdown" });
  }

  /** @param {string} text */
  show(text) {
    const blocks = blocksOf(text);
    const kept = blocks.findIndex(({ raw }, position) => raw !== this.#shown[position]);
    const from = kept === -1 ? blocks.length : kept;
    while (this.element.childNodes.length > from) this.element.lastChild?.remove();
    this.element.append(...blocks.slice(from).map(blockElement));
    this.#shown = blocks.map(({ raw }) => raw);
  }
}

/**
 * A text without its marks, in one line.
 *
 * @param {string} text
 */
export function plainText(text) {
  return blocksOf(text).map(blockText).join(" ").replace(/\s+/g, " ").trim();
}

/** @param {Block} block @returns {string} */
function blockText(block) {
  switch (block.type) {
    case "rule":
      return "";
    case "code":
      return block.text;
    case "quote":
      return block.blocks.map(blockText).join(" ");
    case "list":
      return block.items.map(({ blocks }) => blocks.map(blockText).join(" ")).join(" ");
    case "table":
      return [block.head, ...block.rows].map((row) => row.map(lineText).join(" ")).join(" ");
    default:
      return lineText(block.text);
  }
}

/** @param {string} line */
function lineText(line) {
  return inlinesOf(line).map(inlineText).join("");
}

/** @param {Inline} inline @returns {string} */
function inlineText(inline) {
  if ("children" in inline) return inline.children.map(inlineText).join("");
  return inline.type === "break" ? " " : inline.text;
}

/** @param {Block} block @returns {HTMLElement} */
function blockElement(block) {
  switch (block.type) {
    case "heading":
      // Below the page's own headings; what a message calls a second level is none of the page.
      return h("h3", { class: `level-${block.depth}` }, line(block.text));
    case "code":
      return codeBlock(block.text, block.language);
    case "quote":
      return h("blockquote", {}, block.blocks.map(blockElement));
    case "list":
      return list(block);
    case "table":
      return table(block);
    case "rule":
      return h("hr");
    case "paragraph":
      return h("p", {}, line(block.text));
  }
}

/** @param {List} block */
function list({ items, start, isLoose }) {
  const children = items.map((item) =>
    h("li", { class: item.checked !== undefined && "task" }, itemContent(item, isLoose)),
  );
  if (start === undefined) return h("ul", {}, children);
  return h("ol", { start: start !== 1 && start }, children);
}

/** @param {Item} item @param {boolean} isLoose @returns {(Node | string)[]} */
function itemContent({ blocks, checked }, isLoose) {
  const content = blocks.flatMap((block) =>
    block.type === "paragraph" && !isLoose ? line(block.text) : [blockElement(block)],
  );
  if (checked === undefined) return content;
  const label = checked ? "Done" : "To do";
  return [h("input", { type: "checkbox", disabled: true, checked, "aria-label": label }), ...content];
}

/** @param {Table} block */
function table({ head, align, rows }) {
  const cells = (/** @type {"th" | "td"} */ tag, /** @type {string[]} */ row) =>
    h("tr", {}, row.map((cell, column) => h(tag, { class: align[column] && `align-${align[column]}` }, line(cell))));
  return h(
    "div",
    { class: "table-frame", tabindex: 0, role: "region", "aria-label": "Table" },
    h("table", {}, h("thead", {}, cells("th", head)), h("tbody", {}, rows.map((row) => cells("td", row)))),
  );
}

/** @param {string} text */
function line(text) {
  return inlinesOf(text).map(inlineNode);
}

/** @param {Inline} inline @returns {Node | string} */
function inlineNode(inline) {
  switch (inline.type) {
    case "text":
      return inline.text;
    case "code":
      return h("code", {}, inline.text);
    case "break":
      return h("br");
    case "link":
      return link(inline.href, inline.raw, inline.children.map(inlineNode));
    default:
      return h(inline.type, {}, inline.children.map(inlineNode));
  }
}

/**
 * Images are links, too: loading one would tell a stranger's server who reads this, and when.
 *
 * @param {string} href
 * @param {string} raw
 * @param {(Node | string)[]} content
 */
function link(href, raw, content) {
  const url = parsed(href);
  if (url === undefined || !LINKS.has(url.protocol)) return raw;
  return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, content);
}

/** @param {string} href */
function parsed(href) {
  try {
    return new URL(href);
  } catch {
    return undefined; // a relative address leads nowhere from here
  }
}

/**
 * @param {string} code
 * @param {string} info
 */
function codeBlock(code, info) {
  const language = info.split(/\s/)[0].slice(0, 32);
  const label = h("span", {}, "Copy");
  const copy = async () => {
    label.textContent = (await copied(code)) ? "Copied" : "Select it to copy";
    setTimeout(() => {
      label.textContent = "Copy";
    }, 2_000);
  };
  const name = language === "" ? "Code" : `Code, ${language}`;
  return h(
    "figure",
    { class: "code" },
    h(
      "figcaption",
      {},
      h("span", { class: "language" }, language || "text"),
      h("button", { type: "button", class: "copy", onclick: copy }, icon("copy"), label),
    ),
    h("pre", { tabindex: 0, role: "region", "aria-label": name }, h("code", {}, code)),
  );
}

/**
 * @param {string} text
 * @returns {Promise<boolean>} Whether it is on the clipboard: a page without a secure context has none.
 */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
