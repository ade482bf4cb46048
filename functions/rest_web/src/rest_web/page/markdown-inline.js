/**
 * Reads what is inside a line of Markdown: emphasis, code, links. HTML is text here. The time it takes
 * grows with the length, whatever the text.
 *
 * @typedef {{type: "text", text: string}} Text
 * @typedef {{type: "code", text: string}} CodeSpan
 * @typedef {{type: "break"}} Break
 * @typedef {{type: "strong" | "em" | "del", children: Inline[]}} Emphasis
 * @typedef {{type: "link", href: string, raw: string, children: Inline[]}} Link
 * @typedef {Text | CodeSpan | Break | Emphasis | Link} Inline
 */

/**
 * A run of `*`, `_` or `~` that may open or close.
 *
 * @typedef {{type: "run", mark: string, length: number, opens: boolean, closes: boolean, original: number}} Run
 * @typedef {{type: "bracket", at: number, isImage: boolean}} Bracket
 * @typedef {Inline | Run | Bracket} Piece
 */

const PLAIN = /[^\\`*_~[\]!<h\n]+/y;
const ESCAPE = /\\([!-/:-@[-`{-~])/y;
const TICKS = /`+/y;
const MARKS = /\*+|_+|~+/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]+)>/y;
const ADDRESS = /https?:\/\/[^\s<>"`]+/y;
const TARGET = /\([ \t\n]*(?:<([^<>\n]*)>|((?:[^\s()<>\\]|\\.|\([^\s()<>]*\))*))(?:[ \t\n]+(?:"[^"]*"|'[^']*'))?[ \t\n]*\)/y;
const WORD = /[\p{L}\p{N}]/u;
const SPACE = /\s/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
/** More brackets than these are text: each open one is looked at when one closes. */
const MOST_BRACKETS = 100;

/**
 * @param {string} text
 * @returns {Inline[]}
 */
export function inlinesOf(text) {
  return new Reader(text).read();
}

class Reader {
  #at = 0;
  /** @type {Piece[]} */
  #pieces = [];
  /** Where brackets stand among the pieces. @type {number[]} */
  #brackets = [];
  /** Lengths of runs of backticks that close nowhere after here. @type {Set<number>} */
  #unclosed = new Set();

  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }

  read() {
    while (this.#at < this.text.length) this.#step();
    return resolved(this.#pieces);
  }

  #step() {
    const plain = this.#match(PLAIN);
    if (plain !== undefined) {
      this.#say(plain[0]);
      return;
    }
    switch (this.text[this.#at]) {
      case "\\":
        this.#say(this.#match(ESCAPE)?.[1] ?? this.#take(1));
        break;
      case "`":
        this.#code();
        break;
      case "*":
      case "_":
      case "~":
        this.#run();
        break;
      case "!":
        if (this.text[this.#at + 1] === "[") this.#open(2);
        else this.#say(this.#take(1));
        break;
      case "[":
        this.#open(1);
        break;
      case "]":
        this.#close();
        break;
      case "<":
        this.#autolink();
        break;
      case "h":
        this.#address();
        break;
      default:
        this.#take(1);
        this.#pieces.push({ type: "break" });
    }
  }

  /** @param {RegExp} pattern Sticky. */
  #match(pattern) {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found;
  }

  /** @param {number} length */
  #take(length) {
    const taken = this.text.slice(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }

  /** @param {string} text */
  #say(text) {
    const last = this.#pieces.at(-1);
    if (last?.type === "text") last.text += text;
    else this.#pieces.push({ type: "text", text });
  }

  #code() {
    const ticks = this.#match(TICKS)?.[0] ?? "";
    const end = this.#unclosed.has(ticks.length) ? -1 : this.#closingTicks(ticks.length);
    if (end === -1) {
      this.#unclosed.add(ticks.length);
      this.#say(ticks);
      return;
    }
    const code = this.text.slice(this.#at, end).replaceAll("\n", " ");
    const isPadded = code.startsWith(" ") && code.endsWith(" ") && code.trim() !== "";
    this.#pieces.push({ type: "code", text: isPadded ? code.slice(1, -1) : code });
    this.#at = end + ticks.length;
  }

  /** @param {number} length */
  #closingTicks(length) {
    const runs = /`+/g;
    runs.lastIndex = this.#at;
    for (let run = runs.exec(this.text); run !== null; run = runs.exec(this.text)) {
      if (run[0].length === length) return run.index;
    }
    return -1;
  }

  #run() {
    const before = [...this.text.slice(Math.max(0, this.#at - 2), this.#at)].at(-1) ?? " ";
    const marks = this.#match(MARKS)?.[0] ?? "";
    const after = [...this.text.slice(this.#at, this.#at + 2)][0] ?? " ";
    const [mark] = marks;
    const leans = (/** @type {string} */ here, /** @type {string} */ there) =>
      !SPACE.test(here) && (!PUNCTUATION.test(here) || SPACE.test(there) || PUNCTUATION.test(there));
    const [opens, closes] = [leans(after, before), leans(before, after)];
    const isInWord = mark === "_" && WORD.test(before) && WORD.test(after);
    if (isInWord || (mark === "~" && marks.length !== 2)) {
      this.#say(marks);
      return;
    }
    this.#pieces.push({ type: "run", mark, length: marks.length, original: marks.length, opens, closes });
  }

  /** @param {number} length */
  #open(length) {
    const at = this.#at;
    const opening = this.#take(length);
    if (this.#brackets.length >= MOST_BRACKETS) {
      this.#say(opening);
      return;
    }
    this.#brackets.push(this.#pieces.length);
    this.#pieces.push({ type: "bracket", at, isImage: length === 2 });
  }

  #close() {
    const closing = this.#take(1);
    const position = this.#brackets.pop();
    const bracket = position === undefined ? undefined : this.#pieces[position];
    const target = bracket === undefined ? undefined : this.#match(TARGET);
    if (position === undefined || bracket?.type !== "bracket" || target === undefined) {
      this.#say(closing);
      return;
    }
    const inside = resolved(this.#pieces.splice(position).slice(1));
    const href = (target[1] ?? target[2] ?? "").replace(/\\([!-/:-@[-`{-~])/g, "$1");
    const raw = this.text.slice(bracket.at, this.#at);
    const isNamed = inside.length > 0 || !bracket.isImage;
    this.#pieces.push({ type: "link", href, raw, children: isNamed ? inside : [{ type: "text", text: href }] });
    // A link holds no other link.
    if (!bracket.isImage) this.#brackets = [];
  }

  #autolink() {
    const found = this.#match(AUTOLINK);
    if (found === undefined) this.#say(this.#take(1));
    else this.#link(found[1], found[0]);
  }

  #address() {
    const before = this.text[this.#at - 1] ?? " ";
    const found = WORD.test(before) ? undefined : this.#match(ADDRESS);
    if (found === undefined) {
      this.#say(this.#take(1));
      return;
    }
    const address = trimmed(found[0]);
    this.#at -= found[0].length - address.length;
    this.#link(address, address);
  }

  /** @param {string} href @param {string} raw */
  #link(href, raw) {
    this.#pieces.push({ type: "link", href, raw, children: [{ type: "text", text: href }] });
  }
}

/** Without what ends a sentence, and without the parenthesis around it. @param {string} address */
function trimmed(address) {
  let end = address.length;
  let open = address.split("(").length - address.split(")").length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    if (last === ")" && open < 0) open += 1;
    else if (!".,;:!?'*_~]".includes(last)) break;
  }
  return address.slice(0, end);
}

/**
 * Pairs runs that open with runs that close (CommonMark, "process emphasis").
 *
 * @param {Piece[]} pieces
 * @returns {Inline[]}
 */
function resolved(pieces) {
  /** @type {{run: Run, content: Inline[]}[]} */
  const open = [{ run: { type: "run", mark: "", length: 0, original: 0, opens: false, closes: false }, content: [] }];
  const top = () => /** @type {{run: Run, content: Inline[]}} */ (open.at(-1));
  const collapse = () => {
    const { run, content } = /** @type {{run: Run, content: Inline[]}} */ (open.pop());
    append(top().content, [{ type: "text", text: run.mark.repeat(run.length) }, ...content]);
  };
  for (const piece of pieces) {
    if (piece.type === "bracket") {
      append(top().content, [{ type: "text", text: piece.isImage ? "![" : "[" }]);
    } else if (piece.type !== "run") {
      append(top().content, [piece]);
    } else {
      while (piece.closes && piece.length > 0) {
        const opener = open.findLastIndex(({ run }) => pairs(run, piece));
        if (opener === -1) break;
        while (open.length - 1 > opener) collapse();
        wrap(open, piece);
      }
      if (piece.length > 0 && piece.opens && open.length < MOST_OPEN) open.push({ run: piece, content: [] });
      else if (piece.length > 0) append(top().content, [{ type: "text", text: piece.mark.repeat(piece.length) }]);
    }
  }
  while (open.length > 1) collapse();
  return open[0].content;
}

/** Deeper emphasis is text: each run that closes looks through those that are open. */
const MOST_OPEN = 50;

/** @param {Run} opener @param {Run} closer */
function pairs(opener, closer) {
  if (opener.mark !== closer.mark) return false;
  const isAmbiguous = opener.closes || closer.opens;
  const sum = opener.original + closer.original;
  return !isAmbiguous || sum % 3 !== 0 || (opener.original % 3 === 0 && closer.original % 3 === 0);
}

/**
 * Makes what the last open run holds an emphasis, of two marks where both sides have them.
 *
 * @param {{run: Run, content: Inline[]}[]} open
 * @param {Run} closer
 */
function wrap(open, closer) {
  const { run, content } = /** @type {{run: Run, content: Inline[]}} */ (open.at(-1));
  const used = run.length >= 2 && closer.length >= 2 ? 2 : 1;
  run.length -= used;
  closer.length -= used;
  const type = run.mark === "~" ? "del" : used === 2 ? "strong" : "em";
  /** @type {Emphasis} */
  const emphasis = { type, children: content };
  if (run.length > 0) {
    /** @type {{content: Inline[]}} */ (open.at(-1)).content = [emphasis];
  } else {
    open.pop();
    append(/** @type {{content: Inline[]}} */ (open.at(-1)).content, [emphasis]);
  }
}

/** Joins text to text. @param {Inline[]} content @param {Inline[]} more */
function append(content, more) {
  for (const each of more) {
    const last = content.at(-1);
    if (each.type === "text" && last?.type === "text") last.text += each.text;
    else if (each.type !== "text" || each.text !== "") content.push(each);
  }
}
