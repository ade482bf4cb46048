import { pause } from "./backoff.js";
import { ChatError, asError, localError } from "./chat-error.js";
import { ReplyEvents, RunEvents, endRun, interruptOf } from "./agui-events.js";
import { aguiMessages, contentText } from "./agui-messages.js";
import { mergeRoom, postedSeq, replyId, replyOfId } from "./room-list.js";

/**
 * @import { Message, RunAgentInput } from "@ag-ui/client"
 * @import { Emit } from "./agui-events.js"
 * @import { ReplyEnd } from "./reply-follower.js"
 * @import { Room, Rooms } from "./room.js"
 * @import { ToolCall } from "./tool-calls.js"
 */

/** Milliseconds that the end of a reply is waited for after it was cancelled. */
const CANCEL_PATIENCE = 5_000;

/** What runs share: their events, their messages, the replies that they tell. */
class RoomRun {
  /** @type {Set<ReplyEvents>} */
  #telling = new Set();
  /** @type {(() => void)[]} */
  #stops = [];
  #over = new AbortController();
  /** @type {Room | undefined} */
  room = undefined;

  /**
   * @param {RunAgentInput} input
   * @param {{rooms: Rooms, emit: Emit, complete: () => void}} options
   */
  constructor(input, { rooms, emit, complete }) {
    this.input = input;
    this.rooms = rooms;
    this.messages = input.messages;
    this.emit = emit;
    this.complete = complete;
    this.events = new RunEvents(input, emit);
  }

  /** Aborted when nothing more is told. */
  get over() {
    return this.#over.signal;
  }

  /** Tells the run from its start to its end. */
  async tell() {
    this.events.start();
    try {
      this.room = await this.rooms.open(this.input.threadId);
      await this.act(this.room);
    } catch (failure) {
      const error = asError(failure);
      this.closeMessages();
      this.events.fail(error.message, error instanceof ChatError ? error.code : "internal");
    }
    if (this.events.isOver) this.end();
  }

  /**
   * @param {Room} _room
   * @returns {Promise<void>}
   */
  async act(_room) {
    throw new TypeError("A kind of run says what it does.");
  }

  /**
   * Tells a reply, and what is to be done when it has ended.
   *
   * @param {Room} room
   * @param {{replyTo: number, generation: number}} reply
   * @param {(end: ReplyEnd) => void} onEnd
   * @param {(pending: readonly ToolCall[]) => void} onWaiting When nothing more is told until
   *   somebody decides about these; or not again, with none.
   */
  follow(room, reply, onEnd, onWaiting) {
    if (this.over.aborted) return;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let pausing;
    this.#stops.push(() => clearTimeout(pausing));
    const telling = new ReplyEvents(reply, {
      emit: this.emit,
      onRewritten: () => this.snapshot(room),
      onWaiting: (pending) => {
        clearTimeout(pausing);
        if (pending.length === 0) onWaiting(pending);
        else pausing = setTimeout(() => onWaiting(pending), room.settling);
      },
      onEnd: (end) => {
        clearTimeout(pausing);
        this.messages = this.#shown();
        this.#telling.delete(telling);
        if (!this.events.isOver) onEnd(end);
      },
    });
    this.#telling.add(telling);
    this.#stops.push(room.follow(reply, telling));
  }

  /**
   * Tells all messages as they stand; those that are being told as far as they are told.
   *
   * @param {Room} room
   * @param {Iterable<string>} [toBeTold] Ids of replies that are told from their beginning after it.
   */
  snapshot(room, toBeTold = []) {
    const told = [...this.#telling].map(({ messageId }) => messageId);
    const streaming = new Set([...told, ...toBeTold]);
    const settled = mergeRoom(this.messages, room, aguiMessages, streaming);
    const isTold = (/** @type {Message} */ item) => {
      const reply = replyOfId(item.id) ?? aguiMessages.replyOf?.(item, room);
      return reply !== undefined && streaming.has(replyId(reply));
    };
    const messages = [...settled.filter((item) => !isTold(item)), ...this.#begun()];
    const shown = this.#shown();
    // A snapshot changes no order: what is in another place is taken out before it.
    if (!isOrderKept(shown, messages)) {
      this.events.snapshot(messages.slice(0, commonBeginning(shown, messages)));
    }
    this.messages = messages;
    this.events.snapshot(messages);
  }

  /** The messages that are being told, as far as they are told. */
  #begun() {
    return [...this.#telling].flatMap(({ messages }) => messages);
  }

  /** The messages as whoever applies the events has them. */
  #shown() {
    const begun = this.#begun();
    const ids = new Set(begun.map(({ id }) => id));
    return [...this.messages.filter(({ id }) => !ids.has(id)), ...begun];
  }

  /**
   * Ends the run where its replies wait: with what its user may decide, or else as it stands.
   *
   * @param {Room} room
   * @param {readonly ToolCall[]} pending
   */
  pause(room, pending) {
    const ours = pending.filter((call) => room.mayDecide(call));
    this.messages = this.#shown();
    this.closeMessages();
    if (ours.length > 0) this.events.interrupt(ours.map(interruptOf));
    else this.events.finish();
    this.end();
  }

  closeMessages() {
    for (const telling of this.#telling) telling.close();
    this.#telling.clear();
  }

  /** Tells nothing more. */
  end() {
    this.#over.abort();
    for (const stop of this.#stops.splice(0)) stop();
    this.complete();
  }
}

/** Posts what the user said, or asks for another reply, and tells the reply. */
export class AskingRun extends RoomRun {
  /** The question whose reply is told. @type {number | undefined} */
  #asked = undefined;
  #isAborted = false;

  /** Ends the reply for everybody. */
  abort() {
    if (this.#isAborted || this.events.isOver) return;
    this.#isAborted = true;
    if (this.#asked === undefined) this.#finishCancelled();
    else void this.#cancel(this.#asked);
  }

  /** @param {Room} room @override */
  async act(room) {
    if (this.#isAborted) return;
    const unposted = unpostedMessages(this.messages, room);
    if (unposted.length > 0) this.snapshot(room);
    const decided = await this.#decide(room);
    const reply = unposted.length > 0 ? await this.#post(room, unposted) : (decided ?? (await this.#again(room)));
    if (unposted.length === 0) this.snapshot(room, reply && [replyId(reply)]);
    if (reply === undefined) {
      if (!this.#isAborted) this.snapshot(room);
      this.events.finish();
      return;
    }
    this.#asked = reply.replyTo;
    if (this.#isAborted) {
      await this.#cancel(reply.replyTo);
      return;
    }
    this.follow(room, reply, (end) => {
      if (end.kind === "message") this.snapshot(room);
      endRun(this.events, end);
      this.end();
    }, (pending) => {
      if (pending.length > 0) this.pause(room, pending);
    });
  }

  /**
   * Answers to interrupts are the user's decisions; one that he cancelled leaves the call to others.
   *
   * @param {Room} room
   * @returns {Promise<{replyTo: number, generation: number} | undefined>} The reply that goes on.
   */
  async #decide(room) {
    let reply;
    for (const { interruptId, status, payload } of this.input.resume ?? []) {
      const call = room.calls.get(interruptId);
      if (call === undefined || status !== "resolved") continue;
      if (typeof payload?.approved !== "boolean") {
        throw localError("bad-answer", "An answer to an interrupt says whether the call is approved: {approved: true}.");
      }
      await room.decide(call.callId, payload.approved ? "approve" : "deny", call.arguments);
      reply = { replyTo: call.target, generation: call.generation };
    }
    return reply;
  }

  /**
   * @param {Room} room
   * @param {Message[]} messages
   */
  async #post(room, messages) {
    let replyTo = 0;
    let text = "";
    for (const message of messages) {
      text = contentText(message);
      replyTo = await room.session.send(room.channelId, text, { clientMessageId: message.id });
      room.keepId(replyTo, message.id);
    }
    return room.isAnswered(text) ? { replyTo, generation: 1 } : undefined;
  }

  /**
   * The last message of the user is there already: its reply that is being written, or another one.
   *
   * @param {Room} room
   */
  async #again(room) {
    if (this.input.resume !== undefined) return undefined;
    const last = this.messages.findLast(({ role }) => role === "user");
    const replyTo = last && postedSeq(room, last.id);
    if (last === undefined || replyTo === undefined) return undefined;
    const open = (await room.generations()).find((generation) => generation.replyTo === replyTo);
    if (open !== undefined) return open;
    const isUnanswered = room.messages.lastGeneration(replyTo) === 0;
    return isUnanswered && !room.isAnswered(contentText(last)) ? undefined : room.regenerate(replyTo);
  }

  /** @param {number} replyTo */
  async #cancel(replyTo) {
    const { channelId, session } = /** @type {Room} */ (this.room);
    try {
      await session.cancel(channelId, { replyTo });
      await pause(CANCEL_PATIENCE, this.over);
    } catch {
      // It could not be told to the server; here the run has ended all the same.
    }
    this.#finishCancelled();
  }

  #finishCancelled() {
    if (this.events.isOver) return;
    this.closeMessages();
    this.events.finish({ wasCancelled: true });
    this.end();
  }
}

/** Tells the room's messages, and the replies that are being written until they end. */
export class WatchingRun extends RoomRun {
  /** @param {Room} room @override */
  async act(room) {
    const open = await room.generations();
    /** @type {ReplyEnd | undefined} */
    let failed;
    /** What is pending in those that are not over, by reply. @type {Map<string, readonly ToolCall[]>} */
    const left = new Map(open.map((reply) => [replyId(reply), []]));
    const look = () => {
      const pending = [...left.values()];
      if (pending.some((calls) => calls.length === 0)) return;
      if (failed !== undefined) endRun(this.events, failed);
      else if (pending.length > 0) this.pause(room, pending.flat());
      else {
        this.snapshot(room);
        this.events.finish();
      }
      this.end();
    };
    this.snapshot(room, open.map(replyId));
    for (const reply of open) {
      const onEnd = (/** @type {ReplyEnd} */ end) => {
        if (end.kind === "gone") failed = end;
        left.delete(replyId(reply));
        look();
      };
      this.follow(room, reply, onEnd, (pending) => {
        left.set(replyId(reply), pending);
        look();
      });
    }
    if (open.length === 0) look();
  }
}

/**
 * @param {Message[]} before
 * @param {Message[]} after
 */
function commonBeginning(before, after) {
  const different = after.findIndex(({ id }, index) => before[index]?.id !== id);
  return different === -1 ? after.length : different;
}

/**
 * Whether those messages that stay are in the same order, before those that are new.
 *
 * @param {Message[]} before
 * @param {Message[]} after
 */
function isOrderKept(before, after) {
  const remaining = new Set(after.map(({ id }) => id));
  const staying = before.filter(({ id }) => remaining.has(id));
  return staying.every(({ id }, index) => after[index]?.id === id);
}

/**
 * What the user said after the last message that the room knows.
 *
 * @param {Message[]} messages
 * @param {Room} room
 */
function unpostedMessages(messages, room) {
  const known = messages.findLastIndex(({ id }) => postedSeq(room, id) !== undefined);
  const unposted = messages.slice(known + 1).filter(({ role }) => role === "user");
  const media = unposted.find(
    ({ content }) => Array.isArray(content) && content.some(({ type }) => type !== "text"),
  );
  if (media !== undefined) throw localError("not-supported", "Only text can be sent.");
  return unposted;
}
