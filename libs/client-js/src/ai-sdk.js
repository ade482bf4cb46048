import { localError } from "./chat-error.js";
import { callsOf, entriesOf, mergeRoom, messageId as idOf, postedSeq, replyId, replyOfId } from "./room-list.js";
import { Rooms } from "./room.js";
import { ChatSession } from "./session.js";
import { UIChunks } from "./ui-chunks.js";
import { textOf, uiMessagesOf } from "./ui-messages.js";
import { UITools } from "./ui-tools.js";

/**
 * @import { ChatRequestOptions, ChatTransport } from "ai"
 * @import { Room } from "./room.js"
 * @import { SessionOptions } from "./session.js"
 * @import { ToolCall } from "./tool-calls.js"
 * @import { ChatChunk } from "./ui-chunks.js"
 */

/** @typedef {import("./ui-messages.js").ChatMetadata} ChatMetadata */
/** @typedef {import("./ui-messages.js").ChatUIMessage} ChatUIMessage */

export { ChatError } from "./chat-error.js";

/**
 * @typedef {object} TransportOptions
 * @property {ChatSession} [session] One that is there already, instead of the URLs and the token; it
 *   stays open when the transport is closed.
 * @property {boolean} [stopOnAbort] Whether `stop()` of the SDK ends the reply for everybody in the
 *   room (the default), or only ceases to show it here. `useChat` calls it also when its component
 *   goes away, unless it was given a `chat`.
 * @property {(error: Error) => void} [onError] What went wrong where no promise tells: ending a reply
 *   after `stop()`, and `watch`. By default `console.warn`.
 * @property {number} [patience] Milliseconds without a sign of a reply, after which the server is
 *   asked whether there is one.
 * @property {number} [settling] Milliseconds that a reply which waits for a decision is watched for
 *   more requests, before its stream ends.
 */

/**
 * Sets a chat's messages: `setMessages` of `useChat`, or
 * `(update) => { chat.messages = update(chat.messages); }`.
 *
 * @typedef {(update: (messages: ChatUIMessage[]) => ChatUIMessage[]) => void} SetMessages
 */

/**
 * A transport for the chats of the AI SDK (`useChat`); a chat's id is the channel's.
 *
 * @implements {ChatTransport<ChatUIMessage>}
 */
export class ChatBackendTransport {
  /** The SDK is told a reply that it resumes from its beginning. */
  resumeStreamIsReplay = true;
  /** Ids of the replies that are being streamed to the SDK, by channel. @type {Map<string, Set<string>>} */
  #streaming = new Map();
  /** The rooms that are open, by channel. @type {Map<string, Room>} */
  #rooms = new Map();
  #tools = new UITools();
  #messages = uiMessagesOf(this.#tools);

  /**
   * Whether the user has answered an approval that the server has not heard of: for the option of the
   * same name of a chat, so that `addToolApprovalResponse` sends at once.
   *
   * @param {{messages: ChatUIMessage[]}} chat
   */
  sendAutomaticallyWhen = ({ messages }) => {
    const rooms = [...this.#rooms.values()];
    return messages.some((message) => rooms.some((room) => this.#tools.answers(room, message).length > 0));
  };

  /** @param {TransportOptions & (SessionOptions | {session: ChatSession})} options */
  constructor(options) {
    this.ownsSession = options.session === undefined;
    /** @type {ChatSession} */
    this.session = options.session ?? new ChatSession(/** @type {SessionOptions} */ (options));
    this.stopOnAbort = options.stopOnAbort ?? true;
    this.onError = options.onError ?? ((error) => console.warn(error));
    this.rooms = new Rooms(this.session, { patience: options.patience, settling: options.settling });
  }

  /**
   * Posts the last message, or asks for another reply, and streams the reply. Of a reply's message
   * (`addToolApprovalResponse`, then `sendMessage()`) what the user has answered about its calls is
   * decided, in his name, and the reply streams on.
   *
   * The message's `id` is the `clientMessageId`: the same message again is posted once. `body` may
   * say `replyTo` (a `seq`); `metadata` becomes the message's.
   *
   * @param {{
   *   trigger: "submit-message" | "regenerate-message",
   *   chatId: string,
   *   messageId: string | undefined,
   *   messages: ChatUIMessage[],
   *   abortSignal: AbortSignal | undefined,
   * } & ChatRequestOptions} options
   * @returns {Promise<ReadableStream<ChatChunk>>} Empty where the agent does not answer the message.
   */
  async sendMessages({ trigger, chatId, messageId, messages, abortSignal, body, metadata }) {
    const room = await unlessAborted(this.#open(chatId), abortSignal);
    if (trigger === "regenerate-message") {
      const replyTo = questionOf(room, messageId, messages);
      return this.#stream(room, await room.regenerate(replyTo), abortSignal);
    }
    const message = messages.find(({ id }) => id === messageId) ?? messages.at(-1);
    const reply = message && replyOfId(message.id);
    if (message?.role === "assistant" && reply !== undefined) {
      return this.#decide(room, reply, message, abortSignal);
    }
    if (message?.role !== "user") {
      throw localError("not-supported", "Only a message of the user can be sent.");
    }
    const edited = messageId === undefined ? undefined : postedSeq(room, message.id);
    if (edited !== undefined) return this.#edit(room, edited, textOf(message), abortSignal);
    return this.#post(room, message, { body, metadata, abortSignal });
  }

  /**
   * Streams a reply that is being written, from its beginning: to the newest of the user's questions,
   * or else to anybody's.
   *
   * @param {{chatId: string, abortSignal?: AbortSignal} & ChatRequestOptions} options
   * @returns {Promise<ReadableStream<ChatChunk> | null>} Null where none is being written.
   */
  async reconnectToStream({ chatId, abortSignal }) {
    const room = await unlessAborted(this.#open(chatId), abortSignal);
    const [open] = await unlessAborted(room.generations(), abortSignal);
    return open === undefined ? null : this.#stream(room, open, abortSignal);
  }

  /**
   * The channel's history as UI messages, oldest first: the newest, or those before a `seq`.
   *
   * @param {string} chatId
   * @param {{before?: number, limit?: number}} [options]
   * @returns {Promise<ChatUIMessage[]>}
   */
  async history(chatId, { before, limit } = {}) {
    const room = await this.#open(chatId);
    if (before === undefined && limit === undefined) {
      return entriesOf(room)
        .filter(({ message, calls }) => message !== undefined || calls.length > 0)
        .map((entry) => this.#messages.make(entry));
    }
    const page = await this.session.rest.listMessages(chatId, { before, limit });
    return page.items
      .filter((message) => message.deletedAt === undefined && !isSuperseded(room, message))
      .map((message) => this.#messages.make({ id: idOf(room, message), message, calls: callsOf(room, message) }));
  }

  /**
   * Keeps a chat's messages as the room's are: what others say, replies to them as they are written,
   * edits, deletions, and the `seq` of one's own.
   *
   * @param {string} chatId
   * @param {SetMessages} setMessages
   * @returns {() => void} Ends it.
   */
  watch(chatId, setMessages) {
    let isOver = false;
    let isDue = false;
    let stop = () => {};
    const watching = async () => {
      const room = await this.#open(chatId);
      if (isOver) return;
      const update = () => {
        isDue = false;
        if (isOver) return;
        setMessages((messages) => mergeRoom(messages, room, this.#messages, this.#streamingOf(chatId)));
      };
      const later = () => {
        if (!isDue) queueMicrotask(update);
        isDue = true;
      };
      stop = room.observe(later);
      later();
    };
    watching().catch(this.onError);
    return () => {
      isOver = true;
      stop();
    };
  }

  /**
   * Ends replies for everybody in the room: to one question, or all up to now.
   *
   * @param {string} chatId
   * @param {{replyTo?: number}} [options]
   */
  stop(chatId, options) {
    return this.session.cancel(chatId, options);
  }

  /** Ends the session, unless it was the application's. */
  close() {
    if (this.ownsSession) this.session.close();
  }

  /** @param {string} channelId */
  async #open(channelId) {
    const room = await this.rooms.open(channelId);
    this.#rooms.set(channelId, room);
    return room;
  }

  /**
   * @param {Room} room
   * @param {{replyTo: number, generation: number}} reply
   * @param {ChatUIMessage} message
   * @param {AbortSignal | undefined} abortSignal
   */
  async #decide(room, reply, message, abortSignal) {
    const known = this.#tools.known(room, message);
    for (const { callId, decision, shown } of this.#tools.answers(room, message)) {
      try {
        await unlessAborted(room.decide(callId, decision, shown), abortSignal);
      } catch (error) {
        this.#tools.refuse(callId);
        throw error;
      } finally {
        room.changed();
      }
    }
    return this.#stream(room, reply, abortSignal, { text: textOf(message), calls: known });
  }

  /**
   * @param {Room} room
   * @param {ChatUIMessage} message
   * @param {{abortSignal: AbortSignal | undefined} & ChatRequestOptions} options
   */
  async #post(room, message, { body, metadata, abortSignal }) {
    if (message.parts.some(({ type }) => type === "file")) {
      throw localError("not-supported", "Files cannot be sent.");
    }
    const text = textOf(message);
    const { replyTo } = /** @type {{replyTo?: number}} */ (body ?? {});
    const posted = this.session.send(room.channelId, text, {
      clientMessageId: message.id,
      replyTo,
      metadata: /** @type {Record<string, unknown> | undefined} */ (metadata),
    });
    // Stopped before it is known whether the message is there: its reply ends as soon as it is.
    const seq = await unlessAborted(posted, abortSignal, () => {
      posted.then((posted) => this.#abort(room, posted), () => {});
    });
    room.keepId(seq, message.id);
    if (!room.isAnswered(text)) return emptyStream();
    return this.#stream(room, { replyTo: seq, generation: 1 }, abortSignal);
  }

  /**
   * @param {Room} room
   * @param {number} seq
   * @param {string} text
   * @param {AbortSignal | undefined} abortSignal
   */
  async #edit(room, seq, text, abortSignal) {
    await this.session.rest.editMessage(room.channelId, seq, { text });
    const isAnswered = room.messages.replies(seq).length > 0;
    return isAnswered ? this.#stream(room, await room.regenerate(seq), abortSignal) : emptyStream();
  }

  /**
   * @param {Room} room
   * @param {{replyTo: number, generation: number}} reply
   * @param {AbortSignal | undefined} abortSignal
   * @param {{text: string, calls: readonly ToolCall[]}} [told] What the SDK has of the reply already.
   * @returns {ReadableStream<ChatChunk>}
   */
  #stream(room, reply, abortSignal, told = { text: "", calls: [] }) {
    const id = replyId(reply);
    const streaming = this.#streamingOf(room.channelId);
    let stopFollowing = () => {};
    let isOver = false;
    /** @type {UIChunks | undefined} */
    let chunks;
    const end = () => {
      chunks?.stop();
      isOver = true;
      streaming.delete(id);
      stopFollowing();
      abortSignal?.removeEventListener("abort", abort);
    };
    /** @type {() => void} */
    let abort = () => {};
    return new ReadableStream({
      start: (controller) => {
        chunks = new UIChunks(
          reply,
          this.#tools,
          (chunk) => controller.enqueue(chunk),
          (error) => {
            end();
            if (error === undefined) controller.close();
            else controller.error(error);
          },
          { known: told.calls, settling: room.settling },
        );
        abort = () => {
          end();
          controller.close();
          this.#abort(room, reply.replyTo);
        };
        streaming.add(id);
        stopFollowing = room.follow(reply, chunks, told.text);
        if (isOver) {
          stopFollowing();
          return;
        }
        if (abortSignal?.aborted) abort();
        else abortSignal?.addEventListener("abort", abort, { once: true });
      },
      cancel: () => {
        const isStopped = abortSignal?.aborted && !isOver;
        end();
        if (isStopped) this.#abort(room, reply.replyTo);
      },
    });
  }

  /**
   * @param {Room} room
   * @param {number} replyTo
   */
  #abort(room, replyTo) {
    if (this.stopOnAbort) this.stop(room.channelId, { replyTo }).catch(this.onError);
  }

  /** @param {string} channelId */
  #streamingOf(channelId) {
    let streaming = this.#streaming.get(channelId);
    if (streaming === undefined) {
      streaming = new Set();
      this.#streaming.set(channelId, streaming);
    }
    return streaming;
  }
}

/**
 * The question whose reply is to be written anew.
 *
 * @param {Room} room
 * @param {string | undefined} messageId The reply's, or the question's; undefined: the reply that
 *   followed the messages.
 * @param {ChatUIMessage[]} messages What is left of the chat before that reply.
 * @returns {number}
 */
function questionOf(room, messageId, messages) {
  const named = messageId === undefined ? undefined : replyOfId(messageId)?.replyTo ?? postedSeq(room, messageId);
  if (named !== undefined) return named;
  const last = Math.max(0, ...messages.map((message) => placeOf(room, message)));
  const replies = room.messages.all.filter(({ sender }) => sender.kind === "agent");
  const next = replies.find(({ seq }) => seq > last) ?? replies.at(-1);
  const lastUser = messages.findLast(({ role }) => role === "user");
  const asked = lastUser && postedSeq(room, lastUser.id);
  const question = next?.replyTo ?? asked;
  if (question === undefined) throw localError("nothing-to-regenerate", "There is no reply yet.");
  return question;
}

/**
 * @param {Room} room
 * @param {ChatUIMessage} message
 */
function placeOf(room, { id, metadata }) {
  const reply = replyOfId(id);
  const written = reply && room.messages.reply(reply.replyTo, reply.generation)?.seq;
  return metadata?.seq ?? written ?? postedSeq(room, id) ?? 0;
}

/**
 * @param {Room} room
 * @param {{replyTo?: number, generation?: number, sender: {kind: string}}} message
 */
function isSuperseded(room, { replyTo, generation = 1, sender }) {
  return sender.kind === "agent" && generation < room.messages.lastGeneration(replyTo ?? 0);
}

/** @returns {ReadableStream<ChatChunk>} */
function emptyStream() {
  return new ReadableStream({ start: (controller) => controller.close() });
}

/**
 * @template Value
 * @param {Promise<Value>} promise
 * @param {AbortSignal | undefined} signal
 * @param {() => void} [onAbort]
 * @returns {Promise<Value>}
 */
async function unlessAborted(promise, signal, onAbort) {
  if (signal === undefined) return promise;
  /** @type {() => void} */
  let abort = () => {};
  const aborted = new Promise((_, reject) => {
    abort = () => {
      onAbort?.();
      reject(signal.reason);
    };
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
  promise.catch(() => {}); // its end is nobody's any more when it was aborted
  try {
    return await /** @type {Promise<Value>} */ (Promise.race([promise, aborted]));
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
