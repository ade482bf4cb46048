/** @import { Agent, ChatEvent, Delta, Generation } from "./wire.js" */

/**
 * A reply that has not ended: asked for, or being written.
 *
 * @typedef {object} Draft
 * @property {number} replyTo
 * @property {number} generation
 * @property {string} text Empty until the first piece.
 * @property {number} since Milliseconds since 1970.
 */

const MENTION = /(^|[^\p{L}\p{N}_])@agent(?![\p{L}\p{N}_])/iu;

/** Past this a reply that shows nothing is looked up, and forgotten where it is not known. */
export const SILENCE = 60_000;

/** The replies of one channel that people wait for. */
export class Replies {
  /** @type {Map<string, Draft>} */
  #open = new Map();

  /** @returns {Draft[]} In the order of their questions. */
  get open() {
    return [...this.#open.values()].sort(
      (one, other) => one.replyTo - other.replyTo || one.generation - other.generation,
    );
  }

  /** A reply was asked for. @param {number} replyTo @param {number} generation */
  expect(replyTo, generation, now = Date.now()) {
    const key = keyOf({ replyTo, generation });
    if (!this.#open.has(key)) this.#open.set(key, { replyTo, generation, text: "", since: now });
  }

  /** @param {Delta} delta */
  receive(delta, now = Date.now()) {
    const { replyTo, generation } = delta;
    const before = this.#open.get(keyOf(delta))?.text ?? "";
    const text = delta.snapshot ? delta.text : before + delta.text;
    this.#open.set(keyOf(delta), { replyTo, generation, text, since: now });
  }

  /**
   * Notes what an event begins or ends.
   *
   * @param {ChatEvent} event
   * @param {Agent} agent The channel's.
   */
  observe(event, agent, now = Date.now()) {
    if (event.type === "message.created" && event.sender.kind === "user") {
      if (isAsked(event, agent)) this.expect(event.seq, 1, now);
    } else if (event.type === "tool.requested" && event.data.target !== undefined) {
      this.expect(event.data.target, event.data.generation ?? 1, now);
    } else if (event.type === "agent.failed" && event.data.target !== undefined) {
      this.#end(event.data.target, event.data.generation);
    } else if (event.type === "message.created" && event.data.replyTo !== undefined) {
      this.#end(event.data.replyTo, event.data.generation);
    }
  }

  /**
   * Takes what the server says is open as the whole truth, but for what began just now.
   *
   * @param {readonly Generation[]} generations
   */
  reconcile(generations, now = Date.now()) {
    const known = new Set(generations.map(keyOf));
    for (const [key, draft] of this.#open) {
      if (!known.has(key) && now - draft.since > SILENCE) this.#open.delete(key);
    }
    for (const { replyTo, generation } of generations) this.expect(replyTo, generation, now);
  }

  /** @param {number} replyTo @param {number} [generation] */
  #end(replyTo, generation = 1) {
    for (const [key, draft] of this.#open) {
      if (draft.replyTo === replyTo && draft.generation <= generation) this.#open.delete(key);
    }
  }
}

/** @param {{replyTo: number, generation: number}} reply */
function keyOf({ replyTo, generation }) {
  return `${replyTo}/${generation}`;
}

/** @param {ChatEvent} question @param {Agent} agent */
function isAsked({ data }, { mode }) {
  if (!data.text || data.redacted) return false;
  return mode === "always" || (mode === "mention" && MENTION.test(data.text));
}
