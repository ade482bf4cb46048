/**
 * Reads the blocks of a Markdown text: what people and models write in a chat, by CommonMark's rules
 * for it, with tables and tasks. HTML is text here. What is not known is a paragraph.
 *
 * @typedef {{type: "paragraph", raw: string, text: string}} Paragraph
 * @typedef {{type: "heading", raw: string, depth: number, text: string}} Heading
 * @typedef {{type: "code", raw: string, language: string, text: string}} Code
 * @typedef {{type: "quote", raw: string, blocks: Block[]}} Quote
 * @typedef {{type: "rule", raw: string}} Rule
 * @typedef {{blocks: Block[], checked: boolean | undefined}} Item `checked` of a task.
 * @typedef {{type: "list", raw: string, start: number | undefined, isLoose: boolean, items: Item[]}} List
 *   `start` of a numbered one.
 * @typedef {"left" | "right" | "center" | undefined} Alignment
 * @typedef {{type: "table", raw: string, align: Alignment[], head: string[], rows: string[][]}} Table
 * @typedef {Paragraph | Heading | Code | Quote | Rule | List | Table} Block
 */

const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:([ \t]+)(.*))?$/;
const TASK = /^\[([ xX])\][ \t]+/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
/** Deeper ones are shown as their text. */
const MOST_NESTED = 12;

/**
 * @param {string} text
 * @returns {Block[]}
 */
export function blocksOf(text) {
  return parse(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

/**
 * @param {string[]} lines
 * @param {number} depth
 * @returns {Block[]}
 */
function parse(lines, depth) {
  /** @type {Block[]} */
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const [block, next] = readBlock(lines, at, depth);
    blocks.push(block);
    at = next;
  }
  return blocks;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {[Block, number]} The block, and where the next one begins.
 */
function readBlock(lines, at, depth) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence !== null) return readCode(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading !== null) {
    const text = (heading[2] ?? "").replace(/(?:^|[ \t]+)#+[ \t]*$/, "").trim();
    return [{ type: "heading", raw: line, depth: heading[1].length, text }, at + 1];
  }
  if (RULE.test(line)) return [{ type: "rule", raw: line }, at + 1];
  if (depth < MOST_NESTED && QUOTE.test(line)) return readQuote(lines, at, depth);
  const item = ITEM.exec(line);
  if (depth < MOST_NESTED && item !== null) return readList(lines, at, depth, item);
  if (beginsTable(lines, at)) return readTable(lines, at);
  return readParagraph(lines, at);
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {RegExpExecArray} fence
 * @returns {[Code, number]} To the end of the text where the fence is not closed: it is being written.
 */
function readCode(lines, at, [opening, mark, info]) {
  const indent = opening.length - opening.trimStart().length;
  const strip = new RegExp(`^ {0,${indent}}`);
  let end = at + 1;
  while (end < lines.length && !closes(lines[end], mark)) end += 1;
  const text = lines.slice(at + 1, end).map((line) => line.replace(strip, ""));
  if (end === lines.length && text.at(-1) === "") text.pop();
  const next = Math.min(end + 1, lines.length);
  const raw = lines.slice(at, next).join("\n");
  return [{ type: "code", raw, language: info.trim(), text: text.join("\n") }, next];
}

/** @param {string} line @param {string} mark */
function closes(line, mark) {
  const closing = line.trim();
  return closing.length >= mark.length && closing === mark[0].repeat(closing.length) && !line.startsWith("    ");
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {[Quote, number]}
 */
function readQuote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const own = lines.slice(at, end);
  const blocks = parse(own.map((line) => line.replace(QUOTE, "")), depth + 1);
  return [{ type: "quote", raw: own.join("\n"), blocks }, end];
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @param {RegExpExecArray} first
 * @returns {[List, number]}
 */
function readList(lines, at, depth, first) {
  const kind = first[2].slice(-1);
  /** @type {Item[]} */
  const items = [];
  let isLoose = false;
  let next = at;
  for (let item = /** @type {RegExpExecArray | null} */ (first); item !== null; ) {
    const end = endOfItem(lines, next, item);
    let own = itemLines(lines.slice(next, end), item);
    const last = own.findLastIndex((line) => !isBlank(line));
    const isApart = own.length > last + 1;
    own = own.slice(0, last + 1);
    const task = TASK.exec(own[0] ?? "");
    if (task !== null) own[0] = own[0].slice(task[0].length);
    const blocks = parse(own, depth + 1);
    items.push({ blocks, checked: task === null ? undefined : task[1] !== " " });
    next = end;
    const following = ITEM.exec(lines[end] ?? "");
    item = following !== null && following[2].slice(-1) === kind && !RULE.test(lines[end]) ? following : null;
    isLoose ||= (item !== null && isApart) || blocks.filter(({ type }) => type === "paragraph").length > 1;
  }
  const start = /\d/.test(first[2]) ? Number.parseInt(first[2], 10) : undefined;
  return [{ type: "list", raw: lines.slice(at, next).join("\n"), start, isLoose, items }, next];
}

/**
 * Where an item ends: before the next item, or before what is neither indented nor its paragraph.
 *
 * @param {string[]} lines
 * @param {number} at
 * @param {RegExpExecArray} item
 */
function endOfItem(lines, at, item) {
  const inside = item[1].length + 2; // models indent by two below "1." as well
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (isBlank(line)) continue;
    if (indentOf(line) >= inside) continue;
    const continuesParagraph = !isBlank(lines[end - 1]) && !beginsBlock(line);
    if (!continuesParagraph) break;
  }
  return end;
}

/**
 * @param {string[]} lines Of one item.
 * @param {RegExpExecArray} item
 */
function itemLines(lines, [, before, marker, space = "", text = ""]) {
  const width = before.length + marker.length + (space.length > 4 ? 1 : space.length || 1);
  const strip = new RegExp(`^[ \\t]{0,${width}}`);
  const first = space.length > 4 ? space.slice(1) + text : text;
  return [first, ...lines.slice(1).map((line) => line.replace(strip, ""))];
}

/** @param {string[]} lines @param {number} at */
function beginsTable(lines, at) {
  const rule = lines[at + 1];
  if (rule === undefined || !lines[at].includes("|") || !TABLE_RULE.test(rule)) return false;
  return cellsOf(lines[at]).length === cellsOf(rule).length;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {[Table, number]}
 */
function readTable(lines, at) {
  const head = cellsOf(lines[at]);
  const align = cellsOf(lines[at + 1]).map(alignmentOf);
  let end = at + 2;
  while (end < lines.length && !isBlank(lines[end]) && !beginsBlock(lines[end])) end += 1;
  const rows = lines.slice(at + 2, end).map((line) => {
    const cells = cellsOf(line);
    return head.map((_, column) => cells[column] ?? "");
  });
  return [{ type: "table", raw: lines.slice(at, end).join("\n"), align, head, rows }, end];
}

/** @param {string} line */
function cellsOf(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/** @param {string} cell @returns {Alignment} */
function alignmentOf(cell) {
  const [isLeft, isRight] = [cell.startsWith(":"), cell.endsWith(":")];
  if (isLeft && isRight) return "center";
  return isRight ? "right" : isLeft ? "left" : undefined;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {[Paragraph, number]}
 */
function readParagraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !beginsBlock(lines[end]) && !beginsTable(lines, end)) {
    end += 1;
  }
  const raw = lines.slice(at, end).join("\n");
  return [{ type: "paragraph", raw, text: raw.trim() }, end];
}

/** Whether a line ends the paragraph before it. @param {string} line */
function beginsBlock(line) {
  const item = ITEM.exec(line);
  const beginsList = item !== null && Boolean(item[4]) && (!/\d/.test(item[2]) || item[2].length < 4);
  return beginsList || FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);
}

/** @param {string} line */
function isBlank(line) {
  return line.trim() === "";
}

/** @param {string} line */
function indentOf(line) {
  return line.replaceAll("\t", "    ").length - line.replaceAll("\t", "    ").trimStart().length;
}
