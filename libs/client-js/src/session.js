import { ChannelSubscription } from "./channel.js";
import { ChatError, ConnectionLostError, localError } from "./chat-error.js";
import { Backoff, pause } from "./backoff.js";
import { argumentsDigest } from "./digest.js";
import { watchEnvironment } from "./environment.js";
import { guarded } from "./guarded.js";
import { newId } from "./ids.js";
import { DEFAULT_TIMING, Link, closedError } from "./link.js";
import { ReadMarks } from "./read-marks.js";
import { ChatRest } from "./rest.js";
import { TokenRenewal } from "./token-renewal.js";
import { TokenSource } from "./token-source.js";

/** @typedef {import("./channel.js").ChannelListener} ChannelListener */
/** @typedef {import("./channel.js").Notice} Notice */
/** @typedef {import("./link.js").ConnectionState} ConnectionState */
/** @typedef {import("./link.js").Timing} Timing */
/** @typedef {import("./link.js").WebSocketClass} WebSocketClass */
/** @typedef {import("./reply-texts.js").OpenReply} OpenReply */
/** @typedef {import("./token-source.js").Token} Token */
/** @typedef {import("./wire.js").Agent} Agent */
/** @typedef {import("./wire.js").Channel} Channel */
/** @typedef {import("./wire.js").ChatEvent} ChatEvent */
/** @typedef {import("./wire.js").Delta} Delta */
/** @typedef {import("./wire.js").Frame} Frame */
/** @typedef {import("./wire.js").Generation} Generation */
/** @typedef {import("./wire.js").Member} Member */
/** @typedef {import("./wire.js").Message} Message */
/** @typedef {import("./wire.js").PresenceUpdate} PresenceUpdate */
/** @typedef {import("./wire.js").ReadUpdate} ReadUpdate */
/** @typedef {import("./wire.js").Tool} Tool */
/** @typedef {import("./wire.js").TypingUpdate} TypingUpdate */

export { ChatError, ConnectionLostError } from "./chat-error.js";
export { argumentsDigest } from "./digest.js";
export { ChatRest } from "./rest.js";

/** The most bytes that API Gateway takes in one frame. */
const MOST_FRAME_BYTES = 32_768;
const MOST_UNSENT = 1_000;
const TYPING_INTERVAL = 2_000;

/**
 * @typedef {object} SessionOptions
 * @property {string} restUrl
 * @property {string} websocketUrl
 * @property {Token} token A JWT, or a function that answers one, maybe later. A function is asked
 *   again before the token expires; with a string the session ends when it expires.
 * @property {WebSocketClass} [webSocket] Where there is no global `WebSocket`: Node before 22.
 * @property {typeof fetch} [fetch]
 * @property {(state: ConnectionState) => void} [onState]
 * @property {(notice: Notice) => void} [onNotice] By default `console.warn`.
 * @property {(frame: Frame) => void} [onFrame] Frames of types that this client does not know.
 * @property {Partial<Timing>} [timing]
 * @property {() => number} [random]
 */

/**
 * @typedef {object} SendOptions
 * @property {string} [clientMessageId] The same again is the same message, however late.
 * @property {number} [replyTo]
 * @property {Record<string, unknown>} [metadata]
 * @property {AbortSignal} [signal] Gives up waiting; the message may have been posted all the same.
 */

/**
 * A live connection to the chat that survives a lost network: each channel's events come once and in
 * order, whatever is cut, delayed, repeated or lost in between.
 *
 * It connects when it is first used. `close()` ends it.
 */
export class ChatSession {
  /** @type {Map<string, ChannelSubscription>} */
  #channels = new Map();
  /** @type {Map<string, Promise<unknown>>} */
  #sending = new Map();
  /** @type {Map<string, Promise<void>>} */
  #leaving = new Map();
  #unsent = 0;
  /** @type {Map<string, {typing: boolean, at: number}>} */
  #typed = new Map();
  /** @type {Set<(state: ConnectionState) => void>} */
  #observers = new Set();

  /** @param {SessionOptions} options */
  constructor(options) {
    const webSocket = options.webSocket ?? /** @type {WebSocketClass} */ (globalThis.WebSocket);
    if (webSocket === undefined) {
      throw new TypeError("There is no WebSocket here: pass the option webSocket (on Node before 22, that of the package ws).");
    }
    const tokens = new TokenSource(options.token);
    /** The REST API, with this session's token. */
    this.rest = new ChatRest({ restUrl: options.restUrl, token: tokens, fetch: options.fetch });
    this.onNotice = options.onNotice ?? ((notice) => console.warn(notice.detail));
    this.onFrame = options.onFrame ?? (() => {});
    if (options.onState !== undefined) this.#observers.add(options.onState);
    this.link = new Link({
      openUrl: async () => {
        const { ticket } = await this.rest.createTicket();
        this.renewal.note(tokens.kept ?? "");
        return `${options.websocketUrl}?ticket=${encodeURIComponent(ticket)}`;
      },
      webSocket,
      timing: { ...DEFAULT_TIMING, ...options.timing },
      random: options.random ?? Math.random,
      onOpen: () => this.#opened(),
      onLost: () => this.#lost(),
      onFrame: (frame) => this.#receive(frame),
      onHeads: (heads, askedAt) => this.#compare(heads, askedAt),
      onState: (state) => this.#stateChanged(state),
    });
    this.renewal = new TokenRenewal({ tokens, link: this.link });
    this.readMarks = new ReadMarks(this.link);
    this.stopWatching = watchEnvironment(() => this.link.wake());
  }

  /** The state of the connection now. */
  get state() {
    return this.link.state;
  }

  /**
   * Calls back with each new state of the connection, and with the present one at once.
   *
   * @param {(state: ConnectionState) => void} observer
   * @returns {() => void} Ends it.
   */
  onState(observer) {
    this.#observers.add(observer);
    observer(this.state);
    return () => void this.#observers.delete(observer);
  }

  /** Connects, if it is not connected; rejects when the server refuses the token. */
  async connect() {
    await this.link.whenOpen();
  }

  /** Tries the connection, or to reconnect, now instead of at the next interval. */
  wake() {
    this.link.wake();
  }

  /**
   * Subscribes to a channel and stays subscribed over reconnects; again for the same channel: the
   * same subscription.
   *
   * @param {string} channelId
   * @param {{after?: number}} [options] The last event that is known here: those after it come first;
   *   0: all. Without it: from now on.
   * @returns {Promise<void>} When the subscription stands. Rejects with ChatError: 404 for a channel
   *   that is none of the user's, 409 past 50 channels.
   */
  async subscribe(channelId, { after } = {}) {
    if (this.link.isClosed) throw this.state.error ?? closedError();
    await this.#channel(channelId, after).ready;
  }

  /**
   * Ends the subscription; its streams end.
   *
   * @param {string} channelId
   */
  async unsubscribe(channelId) {
    const channel = this.#channels.get(channelId);
    if (channel === undefined) return;
    channel.finish({ reason: "unsubscribed" });
    if (this.state.status !== "open") return;
    const leaving = this.#tellServer(channelId).finally(() => {
      if (this.#leaving.get(channelId) === leaving) this.#leaving.delete(channelId);
    });
    this.#leaving.set(channelId, leaving);
    await leaving;
  }

  /**
   * The channel's events, each once and in order. What came since `subscribe` waits for the first
   * reader; whoever reads again after leaving goes on where he left; readers side by side get all
   * of it each. The stream ends when the subscription ends, and throws when the session failed.
   *
   * @param {string} channelId A channel that was subscribed to.
   * @returns {AsyncIterableIterator<ChatEvent, undefined, undefined>}
   */
  events(channelId) {
    return this.#known(channelId).events();
  }

  /**
   * The replies as they are written, piece by piece: for each reply, the pieces in order are the
   * text; a piece with `snapshot` replaces all before it.
   *
   * @param {string} channelId
   * @returns {AsyncIterableIterator<Delta, undefined, undefined>}
   */
  deltas(channelId) {
    return this.#known(channelId).deltas();
  }

  /**
   * Who begins and ceases to type, from now on.
   *
   * @param {string} channelId
   * @returns {AsyncIterableIterator<TypingUpdate, undefined, undefined>}
   */
  typingUpdates(channelId) {
    return this.#known(channelId).updates("typing");
  }

  /**
   * Who comes and goes, from now on; `online` says who is there.
   *
   * @param {string} channelId
   * @returns {AsyncIterableIterator<PresenceUpdate, undefined, undefined>}
   */
  presenceUpdates(channelId) {
    return this.#known(channelId).updates("presence");
  }

  /**
   * How far others have read, from now on.
   *
   * @param {string} channelId
   * @returns {AsyncIterableIterator<ReadUpdate, undefined, undefined>}
   */
  readUpdates(channelId) {
    return this.#known(channelId).updates("read");
  }

  /**
   * Calls back with everything of a channel in the order in which it came, unqueued: for a user
   * interface that keeps a state of its own. May be called before `subscribe`'s promise resolves.
   *
   * @param {string} channelId
   * @param {ChannelListener} listener
   * @returns {() => void} Ends it.
   */
  listen(channelId, listener) {
    return this.#known(channelId).listen(listener);
  }

  /**
   * The users known to be online in a channel.
   *
   * @param {string} channelId
   * @returns {Set<string>}
   */
  online(channelId) {
    return new Set(this.#known(channelId).online);
  }

  /**
   * The replies that are being written now, with their text so far.
   *
   * @param {string} channelId
   * @returns {OpenReply[]}
   */
  openReplies(channelId) {
    return this.#known(channelId).openReplies;
  }

  /**
   * Posts a message, however often the connection is lost meanwhile; a channel's messages are posted
   * in the order of the calls.
   *
   * @param {string} channelId
   * @param {string} text
   * @param {SendOptions} [options]
   * @returns {Promise<number>} The message's `seq`. Rejects with ChatError where the server refuses it.
   */
  send(channelId, text, { clientMessageId = newId(), replyTo, metadata, signal } = {}) {
    if (this.link.isClosed) return Promise.reject(this.state.error ?? closedError());
    if (this.#unsent >= MOST_UNSENT) {
      return Promise.reject(localError("too-much-unsent", `${MOST_UNSENT} messages wait to be sent.`));
    }
    this.#unsent += 1;
    const fields = { channelId, text, clientMessageId, replyTo, metadata };
    const before = this.#sending.get(channelId) ?? Promise.resolve();
    const sent = before.then(() => this.#post(fields, signal)).finally(() => {
      this.#unsent -= 1;
      if (this.#sending.get(channelId) === settled) this.#sending.delete(channelId);
    });
    const settled = sent.catch(() => {});
    this.#sending.set(channelId, settled);
    return sent;
  }

  /**
   * Tells the others that the user types, or ceased to; call it at each key: it is sent when it is
   * news.
   *
   * @param {string} channelId
   * @param {boolean} [typing]
   */
  typing(channelId, typing = true) {
    const told = this.#typed.get(channelId);
    const now = performance.now();
    const isNews = typing ? !told?.typing || now - told.at >= TYPING_INTERVAL : told?.typing;
    if (!isNews) return;
    this.#typed.set(channelId, { typing, at: now });
    this.link.notify("typing", { channelId, typing });
  }

  /**
   * Marks the channel as read up to `seq`. Calls while one is under way become one.
   *
   * @param {string} channelId
   * @param {number} seq
   */
  markRead(channelId, seq) {
    return this.readMarks.mark(channelId, seq);
  }

  /**
   * Ends replies, queued or running, for everybody: to one question, or all up to now.
   *
   * @param {string} channelId
   * @param {{replyTo?: number}} [options]
   */
  cancel(channelId, options) {
    // By REST: repeated after a reconnect it could end replies to questions that came later.
    return this.rest.cancelGenerations(channelId, options);
  }

  /** The tools that this deployment offers to agents. @returns {Promise<Tool[]>} */
  async listTools() {
    return (await this.rest.listTools()).items;
  }

  /**
   * Approves or denies a call that the agent asked for in `tool.requested`. The server judges whether
   * the user may.
   *
   * @param {string} channelId
   * @param {string} callId
   * @param {"approve" | "deny"} decision
   * @param {object} [options]
   * @param {unknown} [options.arguments] What the user was shown: where it is not what the call is
   *   made with, the server refuses the decision.
   * @param {AbortSignal} [options.signal] Gives up waiting; it may be decided all the same.
   * @returns {Promise<ChatEvent>} The `tool.decided` that stands. Rejects with ChatError: 403 for whom
   *   the call's `approval` does not name, 409 where it was decided before (`problem.decision`,
   *   `problem.decidedBy`).
   */
  async decideTool(channelId, callId, decision, { arguments: shown, signal } = {}) {
    const digest = shown === undefined ? undefined : await argumentsDigest(shown);
    // By REST, as what ends replies: it may be repeated, and must not wait for a connection.
    return this.rest.decideCall(channelId, callId, { decision, argumentsDigest: digest }, { signal });
  }

  /** Ends the session; its streams end. */
  close() {
    this.link.close();
  }

  /**
   * @param {string} channelId
   * @param {number | undefined} after
   */
  #channel(channelId, after) {
    let channel = this.#channels.get(channelId);
    if (channel === undefined || channel.end !== undefined) {
      const created = new ChannelSubscription(channelId, {
        after,
        link: this.link,
        onNotice: this.onNotice,
        onEnd: () => this.#forget(created),
      });
      channel = created;
      this.#channels.set(channelId, channel);
      this.link.start();
      void this.#join(channel);
    }
    return channel;
  }

  /** @param {ChannelSubscription} channel */
  async #join(channel) {
    // Frames are served side by side: a subscription must not overtake the end of the one before.
    await this.#leaving.get(channel.channelId);
    if (channel.end === undefined && this.state.status === "open") await channel.join();
  }

  /** @param {string} channelId */
  async #tellServer(channelId) {
    try {
      await this.link.request("unsubscribe", { channelId });
    } catch (error) {
      if (!(error instanceof ChatError)) throw error; // nothing comes of a channel that is not read
    }
  }

  /** @param {ChannelSubscription} channel */
  #forget(channel) {
    // A channel that ended stays known, so that its readers get what is left and then the end.
    if (!channel.hasStood && this.#channels.get(channel.channelId) === channel) {
      this.#channels.delete(channel.channelId);
    }
    this.#typed.delete(channel.channelId);
  }

  /** @param {string} channelId */
  #known(channelId) {
    const channel = this.#channels.get(channelId);
    if (channel === undefined) {
      throw localError("not-subscribed", `There is no subscription to ${channelId}: call subscribe first.`);
    }
    return channel;
  }

  /**
   * @param {{channelId: string, text: string, clientMessageId: string, replyTo?: number, metadata?: Record<string, unknown>}} message
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<number>}
   */
  async #post(message, signal) {
    const { channelId, ...body } = message;
    const size = new TextEncoder().encode(JSON.stringify(message)).length + 100;
    const backoff = new Backoff({ base: 250, cap: 10_000 });
    for (;;) {
      signal?.throwIfAborted();
      if (this.link.isClosed) throw this.state.error ?? closedError();
      try {
        if (size > MOST_FRAME_BYTES) return (await this.rest.postMessage(channelId, body, { signal })).seq;
        await abortable(this.link.whenOpen(), signal);
        const ack = await abortable(this.link.request("sendmessage", message), signal);
        return Number(ack.seq);
      } catch (error) {
        if (!(error instanceof ChatError && error.isTemporary)) throw error;
        if (!(error instanceof ConnectionLostError)) {
          await pause(backoff.next((error.retryAfter ?? 0) * 1000), signal);
        }
      }
    }
  }

  #opened() {
    this.renewal.start();
    for (const channel of this.#channels.values()) void this.#join(channel);
  }

  #lost() {
    this.renewal.stop();
    this.#typed.clear();
    for (const channel of this.#channels.values()) channel.detach();
  }

  /** @param {ConnectionState} state */
  #stateChanged(state) {
    if (state.status === "closed") {
      this.stopWatching();
      for (const channel of this.#channels.values()) {
        channel.finish({ reason: state.error ? "failed" : "closed", error: state.error });
      }
    }
    for (const observer of [...this.#observers]) guarded(() => observer(state));
  }

  /**
   * @param {Record<string, number>} heads
   * @param {number} askedAt
   */
  #compare(heads, askedAt) {
    for (const channel of this.#channels.values()) {
      const head = heads[channel.channelId];
      const { liveSince } = channel;
      if (head !== undefined) channel.noteHead(head);
      // The server does not know of the subscription any more.
      else if (liveSince !== undefined && liveSince < askedAt) void channel.join();
    }
  }

  /** @param {Frame} frame */
  #receive(frame) {
    const channel = this.#channels.get(String(frame.channelId));
    switch (frame.type) {
      case "events":
        this.#receiveEvents(/** @type {ChatEvent[]} */ (frame.events));
        break;
      case "delta":
        channel?.receiveDelta(/** @type {Delta} */ (/** @type {unknown} */ (frame)));
        break;
      case "typing":
        channel?.receiveTyping(/** @type {TypingUpdate} */ (/** @type {unknown} */ (frame)));
        break;
      case "presence":
        channel?.receivePresence(/** @type {PresenceUpdate} */ (/** @type {unknown} */ (frame)));
        break;
      case "read":
        channel?.receiveRead(/** @type {ReadUpdate} */ (/** @type {unknown} */ (frame)));
        break;
      case "unsubscribed":
        channel?.finish({ reason: frame.reason === "deleted" ? "deleted" : "removed" });
        break;
      case "ack":
      case "sync":
      case "pong":
      case "error":
        break; // the answer to a request that nobody waits for any more
      default:
        channel?.receiveFrame(frame);
        this.onFrame(frame);
    }
  }

  /** @param {ChatEvent[]} events */
  #receiveEvents(events) {
    for (const [channelId, ofChannel] of groupByChannel(events)) {
      this.#channels.get(channelId)?.receiveEvents(ofChannel);
    }
  }
}

/** @param {ChatEvent[]} events */
function groupByChannel(events) {
  /** @type {Map<string, ChatEvent[]>} */
  const groups = new Map();
  for (const event of events) {
    const group = groups.get(event.channelId);
    if (group === undefined) groups.set(event.channelId, [event]);
    else group.push(event);
  }
  return groups;
}

/**
 * @template Value
 * @param {Promise<Value>} promise
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<Value>}
 */
function abortable(promise, signal) {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
