import { endedReply } from "./reply-texts.js";

/** @import { ChatEvent, Message } from "./wire.js" */

const MOST_FAILURES = 200;

/**
 * A message, and the id that its sender gave it where that is known.
 *
 * @typedef {Message & {clientMessageId?: string}} RoomMessage
 */

/**
 * A reply that came to nothing.
 *
 * @typedef {{seq: number, replyTo: number, generation: number, reason: string}} Failure
 */

/**
 * A channel's messages as its events leave them. Pure. An event that is applied again changes
 * nothing, so that a page of messages and the events after it may overlap.
 */
export class RoomMessages {
  /** @type {Map<number, RoomMessage>} */
  #messages = new Map();
  /** @type {Map<string, Failure>} */
  #failures = new Map();

  /** Ascending by `seq`. @returns {RoomMessage[]} */
  get all() {
    return [...this.#messages.values()].sort((one, other) => one.seq - other.seq);
  }

  /** @param {Message[]} messages */
  load(messages) {
    for (const message of messages) {
      const { clientMessageId } = this.#messages.get(message.seq) ?? {};
      this.#messages.set(message.seq, { ...message, ...(clientMessageId && { clientMessageId }) });
    }
  }

  /** @param {number} seq */
  get(seq) {
    return this.#messages.get(seq);
  }

  /** @param {number} replyTo @returns {RoomMessage[]} The agent's messages to a question, the newest last. */
  replies(replyTo) {
    return this.all
      .filter(({ sender, replyTo: question }) => sender.kind === "agent" && question === replyTo)
      .sort((one, other) => (one.generation ?? 1) - (other.generation ?? 1));
  }

  /**
   * @param {number} replyTo
   * @param {number} generation
   */
  reply(replyTo, generation) {
    return this.replies(replyTo).find((message) => (message.generation ?? 1) === generation);
  }

  /**
   * @param {number} replyTo
   * @param {number} generation
   */
  failure(replyTo, generation) {
    return this.#failures.get(`${replyTo}/${generation}`);
  }

  /** The last generation of a reply that has ended; 0 where there is none. @param {number} replyTo */
  lastGeneration(replyTo) {
    const generations = this.replies(replyTo).map(({ generation }) => generation ?? 1);
    const failed = [...this.#failures.values()].filter((failure) => failure.replyTo === replyTo);
    return Math.max(0, ...generations, ...failed.map(({ generation }) => generation));
  }

  /** @param {ChatEvent} event */
  apply(event) {
    const { type, data, seq, createdAt } = event;
    const target = this.#messages.get(data.target ?? 0);
    if (type === "message.created") {
      if (!this.#messages.has(seq)) this.#messages.set(seq, messageOf(event));
      const message = this.#messages.get(seq);
      if (message !== undefined && event.clientMessageId !== undefined) {
        message.clientMessageId = event.clientMessageId;
      }
    } else if (type === "agent.failed") {
      this.#fail(event);
    } else if (target === undefined) {
      // About a message from before the history that is held here, or no message at all.
    } else if (type === "message.edited" && target.deletedAt === undefined) {
      this.#change(target, { text: data.text ?? "", editedAt: createdAt });
    } else if (type === "message.deleted") {
      this.#change(target, { text: "", deletedAt: createdAt, reactions: {}, metadata: undefined });
    } else if (type === "reaction.added" || type === "reaction.removed") {
      this.#react(target, event);
    }
  }

  /** @param {ChatEvent} event */
  #fail(event) {
    const ended = endedReply(event);
    if (ended === undefined) return;
    const { replyTo, generation } = ended;
    const reason = event.data.reason ?? "model_error";
    this.#failures.set(`${replyTo}/${generation}`, { seq: event.seq, replyTo, generation, reason });
    for (const key of this.#failures.keys()) {
      if (this.#failures.size <= MOST_FAILURES) break;
      this.#failures.delete(key);
    }
  }

  /**
   * @param {RoomMessage} message
   * @param {ChatEvent} event
   */
  #react(message, { type, sender, data }) {
    const emoji = data.emoji ?? "";
    const others = (message.reactions[emoji] ?? []).filter((userId) => userId !== sender.id);
    const users = type === "reaction.added" ? [...others, sender.id] : others;
    const { [emoji]: _, ...reactions } = message.reactions;
    this.#change(message, {
      reactions: users.length > 0 ? { ...reactions, [emoji]: users } : reactions,
    });
  }

  /**
   * @param {RoomMessage} message
   * @param {Partial<RoomMessage>} changes
   */
  #change(message, changes) {
    this.#messages.set(message.seq, { ...message, ...changes });
  }
}

/**
 * @param {ChatEvent} event
 * @returns {RoomMessage}
 */
function messageOf({ channelId, seq, createdAt, sender, clientMessageId, data }) {
  const { text = "", redacted, replyTo, metadata, generation, finishReason, usage } = data;
  return {
    channelId,
    seq,
    createdAt,
    sender,
    text,
    reactions: {},
    ...(redacted && { deletedAt: createdAt }),
    ...(replyTo !== undefined && { replyTo }),
    ...(metadata !== undefined && { metadata }),
    ...(generation !== undefined && { generation }),
    ...(finishReason !== undefined && { finishReason }),
    ...(usage !== undefined && { usage }),
    ...(clientMessageId !== undefined && { clientMessageId }),
  };
}
