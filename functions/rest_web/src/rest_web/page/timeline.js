import { ToolCalls } from "./tool-calls.js";

/** @import { ChatEvent, Message } from "./wire.js" */

/**
 * Something that happened between messages and is worth a line: who came, what was renamed, why
 * there is no reply.
 *
 * @typedef {{seq: number, createdAt: string, event: ChatEvent}} Notice
 */

const NOTICES = new Set([
  "member.joined",
  "member.left",
  "member.updated",
  "channel.updated",
  "agent.failed",
]);

/**
 * The newest part of a channel, from some message on: pages of history, and the events since.
 * Applying an event twice, or one that a page already shows, changes nothing.
 */
export class Timeline {
  /** @type {Map<number, Message>} */
  #messages = new Map();
  /** @type {Map<number, Notice>} */
  #notices = new Map();
  /** What the agent's replies called, and ask to call. */
  calls = new ToolCalls();
  /** Whether there is anything before the oldest message here. */
  hasOlder = true;
  isLoaded = false;

  /** The first message here; undefined where there is none. */
  get oldest() {
    return this.messages[0]?.seq;
  }

  /** Ascending. */
  get messages() {
    return [...this.#messages.values()].sort(bySeq);
  }

  /** Ascending. */
  get notices() {
    return [...this.#notices.values()].sort(bySeq);
  }

  /** @param {number} seq */
  message(seq) {
    return this.#messages.get(seq);
  }

  /**
   * @param {readonly Message[]} page The newest, or those before the oldest one here.
   * @param {boolean} hasOlder
   */
  load(page, hasOlder) {
    for (const message of page) this.#messages.set(message.seq, message);
    this.hasOlder = hasOlder;
    this.isLoaded = true;
  }

  /** What the server says of one message now. @param {Message} message */
  replace(message) {
    if (this.#messages.has(message.seq)) this.#messages.set(message.seq, message);
  }

  /** Keeps an event that is a notice, or about a call; any other passes by. @param {ChatEvent} event */
  note(event) {
    const { seq, createdAt, type } = event;
    if (NOTICES.has(type)) this.#notices.set(seq, { seq, createdAt, event });
    else this.calls.apply(event);
  }

  /** What is deleted takes the arguments and results of its calls along. @param {number} seq */
  emptyCalls(seq) {
    const { sender, replyTo, generation = 1 } = this.#messages.get(seq) ?? {};
    if (sender?.kind !== "agent") this.calls.empty(seq);
    else if (replyTo !== undefined) this.calls.empty(replyTo, generation);
  }

  /** Types that a newer server knows pass by. @param {ChatEvent} event */
  apply(event) {
    const { data, sender, seq } = event;
    const target = data.target === undefined ? undefined : this.#messages.get(data.target);
    if (event.type === "message.deleted") this.emptyCalls(data.target ?? 0);
    if (event.type === "message.created") {
      if (!this.#messages.has(seq)) this.#messages.set(seq, messageOf(event));
    } else if (NOTICES.has(event.type) || data.callId !== undefined) {
      this.note(event);
    } else if (target === undefined || target.deletedAt !== undefined) {
      return;
    } else if (event.type === "message.edited" && !data.redacted) {
      this.replace({ ...target, text: data.text ?? "", editedAt: event.createdAt });
    } else if (event.type === "message.deleted") {
      this.replace({ ...target, text: "", metadata: undefined, reactions: {}, deletedAt: event.createdAt });
    } else if (event.type === "reaction.added" && data.emoji) {
      this.replace(withReaction(target, data.emoji, sender.id));
    } else if (event.type === "reaction.removed" && data.emoji) {
      this.replace(withoutReaction(target, data.emoji, sender.id));
    }
  }
}

/** @param {{seq: number}} one @param {{seq: number}} other */
function bySeq(one, other) {
  return one.seq - other.seq;
}

/** @param {ChatEvent} event @returns {Message} */
function messageOf({ channelId, seq, createdAt, sender, data }) {
  return {
    channelId,
    seq,
    createdAt,
    sender,
    text: data.text ?? "",
    replyTo: data.replyTo,
    metadata: data.metadata,
    reactions: {},
    generation: data.generation,
    finishReason: data.finishReason,
    usage: data.usage,
    deletedAt: data.redacted ? createdAt : undefined,
  };
}

/**
 * @param {Message} message
 * @param {string} emoji
 * @param {string} userId
 */
export function withReaction(message, emoji, userId) {
  const users = message.reactions[emoji] ?? [];
  if (users.includes(userId)) return message;
  return { ...message, reactions: { ...message.reactions, [emoji]: [...users, userId] } };
}

/**
 * @param {Message} message
 * @param {string} emoji
 * @param {string} userId
 */
export function withoutReaction(message, emoji, userId) {
  const { [emoji]: users = [], ...others } = message.reactions;
  const left = users.filter((each) => each !== userId);
  return { ...message, reactions: left.length > 0 ? { ...message.reactions, [emoji]: left } : others };
}
