import { Backoff, pause } from "./backoff.js";
import { ChatError, localError } from "./chat-error.js";
import { newId } from "./ids.js";
import { TokenSource } from "./token-source.js";

/**
 * @import {
 *   AgentChanges, Channel, ChatEvent, EventPage, Generation, Member, Message, Page, Problem, Tool,
 * } from "./wire.js"
 * @import { Token } from "./token-source.js"
 */

const ATTEMPTS = 5;
const TIMEOUT = 30_000;
const MOST_RETRY_AFTER = 30;

/**
 * @typedef {object} CallOptions
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} Request
 * @property {Record<string, string | number | null | undefined>} [query]
 * @property {unknown} [body]
 * @property {Record<string, string>} [headers]
 * @property {boolean} [repeatable] The same request again has no other effect than the first.
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} RestOptions
 * @property {string} restUrl Without a slash at its end.
 * @property {Token | TokenSource} token
 * @property {typeof fetch} [fetch]
 */

/** Every operation of the REST API, named by its operation id. Rejects with ChatError. */
export class ChatRest {
  /** @param {RestOptions} options */
  constructor({ restUrl, token, fetch: fetchFunction }) {
    this.restUrl = restUrl.replace(/\/+$/, "");
    this.tokens = token instanceof TokenSource ? token : new TokenSource(token);
    /** @type {typeof fetch} */
    this.fetch = fetchFunction ?? ((...request) => globalThis.fetch(...request));
  }

  /**
   * @param {{name: string, members?: string[], agent?: AgentChanges}} channel
   * @param {CallOptions & {idempotencyKey?: string}} [options]
   * @returns {Promise<Channel>}
   */
  createChannel(channel, { idempotencyKey = newId(), signal } = {}) {
    return this.call("POST", "/channels", {
      body: channel,
      headers: { "idempotency-key": idempotencyKey },
      repeatable: true,
      signal,
    });
  }

  /**
   * @param {CallOptions & {limit?: number, cursor?: string | null}} [options]
   * @returns {Promise<Page<Channel>>}
   */
  listChannels({ signal, ...query } = {}) {
    return this.call("GET", "/channels", { query, signal });
  }

  /**
   * @param {string} channelId
   * @param {CallOptions} [options]
   * @returns {Promise<Channel>}
   */
  getChannel(channelId, options) {
    return this.call("GET", path`/channels/${channelId}`, options);
  }

  /**
   * @param {string} channelId
   * @param {{name?: string, agent?: AgentChanges}} changes
   * @param {CallOptions} [options]
   * @returns {Promise<Channel>}
   */
  updateChannel(channelId, changes, options) {
    return this.call("PATCH", path`/channels/${channelId}`, { body: changes, ...options });
  }

  /**
   * @param {string} channelId
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   */
  deleteChannel(channelId, options) {
    return this.call("DELETE", path`/channels/${channelId}`, options);
  }

  /**
   * @param {string} channelId
   * @param {CallOptions & {limit?: number, cursor?: string | null}} [options]
   * @returns {Promise<Page<Member>>}
   */
  listMembers(channelId, { signal, ...query } = {}) {
    return this.call("GET", path`/channels/${channelId}/members`, { query, signal });
  }

  /**
   * @param {string} channelId
   * @param {string} userId
   * @param {{role: "owner" | "member"}} member
   * @param {CallOptions} [options]
   * @returns {Promise<Member>}
   */
  putMember(channelId, userId, member, options) {
    return this.call("PUT", path`/channels/${channelId}/members/${userId}`, {
      body: member,
      ...options,
    });
  }

  /**
   * @param {string} channelId
   * @param {string} userId
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   */
  removeMember(channelId, userId, options) {
    return this.call("DELETE", path`/channels/${channelId}/members/${userId}`, options);
  }

  /**
   * @param {string} channelId
   * @param {{
   *   text: string, clientMessageId?: string, replyTo?: number, metadata?: Record<string, unknown>,
   * }} message A `clientMessageId` is made where there is none, so that repeats do not post twice.
   * @param {CallOptions} [options]
   * @returns {Promise<ChatEvent>}
   */
  postMessage(channelId, message, options) {
    return this.call("POST", path`/channels/${channelId}/messages`, {
      body: { ...message, clientMessageId: message.clientMessageId ?? newId() },
      repeatable: true,
      ...options,
    });
  }

  /**
   * @param {string} channelId
   * @param {CallOptions & {
   *   limit?: number, cursor?: string | null, before?: number, after?: number,
   * }} [options] Neither `before` nor `after`: the newest page. Items ascend.
   * @returns {Promise<Page<Message>>}
   */
  listMessages(channelId, { signal, ...query } = {}) {
    return this.call("GET", path`/channels/${channelId}/messages`, { query, signal });
  }

  /**
   * @param {string} channelId
   * @param {number} seq
   * @param {CallOptions} [options]
   * @returns {Promise<Message>}
   */
  getMessage(channelId, seq, options) {
    return this.call("GET", path`/channels/${channelId}/messages/${seq}`, options);
  }

  /**
   * @param {string} channelId
   * @param {number} seq
   * @param {{text: string}} message
   * @param {CallOptions} [options]
   * @returns {Promise<Message>}
   */
  editMessage(channelId, seq, message, options) {
    return this.call("PATCH", path`/channels/${channelId}/messages/${seq}`, {
      body: message,
      ...options,
    });
  }

  /**
   * @param {string} channelId
   * @param {number} seq
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   */
  deleteMessage(channelId, seq, options) {
    return this.call("DELETE", path`/channels/${channelId}/messages/${seq}`, options);
  }

  /**
   * @param {string} channelId
   * @param {number} seq
   * @param {string} emoji
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   */
  addReaction(channelId, seq, emoji, options) {
    const reaction = path`/channels/${channelId}/messages/${seq}/reactions/${emoji}`;
    return this.call("PUT", reaction, options);
  }

  /**
   * @param {string} channelId
   * @param {number} seq
   * @param {string} emoji
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   */
  removeReaction(channelId, seq, emoji, options) {
    const reaction = path`/channels/${channelId}/messages/${seq}/reactions/${emoji}`;
    return this.call("DELETE", reaction, options);
  }

  /**
   * Asks for another reply to the question that the agent's message `seq` answers.
   *
   * @param {string} channelId
   * @param {number} seq
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   */
  regenerateReply(channelId, seq, options) {
    return this.call("POST", path`/channels/${channelId}/messages/${seq}/regenerate`, options);
  }

  /**
   * The replies that have not ended.
   *
   * @param {string} channelId
   * @param {CallOptions} [options]
   * @returns {Promise<{items: Generation[]}>}
   */
  listGenerations(channelId, options) {
    return this.call("GET", path`/channels/${channelId}/generations`, options);
  }

  /**
   * Ends replies, queued or running: to one question, or to all up to now.
   *
   * @param {string} channelId
   * @param {CallOptions & {replyTo?: number}} [options]
   * @returns {Promise<void>}
   */
  cancelGenerations(channelId, { replyTo, signal } = {}) {
    return this.call("POST", path`/channels/${channelId}/generations/cancel`, {
      body: { replyTo },
      repeatable: true,
      signal,
    });
  }

  /**
   * The tools that this deployment offers to agents.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<{items: Tool[]}>}
   */
  listTools(options) {
    return this.call("GET", "/tools", options);
  }

  /**
   * Says whether a call that the agent asked for is made. The same decision by the same user again
   * answers the first one.
   *
   * @param {string} channelId
   * @param {string} callId
   * @param {{decision: "approve" | "deny", argumentsDigest?: string}} decision
   * @param {CallOptions} [options]
   * @returns {Promise<ChatEvent>} The `tool.decided` that stands.
   */
  decideCall(channelId, callId, decision, options) {
    return this.call("POST", path`/channels/${channelId}/tools/${callId}/decision`, {
      body: decision,
      repeatable: true,
      ...options,
    });
  }

  /**
   * The log itself, for catching up.
   *
   * @param {string} channelId
   * @param {CallOptions & {after?: number, limit?: number}} [options]
   * @returns {Promise<EventPage>}
   */
  listEvents(channelId, { signal, ...query } = {}) {
    return this.call("GET", path`/channels/${channelId}/events`, { query, signal });
  }

  /**
   * @param {string} channelId
   * @param {number} seq
   * @param {CallOptions} [options]
   * @returns {Promise<void>}
   */
  setReadMark(channelId, seq, options) {
    return this.call("PUT", path`/channels/${channelId}/read`, { body: { seq }, ...options });
  }

  /**
   * @param {string} channelId
   * @param {CallOptions & {limit?: number, cursor?: string | null}} [options]
   * @returns {Promise<Page<{userId: string, connections: number}>>}
   */
  getPresence(channelId, { signal, ...query } = {}) {
    return this.call("GET", path`/channels/${channelId}/presence`, { query, signal });
  }

  /**
   * @param {CallOptions} [options]
   * @returns {Promise<{ticket: string, expiresIn: number}>}
   */
  createTicket(options) {
    return this.call("POST", "/tickets", { repeatable: true, ...options });
  }

  /**
   * @param {CallOptions} [options]
   * @returns {Promise<{userId: string, name?: string}>}
   */
  getMe(options) {
    return this.call("GET", "/me", options);
  }

  /**
   * @param {CallOptions} [options]
   * @returns {Promise<{status: string, version: string}>}
   */
  getHealth(options) {
    return this.call("GET", "/health", options);
  }

  /**
   * Calls the API, repeating what was refused for the moment, and what may be repeated.
   *
   * @template Answer
   * @param {string} method
   * @param {string} resource Below `/v1`, percent-encoded.
   * @param {Request} [request]
   * @returns {Promise<Answer>}
   */
  async call(method, resource, request = {}) {
    const repeatable = request.repeatable ?? method !== "POST";
    const backoff = new Backoff({ base: 250, cap: 5_000 });
    let refresh = false;
    for (let attempt = 1; ; attempt += 1) {
      request.signal?.throwIfAborted();
      const error = await this.#attempt(method, resource, request, refresh);
      if (!(error instanceof ChatError)) return /** @type {Answer} */ (error);
      if (error.status === 401 && this.tokens.isRenewable && !refresh) {
        refresh = true;
        continue;
      }
      const wasRefused = error.status === 429 || error.status === 503;
      const again = wasRefused || (repeatable && error.isTemporary);
      if (!again || attempt >= ATTEMPTS) throw error;
      const asked = Math.min(error.retryAfter ?? 0, MOST_RETRY_AFTER) * 1000;
      await pause(backoff.next(asked), request.signal);
    }
  }

  /**
   * @param {string} method
   * @param {string} resource
   * @param {Request} request
   * @param {boolean} refresh
   * @returns {Promise<unknown>} The answer's JSON, or the ChatError.
   */
  async #attempt(method, resource, request, refresh) {
    const url = `${this.restUrl}/v1${resource}${queryString(request.query)}`;
    /** @type {Record<string, string>} */
    const headers = { accept: "application/json", ...request.headers };
    headers.authorization = `Bearer ${await this.tokens.get({ refresh })}`;
    if (request.body !== undefined) headers["content-type"] = "application/json";
    const timeout = AbortSignal.timeout(TIMEOUT);
    const signal = request.signal ? AbortSignal.any([request.signal, timeout]) : timeout;
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    try {
      const response = await this.fetch(url, { method, headers, body, signal });
      const text = await response.text();
      return response.ok ? (text ? JSON.parse(text) : undefined) : problemError(response, text);
    } catch (error) {
      request.signal?.throwIfAborted();
      return localError("network", `No answer from ${this.restUrl}.`, error);
    }
  }
}

/**
 * @param {Response} response
 * @param {string} text
 */
function problemError(response, text) {
  /** @type {Problem} */
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // What stands before the API (a proxy, a gateway) answers in its own words.
  }
  const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new ChatError(
    { title: `HTTP ${response.status}`, ...problem, status: response.status },
    { retryAfter: Number.isFinite(retryAfter) ? retryAfter : undefined },
  );
}

/**
 * @param {TemplateStringsArray} strings
 * @param {(string | number)[]} values
 */
function path(strings, ...values) {
  return String.raw({ raw: strings }, ...values.map((value) => encodeURIComponent(value)));
}

/** @param {Request["query"]} query */
function queryString(query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}
