import { Backoff, pause } from "./backoff.js";
import { ChatError, ConnectionLostError, asError } from "./chat-error.js";
import { withResolvers } from "./streams.js";

/** @import { Frame, Problem } from "./wire.js" */

/**
 * What the session uses of a WebSocket: the browser's, Node's, or that of the npm package `ws`.
 *
 * @typedef {object} WebSocketLike
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 * @property {(data: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/** @typedef {new (url: string) => WebSocketLike} WebSocketClass */

/**
 * All in milliseconds.
 *
 * @typedef {object} Timing
 * @property {number} connectTimeout For the handshake.
 * @property {number} requestTimeout For the answer to a frame; past it the connection counts as dead.
 * @property {number} pingInterval
 * @property {number} probeTimeout For the pong after the page became visible or the network came back.
 * @property {number} backoffBase The most that the first wait for a reconnect takes.
 * @property {number} backoffCap The most that any takes.
 */

/** @type {Readonly<Timing>} */
export const DEFAULT_TIMING = Object.freeze({
  connectTimeout: 20_000,
  requestTimeout: 30_000,
  pingInterval: 30_000,
  probeTimeout: 5_000,
  backoffBase: 1_000,
  backoffCap: 30_000,
});

/**
 * - `connecting`: an attempt is being made.
 * - `open`
 * - `reconnecting`: the next attempt is at `nextAttemptAt` (milliseconds since 1970).
 * - `closed`: for good; `error` says why, where it was not `close()`.
 *
 * @typedef {object} ConnectionState
 * @property {"idle" | "connecting" | "open" | "reconnecting" | "closed"} status
 * @property {number} [attempt] 1 for the first try since the connection was last open.
 * @property {number} [nextAttemptAt]
 * @property {Error} [error]
 */

/** @typedef {PromiseWithResolvers<Frame> & {timer: ReturnType<typeof setTimeout>}} Pending */

/** A WebSocket that comes back, with requests and their answers. It knows nothing of channels. */
export class Link {
  /** @type {ConnectionState} */
  state = { status: "idle" };
  /** @type {WebSocketLike | undefined} */
  #socket = undefined;
  /** @type {((error: Error) => void) | undefined} */
  #drop = undefined;
  /** @type {Map<string, Pending>} */
  #pending = new Map();
  #requests = 0;
  #answered = false;
  #wait = new AbortController();
  /** @type {PromiseWithResolvers<void>} */
  #opened = withResolvers();

  /**
   * @param {object} options
   * @param {() => Promise<string>} options.openUrl Answers a URL that opens one connection.
   * @param {WebSocketClass} options.webSocket
   * @param {Timing} options.timing
   * @param {() => number} options.random
   * @param {() => void} options.onOpen
   * @param {() => void} options.onLost
   * @param {(frame: Frame) => void} options.onFrame Every frame that answers no request.
   * @param {(heads: Record<string, number>, askedAt: number) => void} options.onHeads
   * @param {(state: ConnectionState) => void} options.onState
   */
  constructor(options) {
    this.options = options;
    this.timing = options.timing;
    const { backoffBase: base, backoffCap: cap } = options.timing;
    this.backoff = new Backoff({ base, cap, random: options.random });
    this.#opened.promise.catch(() => {});
  }

  get isClosed() {
    return this.state.status === "closed";
  }

  /** Begins to connect, and to reconnect; once. */
  start() {
    if (this.state.status === "idle") void this.#run();
  }

  /** Resolves when a connection is open; rejects when there will be none any more. */
  whenOpen() {
    if (this.isClosed) return Promise.reject(this.state.error ?? closedError());
    this.start();
    return this.#opened.promise;
  }

  /**
   * Sends a frame and resolves with its answer.
   *
   * @param {string} action
   * @param {Record<string, unknown>} [fields]
   * @param {number} [timeout] Milliseconds.
   * @returns {Promise<Frame>} Rejects with ChatError where the answer is an error, with
   *   ConnectionLostError where none came.
   */
  request(action, fields = {}, timeout = this.timing.requestTimeout) {
    const socket = this.#socket;
    if (socket === undefined) return Promise.reject(new ConnectionLostError());
    this.#requests += 1;
    const requestId = String(this.#requests);
    const timer = setTimeout(() => {
      this.#drop?.(new ConnectionLostError("The server did not answer in time."));
    }, timeout);
    /** @type {Pending} */
    const pending = { ...withResolvers(), timer };
    this.#pending.set(requestId, pending);
    this.#send(socket, { action, requestId, ...fields });
    return pending.promise;
  }

  /**
   * Sends a frame that has no answer, if a connection is open.
   *
   * @param {string} action
   * @param {Record<string, unknown>} fields
   */
  notify(action, fields) {
    if (this.#socket !== undefined) this.#send(this.#socket, { action, ...fields });
  }

  /** The network may be another one: tries the connection, or to connect, now. */
  wake() {
    this.#wait.abort();
    if (this.#socket !== undefined) void this.#ping(this.timing.probeTimeout);
  }

  /** @param {Error} [error] */
  close(error) {
    if (this.isClosed) return;
    this.#setState(error === undefined ? { status: "closed" } : { status: "closed", error });
    const reason = error ?? closedError();
    this.#opened.reject(reason);
    this.#wait.abort();
    this.#drop?.(reason);
  }

  async #run() {
    while (!this.isClosed) {
      this.#setState({ status: "connecting", attempt: this.backoff.attempt + 1 });
      /** @type {Error} */
      let error;
      try {
        const url = await this.options.openUrl();
        if (this.isClosed) return;
        error = await this.#serve(url);
      } catch (failure) {
        error = asError(failure);
      }
      if (this.isClosed) return;
      if (error instanceof ChatError && (error.status === 401 || error.status === 403)) {
        this.close(error);
        return;
      }
      await this.#waitForNextAttempt(error);
    }
  }

  /** @param {Error} error */
  async #waitForNextAttempt(error) {
    if (this.#answered) this.backoff.reset();
    this.#answered = false;
    const asked = error instanceof ChatError ? (error.retryAfter ?? 0) * 1000 : 0;
    const attempt = this.backoff.attempt + 1;
    const wait = this.backoff.next(Math.min(asked, this.timing.backoffCap));
    this.#setState({ status: "reconnecting", attempt, nextAttemptAt: Date.now() + wait, error });
    this.#wait = new AbortController();
    await pause(wait, this.#wait.signal).catch(() => {});
  }

  /**
   * Opens a connection and serves it until it is lost.
   *
   * @param {string} url
   * @returns {Promise<Error>} Why it was lost, or never came about.
   */
  #serve(url) {
    return new Promise((resolve) => {
      const socket = new this.options.webSocket(url);
      /** @type {ReturnType<typeof setTimeout>} */
      let pinging;
      const timer = setTimeout(() => drop(new ConnectionLostError("The handshake took too long.")), this.timing.connectTimeout);
      // A dead network may keep a socket "closing" for minutes: nobody waits for it.
      const drop = (/** @type {Error} */ error) => {
        if (this.#drop !== drop) return;
        this.#drop = undefined;
        clearTimeout(timer);
        clearTimeout(pinging);
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.onerror = () => {};
        try {
          socket.close();
        } catch {
          // It never was open.
        }
        const wasOpen = this.#socket !== undefined;
        this.#socket = undefined;
        this.#rejectPending(error);
        if (wasOpen) this.#lost();
        resolve(error);
      };
      this.#drop = drop;
      const pingLater = () => {
        if (this.#drop !== drop) return;
        const spread = 0.9 + this.options.random() * 0.1;
        pinging = setTimeout(() => {
          void this.#ping(this.timing.requestTimeout).then(pingLater);
        }, this.timing.pingInterval * spread);
      };
      socket.onopen = () => {
        clearTimeout(timer);
        this.#socket = socket;
        this.#setState({ status: "open" });
        this.#opened.resolve();
        this.options.onOpen();
        pingLater();
      };
      socket.onmessage = ({ data }) => this.#receive(data);
      socket.onerror = () => {}; // a close follows, which says as much
      socket.onclose = ({ code, reason }) => {
        const detail = `The connection was closed (${[code, reason].filter(Boolean).join(", ")}).`;
        drop(new ConnectionLostError(detail));
      };
    });
  }

  #lost() {
    if (!this.isClosed) {
      this.#opened = withResolvers();
      this.#opened.promise.catch(() => {});
    }
    this.options.onLost();
  }

  /** @param {number} timeout */
  async #ping(timeout) {
    const askedAt = performance.now();
    try {
      const pong = await this.request("ping", { heads: true }, timeout);
      this.options.onHeads(/** @type {Record<string, number>} */ (pong.heads ?? {}), askedAt);
    } catch (error) {
      // An error frame (throttled, storage busy) is a sign of life; what is lost is dropped already.
      if (!(error instanceof ChatError)) throw error;
    }
  }

  /** @param {unknown} data */
  #receive(data) {
    const frame = parse(data);
    if (frame === undefined) return;
    const pending = typeof frame.requestId === "string" ? this.#pending.get(frame.requestId) : undefined;
    if (pending !== undefined) {
      this.#answered = true;
      this.#pending.delete(/** @type {string} */ (frame.requestId));
      clearTimeout(pending.timer);
      if (frame.type === "error") {
        pending.reject(new ChatError(/** @type {Problem} */ (frame.error ?? {})));
      } else {
        pending.resolve(frame);
      }
    } else if (frame.type === undefined && typeof frame.message === "string") {
      // The gateway itself answers a frame that it could not hand on, without saying which.
      this.#rejectPending(new ChatError({ status: 503, title: frame.message }));
    } else {
      this.options.onFrame(frame);
    }
  }

  /** @param {Error} error */
  #rejectPending(error) {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of pending) {
      clearTimeout(timer);
      reject(error);
    }
  }

  /**
   * @param {WebSocketLike} socket
   * @param {Record<string, unknown>} frame
   */
  #send(socket, frame) {
    try {
      socket.send(JSON.stringify(frame));
    } catch (error) {
      this.#drop?.(new ConnectionLostError(asError(error).message));
    }
  }

  /** @param {ConnectionState} state */
  #setState(state) {
    this.state = state;
    this.options.onState(state);
  }
}

export function closedError() {
  return new ChatError({ type: "closed", title: "The session is closed", detail: "The session is closed." });
}

/**
 * A frame, or undefined for what is none: gateways send empty ones.
 *
 * @param {unknown} data
 * @returns {Frame | undefined}
 */
function parse(data) {
  if (typeof data !== "string" || data === "") return undefined;
  try {
    const value = JSON.parse(data);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
