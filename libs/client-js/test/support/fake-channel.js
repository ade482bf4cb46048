import { FakeCall, Refusal } from "./fake-call.js";

/**
 * @import {
 *   Agent, ApprovalRule, ChatEvent, FinishReason, Generation, Message, Sender,
 * } from "../../src/wire.js"
 * @import { Connection } from "./fake-server.js"
 */

export { Refusal } from "./fake-call.js";

/** @type {Sender} */
const AGENT = { id: "#agent", name: "Agent", kind: "agent" };

/** @param {string} userId @returns {Sender} */
export function userSender(userId) {
  return { id: userId, name: userId, kind: "user" };
}

/** A reply that a script writes. */
export class FakeReply {
  text = "";
  index = -1;
  isOpen = true;
  isCancelled = false;
  /** @type {(() => void)[]} */
  onCancel = [];

  /**
   * @param {FakeChannel} channel
   * @param {ChatEvent} question
   * @param {number} generation
   */
  constructor(channel, question, generation) {
    this.channel = channel;
    this.question = question;
    this.generation = generation;
    this.startedAt = new Date().toISOString();
    /** @type {Generation["status"]} */
    this.status = "running";
  }

  /** @param {string} text */
  write(text) {
    if (!this.isOpen) return;
    this.index += 1;
    this.text += text;
    this.channel.broadcast(this.#delta(text, false));
  }

  /** Begins anew, as after a model that broke off. @param {string} text */
  restart(text) {
    this.index += 1;
    this.text = text;
    this.channel.broadcast(this.#delta(text, true));
  }

  /**
   * Asks for a call of a tool; the reply waits until it is decided.
   *
   * @param {string} tool
   * @param {Record<string, unknown>} [shown] Its arguments.
   * @param {{approval?: ApprovalRule, expiresAt?: string}} [options]
   */
  ask(tool, shown = {}, { approval = "requester", expiresAt = "2099-01-01T00:00:00.000Z" } = {}) {
    const call = new FakeCall(this, tool, shown, approval);
    if (!this.isOpen) return call.endUntold();
    this.channel.calls.set(call.callId, call);
    if (approval !== "none") this.status = "waiting";
    this.channel.append("tool.requested", AGENT, {
      ...call.place,
      tool,
      arguments: shown,
      approval,
      ...(approval !== "none" && { expiresAt }),
    });
    return call;
  }

  /** @param {Connection} connection */
  greet(connection) {
    if (this.isOpen && this.index >= 0) connection.send(this.#delta(this.text, true));
  }

  /** @param {FinishReason} [finishReason] */
  finish(finishReason = "stop") {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.channel.append("message.created", AGENT, {
      text: this.text,
      replyTo: this.question.seq,
      generation: this.generation,
      finishReason,
      usage: { modelId: "demo", inputTokens: 3, outputTokens: this.text.length },
    });
  }

  /** @param {string} reason */
  fail(reason) {
    if (!this.isOpen) return;
    this.isOpen = false;
    const data = { target: this.question.seq, generation: this.generation, reason };
    this.channel.append("agent.failed", AGENT, data);
  }

  /** @param {Sender} [by] */
  cancel(by = AGENT) {
    if (!this.isOpen || this.isCancelled) return;
    this.isCancelled = true;
    for (const call of this.channel.calls.values()) {
      if (call.reply === this && call.isPending) call.settle("cancelled", by);
    }
    this.finish("cancelled");
    for (const tell of this.onCancel) tell();
  }

  /**
   * @param {string} text
   * @param {boolean} snapshot
   */
  #delta(text, snapshot) {
    const { channel, question, generation, index } = this;
    const { channelId } = channel;
    const delta = { type: "delta", channelId, replyTo: question.seq, generation, index, text };
    return snapshot ? { ...delta, snapshot } : delta;
  }
}

/** A channel as the contract has it. */
export class FakeChannel {
  /** @type {ChatEvent[]} */
  log = [];
  /** @type {Set<string>} */
  members = new Set();
  /** @type {Set<Connection>} */
  connections = new Set();
  /** @type {FakeReply[]} */
  replies = [];
  /** @type {Map<string, FakeCall>} */
  calls = new Map();
  /** @type {Map<string, ChatEvent>} */
  posted = new Map();
  /** @type {Map<string, number>} */
  readSeqs = new Map();
  isDeleted = false;
  /** Pushes of these events get lost. @type {Set<number>} */
  lostPushes = new Set();

  /**
   * @param {string} channelId
   * @param {object} options
   * @param {string} options.owner
   * @param {string} options.name
   * @param {string[]} options.members
   * @param {Partial<Agent>} options.agent
   * @param {(reply: FakeReply) => Promise<void>} options.script
   */
  constructor(channelId, { owner, name, members, agent, script }) {
    this.channelId = channelId;
    this.name = name;
    this.owner = owner;
    this.agent = { mode: "always", modelId: "demo", ...agent };
    this.members = new Set([owner, ...members]);
    this.script = script;
    this.createdAt = new Date().toISOString();
  }

  get lastSeq() {
    return this.log.length;
  }

  /**
   * @param {string} userId
   * @param {{text?: unknown, clientMessageId?: string, replyTo?: number, metadata?: Record<string, unknown>}} message
   */
  post(userId, { text, clientMessageId, replyTo, metadata }) {
    if (typeof text !== "string" || text === "") throw new Refusal(422, "text: it is missing");
    if ([...text].length > 16_000) throw new Refusal(413, "text: at most 16,000 characters");
    const key = `${userId}/${clientMessageId}`;
    const first = clientMessageId === undefined ? undefined : this.posted.get(key);
    if (first !== undefined) {
      if (first.data.text !== text) throw new Refusal(409, "clientMessageId: used for another text");
      return { event: first, duplicate: true };
    }
    const data = { text, ...(replyTo && { replyTo }), ...(metadata && { metadata }) };
    const event = this.append("message.created", userSender(userId), data, clientMessageId);
    if (clientMessageId !== undefined) this.posted.set(key, event);
    if (this.agent.mode === "always") this.answer(event);
    return { event, duplicate: false };
  }

  /**
   * @param {string} type
   * @param {Sender} sender
   * @param {ChatEvent["data"]} data
   * @param {string} [clientMessageId]
   */
  append(type, sender, data, clientMessageId) {
    /** @type {ChatEvent} */
    const event = {
      channelId: this.channelId,
      seq: this.lastSeq + 1,
      type,
      createdAt: new Date().toISOString(),
      sender,
      ...(clientMessageId && { clientMessageId }),
      data,
    };
    this.log.push(event);
    if (!this.lostPushes.has(event.seq)) this.broadcast({ type: "events", events: [event] });
    return event;
  }

  /** @param {ChatEvent} question */
  answer(question) {
    const earlier = this.replies.filter((reply) => reply.question === question).length;
    const reply = new FakeReply(this, question, earlier + 1);
    this.replies.push(reply);
    void this.script(reply);
    return reply;
  }

  /** @param {number} seq */
  regenerate(seq) {
    const message = this.log[seq - 1];
    if (message?.type !== "message.created") throw new Refusal(404, "There is no such message.");
    if (message.sender.kind !== "agent") throw new Refusal(422, "seq: not the agent's");
    const question = this.log[Number(message.data.replyTo) - 1];
    if (this.replies.some((reply) => reply.isOpen && reply.question === question)) {
      throw new Refusal(409, "A reply to it is being written.");
    }
    if (question !== undefined) this.answer(question);
  }

  /** @param {number | undefined} replyTo @param {string} userId Who cancels. */
  cancel(replyTo, userId) {
    for (const reply of this.replies) {
      if (replyTo === undefined || reply.question.seq === replyTo) reply.cancel(userSender(userId));
    }
  }

  /**
   * @param {string} userId
   * @param {string} callId
   * @param {{decision?: unknown, argumentsDigest?: string}} request
   */
  decide(userId, callId, request) {
    const call = this.calls.get(callId);
    if (call === undefined) throw new Refusal(404, "There is no such call.");
    return call.decide(userId, request);
  }

  /** @returns {Generation[]} */
  generations() {
    return this.replies
      .filter((reply) => reply.isOpen)
      .map(({ question, generation, status, startedAt }) => ({
        replyTo: question.seq,
        generation,
        status,
        startedAt,
      }));
  }

  /**
   * @param {number} after
   * @param {number} limit
   */
  page(after, limit) {
    const items = this.log.slice(after, after + limit);
    const through = items.at(-1)?.seq ?? after;
    return { items, lastSeq: this.lastSeq, hasMore: this.lastSeq > through };
  }

  /** @returns {Message[]} */
  messages() {
    /** @type {Map<number, Message>} */
    const messages = new Map();
    for (const { seq, type, createdAt, sender, data } of this.log) {
      const target = messages.get(Number(data.target));
      if (type === "message.created") {
        const { text = "", replyTo, metadata, generation, finishReason, usage } = data;
        /** @type {Message} */
        const message = { channelId: this.channelId, seq, createdAt, sender, text, reactions: {} };
        const optional = { replyTo, metadata, generation, finishReason, usage };
        messages.set(seq, Object.assign(message, JSON.parse(JSON.stringify(optional))));
      } else if (type === "message.edited" && target !== undefined) {
        Object.assign(target, { text: data.text, editedAt: createdAt });
      } else if (type === "message.deleted" && target !== undefined) {
        Object.assign(target, { text: "", deletedAt: createdAt });
      }
    }
    return [...messages.values()];
  }

  /**
   * @param {number} seq
   * @param {Sender} sender
   */
  deleteMessage(seq, sender) {
    const event = this.log[seq - 1];
    if (event?.type !== "message.created") throw new Refusal(404, "There is no such message.");
    this.log[seq - 1] = { ...event, data: { ...event.data, text: "", redacted: true } };
    const { replyTo = seq, generation } = event.data;
    for (const call of this.calls.values()) {
      const isOf = call.place.target === replyTo && (generation ?? call.place.generation) === call.place.generation;
      if (isOf) this.#empty(call.callId);
    }
    this.append("message.deleted", sender, { target: seq });
  }

  /** @param {string} callId */
  #empty(callId) {
    this.log = this.log.map((event) => {
      const { type, data } = event;
      if (data.callId !== callId || type === "tool.decided") return event;
      const emptied = type === "tool.requested" ? { arguments: {} } : { result: "" };
      return { ...event, data: { ...data, ...emptied, redacted: true } };
    });
  }

  /** @param {string} userId */
  removeMember(userId) {
    this.members.delete(userId);
    this.append("member.left", userSender(userId), { userId });
    for (const connection of [...this.connections]) {
      if (connection.userId !== userId) continue;
      this.connections.delete(connection);
      connection.send({ type: "unsubscribed", channelId: this.channelId, reason: "removed" });
    }
  }

  delete() {
    this.append("channel.deleted", userSender(this.owner), {});
    this.isDeleted = true;
    for (const connection of this.connections) {
      connection.send({ type: "unsubscribed", channelId: this.channelId, reason: "deleted" });
    }
    this.connections.clear();
  }

  /** @param {Record<string, unknown>} frame @param {Connection} [except] */
  broadcast(frame, except) {
    for (const connection of this.connections) {
      if (connection !== except) connection.send(frame);
    }
  }

  get online() {
    return [...new Set([...this.connections].map(({ userId }) => userId))];
  }

  /** @param {string} userId */
  asSeenBy(userId) {
    const { channelId, name, createdAt, owner, members, lastSeq, agent } = this;
    const readSeq = this.readSeqs.get(userId) ?? 0;
    return {
      channelId,
      name,
      createdAt,
      createdBy: owner,
      role: userId === owner ? "owner" : "member",
      memberCount: members.size,
      lastSeq,
      readSeq,
      unreadCount: lastSeq - readSeq,
      agent,
    };
  }
}
