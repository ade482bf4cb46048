import { pause } from "./backoff.js";
import { ChatError, asError, localError } from "./chat-error.js";
import { ReplyFollower } from "./reply-follower.js";
import { RoomMessages } from "./room-messages.js";
import { ToolCalls, mayDecide, ruleOf, stateOf } from "./tool-calls.js";

/**
 * @import { ChannelEnd } from "./channel.js"
 * @import { ReplyListener } from "./reply-follower.js"
 * @import { OpenReply } from "./reply-texts.js"
 * @import { ChatSession } from "./session.js"
 * @import { ToolCall } from "./tool-calls.js"
 * @import { Agent, ChatEvent, Delta, Message } from "./wire.js"
 */

const HISTORY = 100;
/** The newest events in which the calls of that history are looked for; in pages of the most there is. */
const CALLS_WITHIN = 1_000;
const PAGE = 100;
const MENTION = /(?<![\p{L}\p{N}_])@agent(?![\p{L}\p{N}_])/iu;

/** Milliseconds without a sign of a reply, after which the server is asked whether there is one. */
const PATIENCE = 15_000;

/** Milliseconds within which a reply that asks for several calls has said so. */
const SETTLING = 300;

/**
 * One channel as the adapters see it: its newest messages, the replies that are being written, and
 * whoever follows one of them.
 */
export class Room {
  messages = new RoomMessages();
  /** What replies called, and ask to call. */
  calls = new ToolCalls();
  /** @type {Agent | undefined} */
  agent = undefined;
  userId = "";
  isOwner = false;
  /** @type {Set<ReplyFollower>} */
  #followers = new Set();
  /** @type {Set<() => void>} */
  #observers = new Set();
  /** The ids that messages have here, by `seq`. @type {Map<number, string>} */
  #localIds = new Map();
  /** @type {Promise<void> | undefined} */
  #opening = undefined;

  /**
   * @param {ChatSession} session
   * @param {string} channelId
   * @param {{onEnd: () => void, patience?: number, settling?: number}} options
   */
  constructor(session, channelId, { onEnd, patience = PATIENCE, settling = SETTLING }) {
    this.session = session;
    this.channelId = channelId;
    this.onEnd = onEnd;
    this.patience = patience;
    this.settling = settling;
  }

  /** Reads the newest messages and subscribes; once. */
  open() {
    this.#opening ??= this.#open().catch((error) => {
      this.onEnd();
      throw error;
    });
    return this.#opening;
  }

  /** The replies that are being written, or wait. @returns {OpenReply[]} */
  get openReplies() {
    const open = this.session.openReplies(this.channelId);
    const isKnown = (/** @type {ToolCall} */ { target, generation }) =>
      open.some((reply) => reply.replyTo === target && reply.generation === generation);
    for (const call of this.calls.all) {
      const { target: replyTo, generation } = call;
      if (isKnown(call) || this.#hasEnded(replyTo, generation)) continue;
      open.push({ replyTo, generation, index: -1, text: "" });
    }
    return open;
  }

  /** Whether a reply waits for somebody to decide. @param {{replyTo: number, generation: number}} reply */
  isWaiting({ replyTo, generation }) {
    return this.calls.of(replyTo, generation).some((call) => stateOf(call) === "requested");
  }

  /** Whether the user may decide about a call: the server judges. @param {ToolCall} call */
  mayDecide(call) {
    const isRequester = this.messages.get(call.target)?.sender.id === this.userId;
    return stateOf(call) === "requested" && mayDecide(ruleOf(call, this.agent), { isOwner: this.isOwner, isRequester });
  }

  /**
   * Decides about a call as it was shown; where somebody has decided before, his decision stands.
   *
   * @param {string} callId
   * @param {"approve" | "deny"} decision
   * @param {unknown} shown Its arguments.
   */
  async decide(callId, decision, shown) {
    try {
      this.#learn(await this.session.decideTool(this.channelId, callId, decision, { arguments: shown }));
    } catch (error) {
      if (!(error instanceof ChatError && error.problem.decision !== undefined)) throw error;
    }
  }

  /** @param {string} text Whether the agent answers it. */
  isAnswered(text) {
    const mode = this.agent?.mode ?? "always";
    return mode === "always" || (mode === "mention" && MENTION.test(text));
  }

  /**
   * A message keeps the id that it was made with here.
   *
   * @param {number} seq
   * @param {string} id
   */
  keepId(seq, id) {
    this.#localIds.set(seq, id);
    this.changed();
  }

  /** The id of a message here; undefined where it has none of its own. @param {number} seq */
  localId(seq) {
    return this.#localIds.get(seq);
  }

  /** @param {string} id A message's own id. @returns {number | undefined} */
  seqOf(id) {
    for (const [seq, localId] of this.#localIds) {
      if (localId === id) return seq;
    }
    return this.messages.all.find(
      ({ sender, clientMessageId }) => sender.id === this.userId && clientMessageId === id,
    )?.seq;
  }

  /**
   * Calls back after each change of the messages and the replies that are being written.
   *
   * @param {() => void} observer
   * @returns {() => void} Ends it.
   */
  observe(observer) {
    this.#observers.add(observer);
    return () => void this.#observers.delete(observer);
  }

  /**
   * Follows a reply from its beginning, whatever of it is written already, to its end.
   *
   * @param {{replyTo: number, generation: number}} reply
   * @param {ReplyListener} listener
   * @param {string} [told] The text that the listener has already.
   * @returns {() => void} Ends it.
   */
  follow({ replyTo, generation }, listener, told = "") {
    const follower = new ReplyFollower(replyTo, generation, listener, told);
    this.#followers.add(follower);
    const stop = () => {
      follower.stop();
      this.#followers.delete(follower);
    };
    this.#tell(follower);
    if (!follower.hasEnded) void this.#watchOver(follower);
    return stop;
  }

  /**
   * Asks for another reply to the same question.
   *
   * @param {number} replyTo
   * @returns {Promise<{replyTo: number, generation: number}>}
   */
  async regenerate(replyTo) {
    const reply = this.messages.replies(replyTo).at(-1) ?? (await this.#olderReply(replyTo));
    if (reply === undefined) {
      const detail = "There is no reply that could be written anew: send the message again.";
      throw localError("nothing-to-regenerate", detail);
    }
    await this.session.rest.regenerateReply(this.channelId, reply.seq);
    const open = (await this.generations()).find((generation) => generation.replyTo === replyTo);
    const last = Math.max(reply.generation ?? 1, this.messages.lastGeneration(replyTo));
    // What is not among the open ones any more has ended, and was seen to end.
    return { replyTo, generation: open?.generation ?? Math.max(last, (reply.generation ?? 1) + 1) };
  }

  /**
   * The replies that have not ended, those to the user's own questions first, the newest first.
   *
   * @returns {Promise<{replyTo: number, generation: number}[]>}
   */
  async generations() {
    const open = (await this.session.rest.listGenerations(this.channelId)).items;
    const mine = (/** @type {{replyTo: number}} */ { replyTo }) =>
      this.messages.get(replyTo)?.sender.id === this.userId ? 1 : 0;
    return [...open].sort((one, other) => mine(other) - mine(one) || other.replyTo - one.replyTo);
  }

  async #open() {
    const { channelId, session } = this;
    const { rest } = session;
    const [channel, page, me] = await Promise.all([
      rest.getChannel(channelId),
      rest.listMessages(channelId, { limit: HISTORY }),
      rest.getMe(),
    ]);
    this.agent = channel.agent;
    this.isOwner = channel.role === "owner";
    this.userId = me.userId;
    this.messages.load(page.items);
    const calling = this.#readCalls(page.items, channel.lastSeq);
    const subscribed = session.subscribe(channelId, { after: channel.lastSeq });
    session.listen(channelId, {
      event: (event) => this.#receive(event),
      delta: (delta) => this.#receiveDelta(delta),
      ended: (end) => this.#end(end),
    });
    await Promise.all([subscribed, calling]);
  }

  /**
   * The calls of a history's replies: messages do not tell of them, the log does.
   *
   * @param {Message[]} history
   * @param {number} lastSeq
   */
  async #readCalls(history, lastSeq) {
    // Nobody but an agent calls, and none is there before its channel has said what it may call.
    const hasCalled = this.agent?.tools !== undefined || history.some(({ sender }) => sender.kind === "agent");
    let after = Math.max((history[0]?.seq ?? 1) - 1, lastSeq - CALLS_WITHIN);
    while (hasCalled && after < lastSeq) {
      const { items } = await this.session.rest.listEvents(this.channelId, { after, limit: PAGE });
      for (const event of items) this.#learn(event);
      after = items.at(-1)?.seq ?? lastSeq;
    }
  }

  /** @param {ChatEvent} event About a call, or the end of a reply; any other passes by. */
  #learn(event) {
    const { type, data } = event;
    if (type === "agent.failed") this.messages.apply(event);
    if (type === "message.deleted") this.#emptyCalls(data.target ?? 0);
    this.calls.apply(event);
  }

  /** @param {number} seq Of a message that was deleted. */
  #emptyCalls(seq) {
    const { sender, replyTo, generation = 1 } = this.messages.get(seq) ?? {};
    if (sender?.kind !== "agent") this.calls.empty(seq);
    else if (replyTo !== undefined) this.calls.empty(replyTo, generation);
  }

  /** @param {number} replyTo @param {number} generation */
  #hasEnded(replyTo, generation) {
    const { messages } = this;
    return messages.reply(replyTo, generation) !== undefined || messages.failure(replyTo, generation) !== undefined;
  }

  /** @param {ChatEvent} event */
  #receive(event) {
    this.messages.apply(event);
    this.#learn(event);
    if (event.type === "channel.updated" && event.data.agent !== undefined) {
      // It is told as a whole: what is not there was cleared.
      this.agent = /** @type {Agent} */ (event.data.agent);
    }
    if (event.type === "member.updated" && event.data.userId === this.userId) {
      this.isOwner = event.data.role === "owner";
    }
    if (event.sender.id === this.userId && event.clientMessageId !== undefined) {
      this.#localIds.set(event.seq, event.clientMessageId);
    }
    for (const follower of [...this.#followers]) this.#tell(follower);
    this.changed();
  }

  /** @param {Delta} delta */
  #receiveDelta(delta) {
    for (const follower of [...this.#followers]) {
      if (follower.replyTo === delta.replyTo) this.#tell(follower);
    }
    this.changed();
  }

  /** @param {ReplyFollower} follower */
  #tell(follower) {
    const { replyTo, generation } = follower;
    const message = this.messages.reply(replyTo, generation);
    const failure = this.messages.failure(replyTo, generation);
    const open = this.openReplies.find(
      (reply) => reply.replyTo === replyTo && reply.generation === generation,
    );
    if (open !== undefined) follower.show(open.text);
    follower.showCalls(this.calls.of(replyTo, generation));
    if (message !== undefined) follower.end({ kind: "message", message });
    else if (failure !== undefined) follower.end({ kind: "failed", reason: failure.reason });
    if (follower.hasEnded) this.#followers.delete(follower);
  }

  /**
   * Ends the wait for a reply that nobody writes: the channel's agent was switched off meanwhile,
   * say. What is no open reply has ended in the log, or was never begun.
   *
   * @param {ReplyFollower} follower
   */
  async #watchOver(follower) {
    let missed = 0;
    for (let told = follower.text; ; told = follower.text) {
      await pause(this.patience, follower.done).catch(() => {});
      if (follower.hasEnded) return;
      if (follower.text !== told || this.isWaiting(follower)) continue;
      const isOpen = await this.#isOpen(follower);
      missed = isOpen ? 0 : missed + 1;
      if (missed < 2) continue;
      this.#followers.delete(follower);
      follower.end({ kind: "none" });
      return;
    }
  }

  /** @param {ReplyFollower} follower */
  async #isOpen({ replyTo, generation }) {
    if (this.session.state.status !== "open") return true;
    try {
      const open = await this.generations();
      return open.some((each) => each.replyTo === replyTo && each.generation === generation);
    } catch (error) {
      if (error instanceof ChatError) return true; // not known: the wait goes on
      throw error;
    }
  }

  /** @param {number} replyTo */
  async #olderReply(replyTo) {
    const page = await this.session.rest.listMessages(this.channelId, { after: replyTo });
    this.messages.load(page.items);
    return this.messages.replies(replyTo).at(-1);
  }

  /** @param {ChannelEnd} end */
  #end({ reason, error }) {
    const cause = error ?? localError(reason, `The channel has ended here (${reason}).`);
    for (const follower of this.#followers) follower.end({ kind: "gone", error: asError(cause) });
    this.#followers.clear();
    this.onEnd();
  }

  /** Tells whoever observes the room. */
  changed() {
    for (const observer of [...this.#observers]) observer();
  }
}

/** The channels of one session, each opened once. */
export class Rooms {
  /** @type {Map<string, Room>} */
  #rooms = new Map();

  /**
   * @param {ChatSession} session
   * @param {{patience?: number, settling?: number}} [options]
   */
  constructor(session, options = {}) {
    this.session = session;
    this.options = options;
  }

  /**
   * @param {string} channelId
   * @returns {Promise<Room>} When its messages are here and its subscription stands.
   */
  async open(channelId) {
    let room = this.#rooms.get(channelId);
    if (room === undefined) {
      const opened = new Room(this.session, channelId, {
        ...this.options,
        onEnd: () => {
          if (this.#rooms.get(channelId) === opened) this.#rooms.delete(channelId);
        },
      });
      room = opened;
      this.#rooms.set(channelId, room);
    }
    await room.open();
    return room;
  }
}
