/** @import { OpenReply } from "./reply-texts.js" */
/** @import { ChatEvent, Delta, EventPage } from "./wire.js" */

export const MOST_QUEUED_EVENTS = 1_000;
export const MOST_QUEUED_CHARACTERS = 4_000_000;
export const MOST_QUEUED_DELTAS = 500;

/**
 * What waits for a reader, in bounds.
 *
 * @template Item
 * @typedef {object} Queue
 * @property {() => Item | undefined} take The next item, if one is here.
 * @property {() => Promise<void> | undefined} [refill] Brings what did not fit, if there is any.
 */

/**
 * An async iterator over a queue. `return` (leaving a `for await`) ends it.
 *
 * @template Item
 * @implements {AsyncIterableIterator<Item, undefined, undefined>}
 */
export class Stream {
  /** @type {PromiseWithResolvers<IteratorResult<Item, undefined>>[]} */
  #readers = [];
  #refilling = false;
  #left = false;
  /** @type {{error?: Error} | undefined} */
  #end = undefined;

  /**
   * @param {Queue<Item>} queue
   * @param {() => void} leave Called once, when nobody reads any more.
   */
  constructor(queue, leave) {
    this.queue = queue;
    this.leave = leave;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** @returns {Promise<IteratorResult<Item, undefined>>} */
  next() {
    /** @type {PromiseWithResolvers<IteratorResult<Item, undefined>>} */
    const reader = withResolvers();
    this.#readers.push(reader);
    this.wake();
    return reader.promise;
  }

  /** @returns {Promise<IteratorResult<Item, undefined>>} */
  async return() {
    this.#left = true;
    this.end();
    return { done: true, value: undefined };
  }

  /**
   * Nothing more comes: readers get what is queued, then the end, or the error.
   *
   * @param {Error} [error]
   */
  end(error) {
    if (this.#end === undefined) {
      this.#end = { error };
      this.leave();
    }
    this.wake();
  }

  /** Serves who waits; called whenever something was queued. */
  wake() {
    while (this.#readers.length > 0) {
      const item = this.#left ? undefined : this.queue.take();
      if (item === undefined) {
        if (this.#end === undefined) this.#refill();
        else this.#finish(this.#end.error);
        return;
      }
      this.#readers.shift()?.resolve({ done: false, value: item });
    }
  }

  /** @param {Error | undefined} error */
  #finish(error) {
    for (const reader of this.#readers.splice(0)) {
      if (error === undefined) reader.resolve({ done: true, value: undefined });
      else reader.reject(error);
    }
  }

  #refill() {
    const refilled = this.#refilling ? undefined : this.queue.refill?.();
    if (refilled === undefined) return;
    this.#refilling = true;
    refilled.then(
      () => {
        this.#refilling = false;
        this.wake();
      },
      (error) => this.end(error),
    );
  }
}

/**
 * @template Value
 * @returns {PromiseWithResolvers<Value>}
 */
export function withResolvers() {
  /** @type {Pick<PromiseWithResolvers<Value>, "resolve" | "reject"> | undefined} */
  let functions;
  /** @type {Promise<Value>} */
  const promise = new Promise((resolve, reject) => {
    functions = { resolve, reject };
  });
  return { promise, .../** @type {NonNullable<typeof functions>} */ (functions) };
}

/**
 * A reader's events. Past its bounds nothing is queued: what a slow reader has not got is read from
 * the log when he is there, so that neither memory grows nor an event is lost.
 *
 * @implements {Queue<ChatEvent>}
 */
export class EventQueue {
  /** @type {ChatEvent[]} */
  #events = [];
  #characters = 0;

  /**
   * @param {object} options
   * @param {number} options.after The last event before the first one of this queue.
   * @param {(after: number) => Promise<EventPage>} options.readLog
   * @param {() => void} options.onBehind Called each time that the bounds are passed.
   */
  constructor({ after, readLog, onBehind }) {
    this.last = after;
    this.readLog = readLog;
    this.onBehind = onBehind;
    this.isBehind = false;
  }

  /** @param {ChatEvent} event */
  push(event) {
    if (this.isBehind || event.seq <= this.last) return;
    const fits =
      event.seq === this.last + 1 &&
      this.#events.length < MOST_QUEUED_EVENTS &&
      this.#characters < MOST_QUEUED_CHARACTERS;
    if (fits) {
      this.#add(event);
    } else {
      this.isBehind = true;
      this.onBehind();
    }
  }

  take() {
    const event = this.#events.shift();
    if (event !== undefined) this.#characters -= sizeOf(event);
    return event;
  }

  refill() {
    return this.isBehind ? this.#readOn() : undefined;
  }

  async #readOn() {
    const page = await this.readLog(this.last);
    for (const event of page.items) {
      if (event.seq === this.last + 1) this.#add(event);
    }
    this.isBehind = page.lastSeq > this.last;
  }

  /** @param {ChatEvent} event */
  #add(event) {
    this.#events.push(event);
    this.#characters += sizeOf(event);
    this.last = event.seq;
  }
}

/** @param {ChatEvent} event */
function sizeOf(event) {
  return 500 + (event.data.text?.length ?? 0);
}

/**
 * A reader's deltas. Past its bound they are replaced by one snapshot of each open reply.
 *
 * @implements {Queue<Delta>}
 */
export class DeltaQueue {
  /** @type {Delta[]} */
  #deltas = [];

  /**
   * @param {object} options
   * @param {() => Delta[]} options.snapshots Of the replies that are being written.
   * @param {() => void} options.onBehind
   */
  constructor({ snapshots, onBehind }) {
    this.snapshots = snapshots;
    this.onBehind = onBehind;
  }

  /** @param {Delta} delta */
  push(delta) {
    this.#deltas.push(delta);
    if (this.#deltas.length > MOST_QUEUED_DELTAS) {
      this.#deltas = this.snapshots();
      this.onBehind();
    }
  }

  take() {
    return this.#deltas.shift();
  }
}

/**
 * The latest of each kind alone: an older state of a user's typing, presence or mark tells nothing.
 *
 * @template Item
 * @implements {Queue<Item>}
 */
export class LatestQueue {
  /** @type {Map<string, Item>} */
  #latest = new Map();

  /** @param {(item: Item) => string} keyOf */
  constructor(keyOf) {
    this.keyOf = keyOf;
  }

  /** @param {Item} item */
  push(item) {
    const key = this.keyOf(item);
    this.#latest.delete(key);
    this.#latest.set(key, item);
  }

  take() {
    for (const [key, item] of this.#latest) {
      this.#latest.delete(key);
      return item;
    }
    return undefined;
  }
}

/**
 * @param {string} channelId
 * @param {OpenReply} reply
 * @returns {Delta}
 */
export function snapshotOf(channelId, { replyTo, generation, index, text }) {
  return { type: "delta", channelId, replyTo, generation, index, text, snapshot: true };
}
