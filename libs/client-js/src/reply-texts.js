/** @import { ChatEvent, Delta } from "./wire.js" */

const MOST_OPEN = 100;
const MOST_ENDED = 1_000;
const MOST_HELD = 200;

/**
 * A reply that is being written.
 *
 * @typedef {object} OpenReply
 * @property {number} replyTo
 * @property {number} generation
 * @property {number} index Of the last piece in `text`; -1 before the first.
 * @property {string} text
 */

/** @typedef {OpenReply & {held: Map<number, Delta>}} Assembly */

/**
 * Puts the pieces of a channel's replies together. Pure: it is told which frames and events came,
 * and says which pieces count.
 */
export class ReplyTexts {
  /** @type {Map<string, Assembly>} */
  #open = new Map();
  /** The last generation that has ended, by question. @type {Map<number, number>} */
  #ended = new Map();

  /** The replies that are being written and whose beginning is known. @returns {OpenReply[]} */
  get open() {
    return [...this.#open.values()]
      .filter((reply) => reply.index >= 0)
      .map(({ replyTo, generation, index, text }) => ({ replyTo, generation, index, text }));
  }

  /**
   * @param {Delta} delta
   * @returns {Delta[]} The pieces that continue the text, in order; none for a repeat, for one that
   *   waits for another before it, and for one of a reply that has ended.
   */
  receive(delta) {
    if (delta.generation <= (this.#ended.get(delta.replyTo) ?? 0)) return [];
    const reply = this.#assembly(delta);
    if (delta.index <= reply.index) return [];
    if (!delta.snapshot && delta.index !== reply.index + 1) {
      if (reply.held.size < MOST_HELD) reply.held.set(delta.index, delta);
      return [];
    }
    /** @type {Delta[]} */
    const pieces = [];
    for (let piece = /** @type {Delta | undefined} */ (delta); piece !== undefined; ) {
      reply.text = piece.snapshot ? piece.text : reply.text + piece.text;
      reply.index = piece.index;
      pieces.push(piece);
      piece = reply.held.get(reply.index + 1);
    }
    for (const index of [...reply.held.keys()]) {
      if (index <= reply.index) reply.held.delete(index);
    }
    return pieces;
  }

  /**
   * Notes which reply an event ends, if any: what comes of it later does not count.
   *
   * @param {ChatEvent} event
   */
  observe(event) {
    const ended = endedReply(event);
    if (ended !== undefined) this.#end(ended.replyTo, ended.generation);
  }

  /**
   * @param {number} replyTo
   * @param {number} generation
   */
  #end(replyTo, generation) {
    for (const [key, reply] of this.#open) {
      if (reply.replyTo === replyTo && reply.generation <= generation) this.#open.delete(key);
    }
    const last = Math.max(generation, this.#ended.get(replyTo) ?? 0);
    this.#ended.delete(replyTo);
    this.#ended.set(replyTo, last);
    dropOldest(this.#ended, MOST_ENDED);
  }

  /**
   * @param {Delta} delta
   * @returns {Assembly}
   */
  #assembly({ replyTo, generation }) {
    const key = `${replyTo}/${generation}`;
    let reply = this.#open.get(key);
    if (reply === undefined) {
      reply = { replyTo, generation, index: -1, text: "", held: new Map() };
      this.#open.set(key, reply);
      dropOldest(this.#open, MOST_OPEN);
    }
    return reply;
  }
}

/**
 * The reply that an event ends: the agent's message, or the failure to write one.
 *
 * @param {ChatEvent} event
 * @returns {{replyTo: number, generation: number} | undefined}
 */
export function endedReply({ type, sender, data }) {
  const replyTo = type === "agent.failed" ? data.target : data.replyTo;
  const ends = type === "agent.failed" || (type === "message.created" && sender.kind === "agent");
  return ends && replyTo !== undefined
    ? { replyTo, generation: data.generation ?? 1 }
    : undefined;
}

/**
 * @param {Map<unknown, unknown>} map
 * @param {number} most
 */
function dropOldest(map, most) {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
