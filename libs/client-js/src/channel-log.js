/** @import { ChatEvent } from "./wire.js" */

const MOST_HELD = 1_000;

/**
 * Puts a channel's events in order: each once, each after the one before it. Pure: it is told what
 * came, and says what may be delivered and whether something is missing.
 */
export class ChannelLog {
  /** @type {Map<number, ChatEvent>} */
  #held = new Map();

  /**
   * @param {object} options
   * @param {number} options.after The last event that the reader holds.
   * @param {number} [options.mostHeld] Events kept that wait for one before them; what is past it
   *   is asked for again.
   */
  constructor({ after, mostHeld = MOST_HELD }) {
    /** The last event that was delivered. */
    this.last = after;
    /** The last event that is known to exist. */
    this.head = after;
    this.mostHeld = mostHeld;
  }

  /** Whether an event after `last` is known to exist: it, or one before it, is missing. */
  get hasGap() {
    return this.head > this.last;
  }

  get held() {
    return this.#held.size;
  }

  /**
   * Takes events in any order, repeats among them.
   *
   * @param {readonly ChatEvent[]} events
   * @returns {ChatEvent[]} What may be delivered now, in order.
   */
  receive(events) {
    /** @type {ChatEvent[]} */
    const ready = [];
    for (const event of events) {
      this.noteHead(event.seq);
      if (event.seq === this.last + 1) this.#follow(event, ready);
      else if (event.seq > this.last && this.#held.size < this.mostHeld) {
        this.#held.set(event.seq, event);
      }
    }
    return ready;
  }

  /** @param {number} seq An event of this number exists. */
  noteHead(seq) {
    this.head = Math.max(this.head, seq);
  }

  /**
   * @param {ChatEvent} event The next one.
   * @param {ChatEvent[]} ready
   */
  #follow(event, ready) {
    /** @type {ChatEvent | undefined} */
    let next = event;
    while (next !== undefined) {
      this.#held.delete(next.seq);
      this.last = next.seq;
      ready.push(next);
      next = this.#held.get(this.last + 1);
    }
  }
}
