/** @import { RoomMessage } from "./room-messages.js" */
/** @import { ToolCall } from "./tool-calls.js" */

/**
 * How a reply ended: as a message; not at all (`failed`); never having been begun (`none`); or its
 * channel ended before it (`gone`).
 *
 * @typedef {{kind: "message", message: RoomMessage}
 *   | {kind: "failed", reason: string}
 *   | {kind: "none"}
 *   | {kind: "gone", error: Error}} ReplyEnd
 */

/**
 * @typedef {object} ReplyListener
 * @property {(text: string) => void} onText Text that follows what was told before.
 * @property {(text: string) => void} onRewritten All text anew: what was told before does not count.
 * @property {(calls: readonly ToolCall[]) => void} onCalls What the reply calls, whenever that changes.
 * @property {(end: ReplyEnd) => void} onEnd Called once; what was told before is the message's text.
 */

/** Turns what is known of a reply, again and again, into what is new of it. */
export class ReplyFollower {
  /** @type {readonly ToolCall[] | undefined} */
  #calls = undefined;
  #done = new AbortController();

  /**
   * @param {number} replyTo
   * @param {number} generation
   * @param {ReplyListener} listener
   * @param {string} text What was told so far.
   */
  constructor(replyTo, generation, listener, text) {
    this.replyTo = replyTo;
    this.generation = generation;
    this.listener = listener;
    this.text = text;
  }

  /** Aborted when nothing more is to be told. */
  get done() {
    return this.#done.signal;
  }

  get hasEnded() {
    return this.#done.signal.aborted;
  }

  /** Tells nothing more. */
  stop() {
    this.#done.abort();
  }

  /** @param {string} text All of the reply's text as it stands. */
  show(text) {
    if (this.hasEnded || text === this.text) return;
    const follows = text.startsWith(this.text);
    const news = follows ? text.slice(this.text.length) : text;
    this.text = text;
    if (follows) this.listener.onText(news);
    else this.listener.onRewritten(text);
  }

  /** @param {readonly ToolCall[]} calls All of the reply's as they stand. */
  showCalls(calls) {
    const isNews = this.#calls === undefined ? calls.length > 0 : calls !== this.#calls;
    if (this.hasEnded || !isNews) return;
    this.#calls = calls;
    this.listener.onCalls(calls);
  }

  /** @param {ReplyEnd} end */
  end(end) {
    if (this.hasEnded) return;
    if (end.kind === "message") this.show(end.message.text);
    this.stop();
    this.listener.onEnd(end);
  }
}
