import { Backoff, pause } from "./backoff.js";
import { ChannelLog } from "./channel-log.js";
import { ChatError, ConnectionLostError, asError, localError } from "./chat-error.js";
import { guarded } from "./guarded.js";
import { ReplyTexts } from "./reply-texts.js";
import {
  DeltaQueue, EventQueue, LatestQueue, Stream, snapshotOf, withResolvers,
} from "./streams.js";

/**
 * @import { Link } from "./link.js"
 * @import { ChatEvent, Delta, EventPage, Frame, PresenceUpdate, ReadUpdate, TypingUpdate } from "./wire.js"
 */

/** A page of `sync`: the most that the server allows. */
const PAGE = 100;
/** The users that an answer names at most. */
const MOST_ONLINE = 200;
/** Past every log's end: a page after it is empty and names the last event. */
const PAST_THE_END = 1e12;

/**
 * What somebody who listens to a channel is told, in the order in which it came. The functions are
 * called one after the other and must not wait.
 *
 * @typedef {object} ChannelListener
 * @property {(event: ChatEvent) => void} [event] Each event once, in order.
 * @property {(delta: Delta) => void} [delta] Each piece of a reply once, in order, until it ends.
 * @property {(update: TypingUpdate) => void} [typing]
 * @property {(update: PresenceUpdate) => void} [presence]
 * @property {(update: ReadUpdate) => void} [read]
 * @property {(frame: Frame) => void} [frame] A frame of a type that this client does not know.
 * @property {() => void} [live] The subscription stands (again), and what had been missed is here
 *   or on its way.
 * @property {(end: ChannelEnd) => void} [ended] Nothing more comes of this channel.
 */

/**
 * Why a channel ended: the user is no member any more, the channel was deleted, `unsubscribe` or
 * `close` was called, or `error` happened.
 *
 * @typedef {{reason: "removed" | "deleted" | "unsubscribed" | "closed" | "failed", error?: Error}} ChannelEnd
 */

/**
 * A reader did not keep up. Nothing is lost: events are read from the log when he reads on, deltas
 * are replaced by a snapshot.
 *
 * @typedef {{code: "behind", stream: "events" | "deltas", channelId: string, detail: string}} Notice
 */

/** One channel's subscription on whatever connection there is, and who reads it. */
export class ChannelSubscription {
  /** @type {ChannelEnd | undefined} */
  end = undefined;
  /** Who is online, as far as is known. @type {Set<string>} */
  online = new Set();
  /** When it went live on the present connection; undefined while it is not. @type {number | undefined} */
  #liveSince = undefined;
  /** Counts connections: what began on one must not end on another. */
  #epoch = 0;
  #filling = false;
  #hasStood = false;
  /** @type {ChannelLog | undefined} */
  #log = undefined;
  #replies = new ReplyTexts();
  /** @type {PromiseWithResolvers<void>} */
  #ready = withResolvers();
  /** @type {Set<ChannelListener>} */
  #listeners = new Set();
  /** @type {Map<Stream<ChatEvent>, EventQueue>} */
  #eventReaders = new Map();
  /** Events from the subscription on until somebody reads them. @type {EventQueue | undefined} */
  #unread = undefined;
  /** @type {Map<Stream<Delta>, DeltaQueue>} */
  #deltaReaders = new Map();
  /** @type {DeltaQueue | undefined} */
  #unreadDeltas = undefined;

  /**
   * @param {string} channelId
   * @param {object} options
   * @param {number | undefined} options.after The last event that the reader holds; undefined: from
   *   now on.
   * @param {Link} options.link
   * @param {(notice: Notice) => void} options.onNotice
   * @param {(end: ChannelEnd) => void} options.onEnd
   */
  constructor(channelId, { after, link, onNotice, onEnd }) {
    this.channelId = channelId;
    this.link = link;
    this.onNotice = onNotice;
    this.onEnd = onEnd;
    this.#unreadDeltas = this.#deltaQueue({ isRead: false });
    if (after !== undefined) this.#begin(after);
    this.#ready.promise.catch(() => {});
  }

  /** Resolves when the subscription stood for the first time. */
  get ready() {
    return this.#ready.promise;
  }

  /** Whether it stood at any time. */
  get hasStood() {
    return this.#hasStood;
  }

  /** The last event that was delivered. */
  get last() {
    return this.#log?.last ?? 0;
  }

  get liveSince() {
    return this.#liveSince;
  }

  /** The replies that are being written. */
  get openReplies() {
    return this.#replies.open;
  }

  /** Subscribes on the connection that has just opened, or again on the one that is open. */
  async join() {
    this.#epoch += 1;
    this.#liveSince = undefined;
    const epoch = this.#epoch;
    const backoff = new Backoff({ base: 500, cap: 10_000 });
    while (this.#isCurrent(epoch)) {
      try {
        await this.#subscribe(epoch);
        return;
      } catch (error) {
        if (error instanceof ConnectionLostError || !this.#isCurrent(epoch)) return;
        if (!(error instanceof ChatError && error.isTemporary)) {
          const isGone = error instanceof ChatError && error.status === 404;
          this.finish({ reason: isGone ? "removed" : "failed", error: asError(error) });
          return;
        }
        await pause(backoff.next((error.retryAfter ?? 0) * 1000));
      }
    }
  }

  /** The connection is gone. */
  detach() {
    this.#epoch += 1;
    this.#liveSince = undefined;
    this.#filling = false;
  }

  /** @param {ChannelEnd} end */
  finish(end) {
    if (this.end !== undefined) return;
    this.end = end;
    this.detach();
    this.#ready.reject(end.error ?? endError(this.channelId, end));
    for (const [stream, queue] of [...this.#eventReaders]) stream.end(this.#endOf(queue));
    for (const stream of [...this.#deltaReaders.keys()]) stream.end(this.#endOf());
    this.#tell("ended", end);
    this.onEnd(end);
  }

  /** @param {ChatEvent[]} events */
  receiveEvents(events) {
    if (this.#log === undefined || this.end !== undefined) return;
    this.#deliver(this.#log.receive(events));
    void this.#fill();
  }

  /** @param {number} seq The log's last event. */
  noteHead(seq) {
    this.#log?.noteHead(seq);
    void this.#fill();
  }

  /** @param {Delta} delta */
  receiveDelta(delta) {
    for (const piece of this.#replies.receive(delta)) {
      this.#unreadDeltas?.push(piece);
      for (const [stream, queue] of this.#deltaReaders) {
        queue.push(piece);
        stream.wake();
      }
      this.#tell("delta", piece);
    }
  }

  /** @param {PresenceUpdate} update */
  receivePresence(update) {
    if (update.online) this.online.add(update.userId);
    else this.online.delete(update.userId);
    this.#tell("presence", update);
  }

  /** @param {TypingUpdate} update */
  receiveTyping(update) {
    this.#tell("typing", update);
  }

  /** @param {ReadUpdate} update */
  receiveRead(update) {
    this.#tell("read", update);
  }

  /** @param {Frame} frame */
  receiveFrame(frame) {
    this.#tell("frame", frame);
  }

  /** @param {ChannelListener} listener */
  listen(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** @returns {Stream<ChatEvent>} */
  events() {
    const queue = this.#unread ?? this.#eventQueue(this.last);
    this.#unread = undefined;
    const stream = new Stream(queue, () => {
      this.#eventReaders.delete(stream);
      if (this.#eventReaders.size === 0 && this.end === undefined) this.#unread = queue;
    });
    this.#eventReaders.set(stream, queue);
    if (this.end !== undefined) stream.end(this.#endOf(queue));
    return stream;
  }

  /** @returns {Stream<Delta>} */
  deltas() {
    const queue = this.#deltaQueue({ isRead: true });
    const unread = this.#unreadDeltas;
    this.#unreadDeltas = undefined;
    const waiting = unread === undefined ? this.#snapshots() : drain(unread);
    for (const delta of waiting) queue.push(delta);
    /** @type {Stream<Delta>} */
    const stream = new Stream(queue, () => void this.#deltaReaders.delete(stream));
    this.#deltaReaders.set(stream, queue);
    if (this.end !== undefined) stream.end(this.#endOf());
    return stream;
  }

  /**
   * The updates of one kind from now on, the latest of each user.
   *
   * @template {TypingUpdate | PresenceUpdate | ReadUpdate} Update
   * @param {Update["type"]} kind
   * @returns {Stream<Update>}
   */
  updates(kind) {
    /** @type {LatestQueue<Update>} */
    const queue = new LatestQueue(({ userId }) => userId);
    /** @type {Stream<Update>} */
    const stream = new Stream(queue, () => stop());
    const stop = this.listen({
      [kind]: (/** @type {Update} */ update) => {
        queue.push(update);
        stream.wake();
      },
      ended: () => stream.end(this.#endOf()),
    });
    if (this.end !== undefined) stream.end(this.#endOf());
    return stream;
  }

  /** @param {number} epoch */
  #isCurrent(epoch) {
    return this.end === undefined && epoch === this.#epoch;
  }

  /** @param {number} epoch */
  async #subscribe(epoch) {
    const { channelId } = this;
    if (this.#log === undefined) {
      const page = await this.link.request("sync", { channelId, after: PAST_THE_END, limit: 1 });
      if (!this.#isCurrent(epoch)) return;
      this.#begin(Number(page.lastSeq));
    }
    const ack = await this.link.request("subscribe", { channelId, after: this.last });
    if (!this.#isCurrent(epoch)) return;
    this.#liveSince = performance.now();
    if (Array.isArray(ack.online)) this.#setOnline(ack.online);
    const through = Number(ack.through ?? 0);
    this.noteHead(ack.hasMore === true ? through + 1 : through);
    this.#hasStood = true;
    this.#ready.resolve();
    this.#tell("live", undefined);
  }

  /** @param {number} after */
  #begin(after) {
    this.#log = new ChannelLog({ after });
    this.#unread = this.#eventReaders.size === 0 ? this.#eventQueue(after) : undefined;
    for (const queue of this.#eventReaders.values()) queue.last = after;
  }

  /**
   * Who is online now, told as what has changed.
   *
   * @param {string[]} userIds Where as many as can be named are, others may be there, too.
   */
  #setOnline(userIds) {
    const { channelId } = this;
    const present = new Set(userIds);
    for (const userId of present) {
      if (!this.online.has(userId)) this.receivePresence({ type: "presence", channelId, userId, online: true });
    }
    const isComplete = userIds.length < MOST_ONLINE;
    for (const userId of isComplete ? [...this.online] : []) {
      if (!present.has(userId)) this.receivePresence({ type: "presence", channelId, userId, online: false });
    }
  }

  /** Asks for what is missing, once, however many frames show that something is. */
  async #fill() {
    if (this.#filling || this.#liveSince === undefined || !this.#log?.hasGap) return;
    this.#filling = true;
    const epoch = this.#epoch;
    try {
      await this.#readOn(this.#log, epoch);
    } catch (error) {
      // The connection was lost: subscribing anew brings all of it. Refused: the next sign asks again.
      if (error instanceof ChatError && error.status === 404 && this.#isCurrent(epoch)) {
        this.finish({ reason: "removed", error });
      }
    } finally {
      if (this.#isCurrent(epoch)) this.#filling = false;
    }
  }

  /**
   * @param {ChannelLog} log
   * @param {number} epoch
   */
  async #readOn(log, epoch) {
    while (log.hasGap) {
      const { last } = log;
      const page = await this.#page(last);
      if (!this.#isCurrent(epoch)) return;
      this.#deliver(log.receive(page.items));
      log.noteHead(page.lastSeq);
      if (log.last === last) return; // the page was older than the sign; the next one asks again
    }
  }

  /**
   * @param {number} after
   * @returns {Promise<EventPage>}
   */
  async #page(after) {
    const fields = { channelId: this.channelId, after, limit: PAGE };
    return /** @type {EventPage & Frame} */ (await this.link.request("sync", fields));
  }

  /** @param {ChatEvent[]} events */
  #deliver(events) {
    for (const event of events) {
      this.#replies.observe(event);
      this.#unread?.push(event);
      for (const [stream, queue] of this.#eventReaders) {
        queue.push(event);
        stream.wake();
      }
      this.#tell("event", event);
    }
  }

  /**
   * @template {keyof ChannelListener} Kind
   * @param {Kind} kind
   * @param {unknown} value
   */
  #tell(kind, value) {
    for (const listener of [...this.#listeners]) {
      const tell = /** @type {((value: unknown) => void) | undefined} */ (listener[kind]);
      guarded(() => tell?.call(listener, value));
    }
  }

  /** @param {number} after */
  #eventQueue(after) {
    return new EventQueue({
      after,
      readLog: (last) => this.#readLog(last),
      onBehind: () => {
        if (this.#eventReaders.size > 0 || this.#listeners.size === 0) this.#behind("events");
      },
    });
  }

  /** @param {{isRead: boolean}} options */
  #deltaQueue({ isRead }) {
    return new DeltaQueue({
      snapshots: () => this.#snapshots(),
      onBehind: () => {
        if (isRead) this.#behind("deltas");
      },
    });
  }

  #snapshots() {
    return this.#replies.open.map((reply) => snapshotOf(this.channelId, reply));
  }

  /** @param {"events" | "deltas"} stream */
  #behind(stream) {
    const { channelId } = this;
    const detail =
      stream === "events"
        ? `Events of ${channelId} are not read as fast as they come: the rest is read from the log later.`
        : `Deltas of ${channelId} are not read as fast as they come: they were replaced by snapshots.`;
    this.onNotice({ code: "behind", stream, channelId, detail });
  }

  /**
   * A page of the log for a reader who is behind, as soon as there is a connection.
   *
   * @param {number} after
   * @returns {Promise<EventPage>}
   */
  async #readLog(after) {
    const backoff = new Backoff({ base: 250, cap: 5_000 });
    for (;;) {
      try {
        await this.link.whenOpen();
        return await this.#page(after);
      } catch (error) {
        if (!(error instanceof ChatError && error.isTemporary)) throw error;
        if (!(error instanceof ConnectionLostError)) await pause(backoff.next());
      }
    }
  }

  /**
   * How a stream ends: with an error where its reader did not get all that he asked for.
   *
   * @param {EventQueue} [queue]
   */
  #endOf(queue) {
    if (this.end?.reason === "failed") return this.end.error;
    const isChosen = this.end?.reason === "closed" || this.end?.reason === "unsubscribed";
    return queue?.isBehind && !isChosen ? unreadError(this.channelId) : undefined;
  }
}

/** @param {DeltaQueue} queue */
function drain(queue) {
  /** @type {Delta[]} */
  const deltas = [];
  for (let delta = queue.take(); delta !== undefined; delta = queue.take()) deltas.push(delta);
  return deltas;
}

/**
 * @param {string} channelId
 * @param {ChannelEnd} end
 */
function endError(channelId, { reason }) {
  return localError(reason, `The subscription to ${channelId} has ended (${reason}).`);
}

/** @param {string} channelId */
function unreadError(channelId) {
  const detail = `Not all events of ${channelId} were read before its subscription ended.`;
  return localError("behind", detail);
}
