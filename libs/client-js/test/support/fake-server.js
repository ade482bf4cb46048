import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { WebSocketServer } from "ws";

import { FakeChannel, Refusal, userSender } from "./fake-channel.js";
import { stoppable } from "./stoppable.js";
import { tokenOf, userOf } from "./tokens.js";

/**
 * @import { IncomingMessage, ServerResponse } from "node:http"
 * @import { WebSocket } from "ws"
 * @import { Tool } from "../../src/wire.js"
 * @import { FakeReply } from "./fake-channel.js"
 */

const MOST_REPLAYED = 1_000;

/** A connection of one user. */
export class Connection {
  /** @type {Set<FakeChannel>} */
  channels = new Set();

  /**
   * @param {WebSocket} socket
   * @param {string} userId
   * @param {number} expiresAt
   */
  constructor(socket, userId, expiresAt) {
    this.socket = socket;
    this.userId = userId;
    this.expiresAt = expiresAt;
  }

  /** @param {Record<string, unknown> | string} frame */
  send(frame) {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }
}

/**
 * The chat in one process and in memory: REST and WebSocket as the contract has them, and an agent
 * that follows a script.
 */
export class FakeServer {
  /** @type {Map<string, FakeChannel>} */
  channels = new Map();
  /** @type {Set<Connection>} */
  connections = new Set();
  /** Every request and frame, by what it is: `POST /v1/tickets`, `ws sync`. @type {string[]} */
  calls = [];
  /** Answers to give instead, by call, first in first out. @type {Map<string, number[]>} */
  refusals = new Map();
  /** Frames that get no answer, by action. @type {Set<string>} */
  deafTo = new Set();
  /** @type {(reply: FakeReply) => Promise<void>} */
  script = speak("I hear you.", 0);
  /** What `GET /v1/tools` answers. @type {Tool[]} */
  tools = [];
  refuseHandshakes = false;
  port = 0;

  #tickets = new Map();
  #made = 0;
  #http = createServer((request, response) => void this.#serve(request, response));
  #sockets = new WebSocketServer({ noServer: true });
  #lifetime = stoppable(this.#http);

  /** @returns {Promise<FakeServer>} */
  static async start() {
    const server = new FakeServer();
    server.#http.on("upgrade", (request, socket, head) => {
      const ticket = new URL(request.url ?? "", "http://x").searchParams.get("ticket");
      const bearer = server.#tickets.get(ticket);
      server.#tickets.delete(ticket);
      if (bearer === undefined || server.refuseHandshakes) {
        socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        return;
      }
      server.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
        server.#accept(new Connection(webSocket, bearer.userId, bearer.expiresAt));
      });
    });
    server.port = await server.#lifetime.start();
    return server;
  }

  get restUrl() {
    return `http://127.0.0.1:${this.port}`;
  }

  get websocketUrl() {
    return `ws://127.0.0.1:${this.port}/socket`;
  }

  /** What a client of this user is made with. @param {string} [userId] */
  optionsOf(userId = "alice") {
    return { restUrl: this.restUrl, websocketUrl: this.websocketUrl, token: tokenOf(userId) };
  }

  stop() {
    return this.#lifetime.stop();
  }

  /** Ends every connection, as a network does. */
  cut() {
    for (const { socket } of this.connections) socket.terminate();
  }

  /** @param {{owner?: string, name?: string, members?: string[], agent?: object}} [options] */
  createChannel({ owner = "alice", name = "room", members = ["bob"], agent = { mode: "off" } } = {}) {
    this.#made += 1;
    const channel = new FakeChannel(`channel${this.#made}`, {
      owner,
      name,
      members,
      agent,
      script: (reply) => this.script(reply),
    });
    this.channels.set(channel.channelId, channel);
    return channel;
  }

  /** How often a call was made. @param {string} call */
  count(call) {
    return this.calls.filter((made) => made === call).length;
  }

  /** The next calls of this kind are answered with these statuses. @param {string} call @param {number[]} statuses */
  refuse(call, ...statuses) {
    this.refusals.set(call, [...(this.refusals.get(call) ?? []), ...statuses]);
  }

  /** @param {string} call */
  #note(call) {
    this.calls.push(call);
    const status = this.refusals.get(call)?.shift();
    if (status !== undefined) throw new Refusal(status, `Refused with ${status}.`);
  }

  /**
   * @param {string} channelId
   * @param {string} userId
   */
  #channelOf(channelId, userId) {
    const channel = this.channels.get(channelId);
    if (channel === undefined || channel.isDeleted || !channel.members.has(userId)) {
      throw new Refusal(404, "There is no such channel, or you are no member of it.");
    }
    return channel;
  }

  /** @param {Connection} connection */
  #accept(connection) {
    this.connections.add(connection);
    connection.send(""); // gateways send empty frames
    connection.socket.on("message", (data) => this.#receive(connection, String(data)));
    connection.socket.on("close", () => {
      this.connections.delete(connection);
      for (const channel of connection.channels) {
        channel.connections.delete(connection);
        this.#tellPresence(channel, connection.userId, false);
      }
    });
  }

  /**
   * @param {Connection} connection
   * @param {string} data
   */
  #receive(connection, data) {
    const { action, requestId, ...fields } = JSON.parse(data);
    if (connection.expiresAt < Date.now()) {
      connection.socket.close();
      return;
    }
    if (this.deafTo.has(action)) {
      this.calls.push(`ws ${action}`);
      return;
    }
    try {
      this.#note(`ws ${action}`);
      const answer = this.#act(connection, action, fields);
      if (answer !== undefined) connection.send({ ...answer, requestId });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      connection.send({ type: "error", requestId, error: problem(error) });
    }
  }

  /**
   * @param {Connection} connection
   * @param {string} action
   * @param {Record<string, any>} fields
   * @returns {Record<string, unknown> | undefined}
   */
  #act(connection, action, { channelId, ...fields }) {
    const { userId } = connection;
    switch (action) {
      case "ping": {
        const channels = [...connection.channels];
        const heads = Object.fromEntries(channels.map((channel) => [channel.channelId, channel.lastSeq]));
        return fields.heads ? { type: "pong", heads } : { type: "pong" };
      }
      case "authenticate": {
        const bearer = userOf(fields.token);
        if (bearer?.userId !== userId) throw new Refusal(401, "Not a valid token of this user.");
        connection.expiresAt = bearer.expiresAt;
        return { type: "ack", expiresAt: new Date(bearer.expiresAt).toISOString() };
      }
    }
    const channel = this.#channelOf(channelId, userId);
    switch (action) {
      case "subscribe":
        return this.#subscribe(connection, channel, fields.after);
      case "unsubscribe":
        channel.connections.delete(connection);
        connection.channels.delete(channel);
        return { type: "ack", channelId };
      case "sync":
        return { type: "sync", channelId, ...channel.page(fields.after, fields.limit ?? 50) };
      case "sendmessage": {
        const { event, duplicate } = channel.post(userId, fields);
        return { type: "ack", channelId, seq: event.seq, duplicate };
      }
      case "typing":
        channel.broadcast({ type: "typing", channelId, userId, typing: fields.typing }, connection);
        return undefined;
      case "read":
        channel.readSeqs.set(userId, fields.seq);
        channel.broadcast({ type: "read", channelId, userId, seq: fields.seq }, connection);
        return { type: "ack", channelId, seq: fields.seq };
      case "cancel":
        channel.cancel(fields.replyTo, userId);
        return { type: "ack", channelId };
      case "decide": {
        const event = channel.decide(userId, fields.callId, /** @type {any} */ (fields));
        return { type: "ack", channelId, seq: event.seq, event };
      }
      default:
        throw new Refusal(404, "There is no such action.");
    }
  }

  /**
   * @param {Connection} connection
   * @param {FakeChannel} channel
   * @param {number | undefined} after
   */
  #subscribe(connection, channel, after) {
    const { channelId } = channel;
    const { items, lastSeq, hasMore } = channel.page(after ?? channel.lastSeq, MOST_REPLAYED);
    for (let start = 0; start < items.length; start += 100) {
      connection.send({ type: "events", events: items.slice(start, start + 100) });
    }
    const isFirst = !channel.online.includes(connection.userId);
    channel.connections.add(connection);
    connection.channels.add(channel);
    if (isFirst) this.#tellPresence(channel, connection.userId, true);
    for (const reply of channel.replies) reply.greet(connection);
    const through = items.at(-1)?.seq ?? lastSeq;
    return {
      type: "ack",
      channelId,
      online: channel.online,
      ...(after !== undefined && { through, hasMore }),
    };
  }

  /**
   * @param {FakeChannel} channel
   * @param {string} userId
   * @param {boolean} online
   */
  #tellPresence(channel, userId, online) {
    if (!online && channel.online.includes(userId)) return;
    channel.broadcast({ type: "presence", channelId: channel.channelId, userId, online });
  }

  /**
   * @param {IncomingMessage} request
   * @param {ServerResponse} response
   */
  async #serve(request, response) {
    let body = "";
    for await (const piece of request) body += piece;
    const url = new URL(request.url ?? "", "http://x");
    try {
      const method = request.method ?? "GET";
      this.#note(`${method} ${url.pathname}`);
      const bearer = userOf(request.headers.authorization?.replace("Bearer ", ""));
      if (bearer === undefined) throw new Refusal(401, "A valid token is needed.");
      const parsed = body === "" ? {} : JSON.parse(body);
      const [status, answer] = this.#operate(method, url, parsed, bearer);
      response.writeHead(status, { "content-type": "application/json" });
      response.end(answer === undefined ? "" : JSON.stringify(answer));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      /** @type {Record<string, string>} */
      const headers = { "content-type": "application/problem+json" };
      if (error.status === 429) headers["retry-after"] = "0";
      response.writeHead(error.status, headers);
      response.end(JSON.stringify(problem(error)));
    }
  }

  /**
   * @param {string} method
   * @param {URL} url
   * @param {Record<string, any>} body
   * @param {{userId: string, expiresAt: number}} bearer
   * @returns {[number, unknown?]}
   */
  #operate(method, url, body, bearer) {
    const { userId } = bearer;
    const [, , root, channelId = "", kind = "", id = "", verb = ""] = url.pathname
      .split("/")
      .map(decodeURIComponent);
    if (root === "tools") return [200, { items: this.tools }];
    if (root === "me") return [200, { userId, name: userId }];
    if (root === "tickets") {
      this.#made += 1;
      const ticket = `ticket${this.#made}`;
      this.#tickets.set(ticket, bearer);
      return [201, { ticket, expiresIn: 60 }];
    }
    if (root === "channels" && channelId === "") {
      if (method === "POST") {
        const channel = this.createChannel({ ...body, owner: userId });
        return [201, channel.asSeenBy(userId)];
      }
      const mine = [...this.channels.values()].filter(({ members }) => members.has(userId));
      return [200, { items: mine.map((channel) => channel.asSeenBy(userId)), nextCursor: null }];
    }
    const channel = this.#channelOf(channelId, userId);
    const query = (/** @type {string} */ name) => {
      const value = url.searchParams.get(name);
      return value === null ? undefined : Number(value);
    };
    switch (`${method} ${kind} ${verb}`.trim()) {
      case "GET":
        return [200, channel.asSeenBy(userId)];
      case "POST messages": {
        const { event, duplicate } = channel.post(userId, body);
        return [duplicate ? 200 : 201, event];
      }
      case "GET messages":
        if (id !== "") {
          const message = channel.messages().find(({ seq }) => seq === Number(id));
          if (message === undefined) throw new Refusal(404, "There is no such message.");
          return [200, message];
        }
        return [200, this.#messages(channel, query)];
      case "PATCH messages":
        channel.append("message.edited", userSender(userId), { target: Number(id), text: body.text });
        return [200, channel.messages().find(({ seq }) => seq === Number(id))];
      case "DELETE messages":
        channel.deleteMessage(Number(id), userSender(userId));
        return [204];
      case "POST messages regenerate":
        channel.regenerate(Number(id));
        return [202];
      case "GET generations":
        return [200, { items: channel.generations() }];
      case "POST generations":
        channel.cancel(body.replyTo, userId);
        return [202];
      case "POST tools decision":
        return [200, channel.decide(userId, id, body)];
      case "GET events":
        return [200, channel.page(query("after") ?? 0, query("limit") ?? 50)];
      case "PUT read":
        channel.readSeqs.set(userId, body.seq);
        return [204];
      default:
        throw new Refusal(404, "There is no such thing.");
    }
  }

  /**
   * @param {FakeChannel} channel
   * @param {(name: string) => number | undefined} query
   */
  #messages(channel, query) {
    const limit = query("limit") ?? 50;
    const before = query("before") ?? query("cursor") ?? Number.POSITIVE_INFINITY;
    const after = query("after");
    const all = channel.messages().filter(({ seq }) => seq < before && seq > (after ?? 0));
    const items = after === undefined ? all.slice(-limit) : all.slice(0, limit);
    const first = items[0];
    const nextCursor = items.length < all.length && first ? String(first.seq) : null;
    return { items, nextCursor };
  }
}

/** @param {Refusal} refusal */
function problem({ status, message, fields }) {
  const type = `https://chat.example/problems/${status}`;
  return { type, title: `Status ${status}`, status, detail: message, ...fields };
}

/**
 * A script that says a text word by word.
 *
 * @param {string} text
 * @param {number} [pauseBetween] Milliseconds.
 * @returns {(reply: FakeReply) => Promise<void>}
 */
export function speak(text, pauseBetween = 1) {
  return async (reply) => {
    for (const word of text.match(/\S+\s*/g) ?? []) {
      await sleep(pauseBetween);
      reply.write(word);
    }
    await sleep(pauseBetween);
    reply.finish();
  };
}
