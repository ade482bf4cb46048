import { ChatError } from "./chat-error.js";
import { newId } from "./ids.js";
import { Replies, SILENCE } from "./replies.js";
import { Timeline, withoutReaction, withReaction } from "./timeline.js";
import { mayDecide, ruleOf, stateOf } from "./tool-calls.js";

/**
 * @import { Chat } from "./chat.js"
 * @import { Unsent } from "./outbox.js"
 * @import { ToolCall } from "./tool-calls.js"
 * @import { Agent, Channel, ChatEvent, Generation, Member, Message, Tool } from "./wire.js"
 */

const PAGE = 50;
/** A user who typed and says nothing more for so long has stopped. */
const TYPING = 7_000;
const MOST_MEMBER_PAGES = 10;
/** A page of messages with more than so many hundred events in between shows the first ones. */
const MOST_NOTICE_PAGES = 3;
/** Of the events after a question whose reply waits. */
const MOST_CALL_PAGES = 5;

/** One channel: its history as far as it was read, who is there, what is being written and sent. */
export class Room {
  timeline = new Timeline();
  replies = new Replies();
  /** Questions whose reply was told to stop. @type {Set<number>} */
  stopping = new Set();
  /** What we said and cannot see in the log yet, by `clientMessageId`. @type {Map<string, Unsent>} */
  pending = new Map();
  /** Undefined until asked for. @type {Map<string, Member> | undefined} */
  members = undefined;
  /** Where "new" begins: the read mark when the room was entered. @type {number | undefined} */
  newAfter = undefined;
  /** Calls that we are deciding about just now. @type {Map<string, "approve" | "deny">} */
  deciding = new Map();
  isListening = false;
  /** Why history could not be read. @type {string | undefined} */
  failure = undefined;

  /** @type {Map<string, number>} */
  #typing = new Map();
  /** Who asked, where the question itself is not here. @type {Map<number, string>} */
  #askers = new Map();
  /** Events that came while a page was on its way: it may be older than they are. @type {ChatEvent[] | undefined} */
  #meanwhile = undefined;
  /** @type {Promise<void> | undefined} */
  #loading = undefined;

  /**
   * @param {Chat} chat
   * @param {Channel} channel
   */
  constructor(chat, channel) {
    this.chat = chat;
    this.channel = channel;
  }

  get channelId() {
    return this.channel.channelId;
  }

  get activeAt() {
    return Date.parse(this.channel.lastEventAt ?? this.channel.createdAt);
  }

  get isOwner() {
    return this.channel.role === "owner";
  }

  /** Users who are online, ourselves included. */
  get online() {
    return this.isListening ? this.chat.session.online(this.channelId) : new Set();
  }

  /** Users who type now. */
  get typing() {
    const now = Date.now();
    return [...this.#typing].filter(([, until]) => until > now).map(([userId]) => userId);
  }

  get isLoading() {
    return this.#loading !== undefined;
  }

  /** The user who asked a question; undefined where that is not known here. @param {number} seq */
  askerOf(seq) {
    return this.timeline.message(seq)?.sender.id ?? this.#askers.get(seq);
  }

  /** Whether we may decide about a call that waits for it: the server judges. @param {ToolCall} call */
  mayDecide(call) {
    const isRequester = this.askerOf(call.target) === this.chat.me.userId;
    const rule = ruleOf(call, this.channel.agent);
    return stateOf(call) === "requested" && mayDecide(rule, { isOwner: this.isOwner, isRequester });
  }

  // -- what comes

  listen() {
    if (this.isListening) return;
    this.isListening = true;
    const { session } = this.chat;
    session.subscribe(this.channelId, { after: this.channel.lastSeq }).catch(() => {
      // It ended, which is told below, or the session did, which its state tells.
    });
    this.stopListening = session.listen(this.channelId, {
      event: (event) => this.#receive(event),
      delta: (delta) => {
        this.replies.receive(delta);
        this.#changed();
      },
      typing: ({ userId, typing }) => this.#types(userId, typing),
      presence: () => {
        this.chat.observer.channels();
        this.#changed();
      },
      read: ({ userId, seq }) => this.#hasRead(userId, seq),
      live: () => this.#joined(),
      ended: ({ reason }) => {
        this.isListening = false;
        if (reason === "deleted" || reason === "removed") this.chat.leave(this, reason);
      },
    });
  }

  mute() {
    if (!this.isListening) return;
    this.isListening = false;
    this.stopListening?.();
    // What is told meanwhile is missed: the room is read anew when it is entered again.
    this.timeline = new Timeline();
    this.chat.session.unsubscribe(this.channelId).catch(() => {});
  }

  /**
   * What the list says of the channel. While we listen the log knows better what is newest and
   * unread, unless both speak of the same moment.
   *
   * @param {Channel} listed
   */
  update(listed) {
    const { lastSeq, lastEventAt, readSeq, unreadCount } = this.channel;
    const isOther = this.isListening && listed.lastSeq !== lastSeq;
    const isBehind = listed.readSeq < readSeq;
    this.channel = {
      ...listed,
      ...(isOther && { lastSeq, lastEventAt }),
      ...((isOther || isBehind) && { readSeq, unreadCount }),
    };
    this.#changed();
  }

  // -- history

  /** Reads what the room shows first, once. */
  async enter() {
    this.chat.makePlaceFor(this);
    this.newAfter = this.channel.unreadCount > 0 ? this.channel.readSeq : undefined;
    if (!this.timeline.isLoaded) await this.#load({});
    void this.#readReplies();
    if (this.members === undefined) await this.loadMembers().catch(() => {});
  }

  /** Reads the page before the oldest message. */
  async loadOlder() {
    const { oldest } = this.timeline;
    if (oldest !== undefined && this.timeline.hasOlder) await this.#load({ before: oldest });
  }

  /** Reads back until a message is here, or everything is. @param {number} seq */
  async loadBackTo(seq) {
    while (this.timeline.hasOlder && (this.timeline.oldest ?? 0) > seq) {
      await this.loadOlder();
      if (this.failure !== undefined) return;
    }
  }

  async loadMembers() {
    /** @type {Map<string, Member>} */
    const members = new Map();
    /** @type {string | null} */
    let cursor = null;
    for (let page = 0; page < MOST_MEMBER_PAGES; page += 1) {
      const answer = await this.chat.rest.listMembers(this.channelId, { limit: 100, cursor });
      for (const member of answer.items) {
        members.set(member.userId, member);
        if (member.name) this.chat.names.set(member.userId, member.name);
      }
      cursor = answer.nextCursor;
      if (cursor === null) break;
    }
    this.members = members;
    this.#changed();
  }

  // -- what we say and do

  /** @param {string} text @param {number} [replyTo] */
  say(text, replyTo) {
    /** @type {Unsent} */
    const unsent = {
      clientMessageId: newId(),
      channelId: this.channelId,
      text,
      replyTo,
      createdAt: new Date().toISOString(),
    };
    this.chat.outbox.put(unsent);
    this.resume(unsent);
  }

  /** Sends what is in the outbox, again maybe: the same message is posted once. @param {Unsent} unsent */
  resume(unsent) {
    this.pending.set(unsent.clientMessageId, unsent);
    this.#changed();
    if (unsent.refused === undefined) void this.#send(unsent);
  }

  /** @param {Unsent} unsent */
  retry(unsent) {
    const { refused, ...again } = unsent;
    this.chat.outbox.put(again);
    this.resume(again);
  }

  /** @param {Unsent} unsent */
  discard(unsent) {
    this.chat.outbox.remove(unsent.clientMessageId);
    this.pending.delete(unsent.clientMessageId);
    this.#changed();
  }

  /** @param {Message} message @param {string} text */
  async edit(message, text) {
    this.timeline.replace(await this.chat.rest.editMessage(this.channelId, message.seq, { text }));
    this.#changed();
  }

  /** @param {Message} message */
  async remove(message) {
    await this.chat.rest.deleteMessage(this.channelId, message.seq);
    const deletedAt = new Date().toISOString();
    this.timeline.emptyCalls(message.seq);
    this.timeline.replace({ ...message, text: "", reactions: {}, deletedAt });
    this.#changed();
  }

  /** Adds our reaction, or takes it back; shown before it is answered. @param {Message} message @param {string} emoji */
  async toggleReaction(message, emoji) {
    const { userId } = this.chat.me;
    const has = message.reactions[emoji]?.includes(userId);
    const [change, undo] = has ? [withoutReaction, withReaction] : [withReaction, withoutReaction];
    const apply = (/** @type {typeof change} */ one) => {
      const now = this.timeline.message(message.seq);
      if (now !== undefined) this.timeline.replace(one(now, emoji, userId));
      this.#changed();
    };
    apply(change);
    const { rest } = this.chat;
    try {
      if (has) await rest.removeReaction(this.channelId, message.seq, emoji);
      else await rest.addReaction(this.channelId, message.seq, emoji);
    } catch (error) {
      apply(undo);
      throw error;
    }
  }

  /** @param {Message} reply */
  async regenerate(reply) {
    await this.chat.rest.regenerateReply(this.channelId, reply.seq);
    if (reply.replyTo !== undefined) {
      this.replies.expect(reply.replyTo, this.#generations(reply.replyTo) + 1);
    }
    this.#changed();
  }

  /** Ends a reply for everybody. @param {number} replyTo */
  async stop(replyTo) {
    this.stopping.add(replyTo);
    this.#changed();
    try {
      await this.chat.session.cancel(this.channelId, { replyTo });
    } catch (error) {
      this.stopping.delete(replyTo);
      this.#changed();
      throw error;
    }
  }

  /** Approves or denies a call as it is shown. @param {ToolCall} call @param {"approve" | "deny"} decision */
  async decide(call, decision) {
    const { callId } = call;
    this.deciding.set(callId, decision);
    this.#changed();
    try {
      const event = await this.chat.session.decideTool(this.channelId, callId, decision, { arguments: call.arguments });
      this.timeline.note(event);
    } finally {
      this.deciding.delete(callId);
      this.#changed();
    }
  }

  /** What this deployment offers to agents. @returns {Promise<Tool[]>} */
  listTools() {
    return this.chat.session.listTools();
  }

  /** Everything up to the newest event was seen. */
  markRead() {
    const { lastSeq, readSeq, unreadCount } = this.channel;
    if (lastSeq <= readSeq && unreadCount === 0) return;
    this.channel = { ...this.channel, readSeq: lastSeq, unreadCount: 0 };
    this.chat.session.markRead(this.channelId, lastSeq).catch(() => {}); // the next one says more
    this.chat.observer.channels();
  }

  /** @param {Partial<Pick<Channel, "name" | "agent">>} changes */
  async change(changes) {
    this.channel = { ...this.channel, ...(await this.chat.rest.updateChannel(this.channelId, changes)) };
    this.chat.observer.channels();
    this.#changed();
  }

  /** @param {string} userId @param {"owner" | "member"} role */
  async putMember(userId, role) {
    const member = await this.chat.rest.putMember(this.channelId, userId, { role });
    this.members = new Map(this.members).set(userId, member);
    this.channel = { ...this.channel, memberCount: this.members.size };
    this.#changed();
  }

  /** @param {string} userId */
  async removeMember(userId) {
    await this.chat.rest.removeMember(this.channelId, userId);
    if (userId === this.chat.me.userId) {
      this.chat.leave(this, "removed");
      return;
    }
    this.#memberLeft(userId);
    this.#changed();
  }

  async destroy() {
    await this.chat.rest.deleteChannel(this.channelId);
    this.chat.leave(this, "deleted");
  }

  // -- inside

  /** @param {{before?: number}} range */
  #load(range) {
    this.#loading ??= this.#loadPage(range).finally(() => {
      this.#loading = undefined;
      this.#changed();
    });
    this.#changed();
    return this.#loading;
  }

  /** @param {{before?: number}} range */
  async #loadPage(range) {
    this.#meanwhile = [];
    this.failure = undefined;
    try {
      const page = await this.chat.rest.listMessages(this.channelId, { limit: PAGE, ...range });
      this.timeline.load(page.items, page.nextCursor !== null);
      void this.#readNotices(page.items, range.before ?? this.channel.lastSeq + 1);
      for (const { sender } of page.items) this.#learnName(sender);
    } catch (error) {
      this.failure = error instanceof ChatError ? error.message : String(error);
    }
    const came = this.#meanwhile ?? [];
    this.#meanwhile = undefined;
    if (this.timeline.isLoaded) for (const event of came) this.timeline.apply(event);
  }

  /**
   * What happened between the messages of a page. History knows messages alone, the log knows it all.
   *
   * @param {Message[]} page
   * @param {number} before
   */
  async #readNotices(page, before) {
    let after = this.timeline.hasOlder ? (page[0]?.seq ?? before) - 1 : 0;
    try {
      for (let pages = 0; after < before - 1 && pages < MOST_NOTICE_PAGES; pages += 1) {
        const { items } = await this.chat.rest.listEvents(this.channelId, { after, limit: 100 });
        this.#note(items);
        after = items.at(-1)?.seq ?? before;
      }
    } catch {
      return; // the messages are there all the same
    }
    this.#changed();
  }

  /** @param {ChatEvent[]} events Maybe older than what has come meanwhile. */
  #note(events) {
    for (const event of events) {
      this.timeline.note(event);
      if (event.type === "message.created") this.#askers.set(event.seq, event.sender.id);
    }
    for (const { seq, deletedAt } of this.timeline.messages) {
      if (deletedAt !== undefined) this.timeline.emptyCalls(seq);
    }
  }

  /**
   * What a reply waits for was asked maybe long before the messages that are shown.
   *
   * @param {Generation} waiting
   */
  async #readCalls({ replyTo, generation }) {
    let after = replyTo - 1;
    for (let pages = 0; pages < MOST_CALL_PAGES; pages += 1) {
      const { items, hasMore } = await this.chat.rest.listEvents(this.channelId, { after, limit: 100 });
      this.#note(items);
      if (!hasMore || this.timeline.calls.of(replyTo, generation).some((call) => stateOf(call) === "requested")) break;
      after = items.at(-1)?.seq ?? after;
    }
  }

  /** What is being answered right now; also forgets replies that nobody writes any more. */
  async #readReplies() {
    try {
      const { items } = await this.chat.rest.listGenerations(this.channelId);
      this.replies.reconcile(items);
      this.#changed();
      for (const open of items) {
        if (open.status === "waiting" && !this.#isExplained(open)) await this.#readCalls(open);
      }
      this.#changed();
    } catch {
      // Only a hint: the deltas and the final event come all the same.
    }
  }

  /** Whether what a reply waits for, and who asked, is known. @param {Generation} waiting */
  #isExplained({ replyTo, generation }) {
    const isPending = (/** @type {ToolCall} */ call) => stateOf(call) === "requested";
    return this.askerOf(replyTo) !== undefined && this.timeline.calls.of(replyTo, generation).some(isPending);
  }

  #joined() {
    if (!this.timeline.isLoaded && this.failure !== undefined) void this.#load({});
    if (this.replies.open.some(({ since }) => Date.now() - since > SILENCE)) void this.#readReplies();
  }

  /** @param {ChatEvent} event */
  #receive(event) {
    this.channel = { ...this.channel, lastSeq: event.seq, lastEventAt: event.createdAt };
    this.#learnName(event.sender);
    this.#meanwhile?.push(event);
    if (this.timeline.isLoaded) this.timeline.apply(event);
    this.replies.observe(event, this.channel.agent);
    if (event.data.replyTo !== undefined) this.stopping.delete(event.data.replyTo);
    if (event.type === "agent.failed") this.stopping.delete(event.data.target ?? 0);
    this.#settle(event);
    this.#count(event);
    this.#follow(event);
    this.chat.observer.channels();
    this.#changed();
  }

  /** Our own message is in the log. @param {ChatEvent} event */
  #settle({ type, sender, clientMessageId }) {
    const isOurs = type === "message.created" && sender.id === this.chat.me.userId;
    if (!isOurs || clientMessageId === undefined) return;
    this.pending.delete(clientMessageId);
    this.chat.outbox.remove(clientMessageId);
  }

  /** @param {ChatEvent} event */
  #count(event) {
    if (event.sender.id === this.chat.me.userId) return;
    if (event.type === "message.created") {
      this.#typing.delete(event.sender.id);
      this.channel.unreadCount = Math.min(100, this.channel.unreadCount + 1);
      this.chat.observer.said(this, event.data.text ?? "", this.chat.nameOf(event.sender.id));
    } else if (event.data.callId !== undefined) {
      this.#told(event.data.callId, event);
    } else if (event.type === "message.deleted" && (event.data.target ?? 0) > this.channel.readSeq) {
      this.channel.unreadCount = Math.max(0, this.channel.unreadCount - 1);
    }
  }

  /** @param {string} callId @param {ChatEvent} event */
  #told(callId, { type, sender }) {
    const call = this.timeline.calls.get(callId);
    if (call !== undefined) this.chat.observer.called(this, call, type, this.chat.nameOf(sender.id));
  }

  /** Membership and settings, as far as they are shown. @param {ChatEvent} event */
  #follow({ type, data, createdAt }) {
    const { userId, role } = data;
    if (type === "channel.updated") {
      const { name = this.channel.name, agent } = data;
      // An agent is told as a whole, but for its instructions: what is not there was cleared.
      const { systemPrompt } = this.channel.agent;
      const changed = agent && { ...agent, ...(systemPrompt !== undefined && { systemPrompt }) };
      this.channel = { ...this.channel, name, agent: /** @type {Agent} */ (changed ?? this.channel.agent) };
    } else if (type === "member.left" && userId !== undefined) {
      this.#memberLeft(userId);
    } else if ((type === "member.joined" || type === "member.updated") && userId && role) {
      this.#memberChanged({ readSeq: 0, joinedAt: createdAt, userId, role }, type === "member.joined");
    }
  }

  /** @param {Member} member @param {boolean} isNew */
  #memberChanged(member, isNew) {
    const memberCount = this.channel.memberCount + (isNew && !this.members?.has(member.userId) ? 1 : 0);
    this.channel = { ...this.channel, memberCount };
    if (member.userId === this.chat.me.userId) this.channel = { ...this.channel, role: member.role };
    if (this.members === undefined) return;
    const known = this.members.get(member.userId);
    this.members = new Map(this.members).set(member.userId, { ...member, ...known, role: member.role });
  }

  /** @param {string} userId */
  #memberLeft(userId) {
    if (this.members !== undefined) {
      if (!this.members.has(userId)) return;
      this.members = new Map(this.members);
      this.members.delete(userId);
    }
    this.channel = { ...this.channel, memberCount: Math.max(1, this.channel.memberCount - 1) };
  }

  /** @param {string} userId @param {number} seq */
  #hasRead(userId, seq) {
    const member = this.members?.get(userId);
    if (member === undefined || member.readSeq >= seq) return;
    this.members = new Map(this.members).set(userId, { ...member, readSeq: seq });
    this.#changed();
  }

  /** @param {string} userId @param {boolean} isTyping */
  #types(userId, isTyping) {
    if (isTyping) {
      this.#typing.set(userId, Date.now() + TYPING);
      setTimeout(() => this.#changed(), TYPING + 50);
    } else {
      this.#typing.delete(userId);
    }
    this.#changed();
  }

  /** @param {Unsent} unsent */
  async #send(unsent) {
    const { clientMessageId, text, replyTo } = unsent;
    try {
      const seq = await this.chat.session.send(this.channelId, text, { clientMessageId, replyTo });
      this.chat.outbox.remove(clientMessageId);
      // Otherwise it stays in sight until its event comes.
      if (seq <= this.channel.lastSeq) this.pending.delete(clientMessageId);
    } catch (error) {
      if (!(error instanceof ChatError) || error.isTemporary || error.code === "closed") return;
      if (error.status === 401) return; // sent after the next sign-in
      const refused = { ...unsent, refused: error.message };
      this.chat.outbox.put(refused);
      this.pending.set(clientMessageId, refused);
    }
    this.#changed();
  }

  /** @param {number} question */
  #generations(question) {
    const known = this.timeline.messages.filter(({ replyTo, generation }) => replyTo === question && generation);
    return Math.max(1, ...known.map(({ generation }) => generation ?? 1));
  }

  /** @param {{id: string, name?: string}} sender */
  #learnName({ id, name }) {
    if (name && id !== "#agent") this.chat.names.set(id, name);
  }

  #changed() {
    this.chat.observer.room(this);
  }
}
