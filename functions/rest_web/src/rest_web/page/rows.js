import { dayName, isSameDay, minutesBetween } from "./format.js";
import { decidersOf } from "./tool-view.js";

/**
 * @import { Unsent } from "./outbox.js"
 * @import { Draft } from "./replies.js"
 * @import { Room } from "./room.js"
 * @import { Message } from "./wire.js"
 * @import { Notice } from "./timeline.js"
 * @import { ToolCall } from "./tool-calls.js"
 */

/**
 * What a timeline shows, line by line. Two rows with the same fields look the same.
 *
 * @typedef {{key: string, kind: "day", label: string}} DayRow
 * @typedef {{key: string, kind: "new"}} NewRow
 * @typedef {{key: string, kind: "notice", notice: Notice}} NoticeRow
 * @typedef {object} MessageRow
 * @property {string} key
 * @property {"message"} kind
 * @property {Message} message
 * @property {string} name Of its sender, who may have got another one since.
 * @property {boolean} continues The message before is by the same person and hardly older.
 * @property {Message | undefined} quoted What it answers, where that is not the line before.
 * @property {number | undefined} quotedSeq
 * @property {boolean} editing
 * @property {readonly ToolCall[]} calls Of an agent's message.
 * @property {string} deciders Who decides about them, as it is shown.
 * @typedef {object} DraftRow
 * @property {string} key
 * @property {"draft"} kind
 * @property {Draft} draft
 * @property {boolean} stopping
 * @property {boolean} connected
 * @property {readonly ToolCall[]} calls
 * @property {string} deciders
 * @typedef {{key: string, kind: "calls", calls: readonly ToolCall[], deciders: string}} CallsRow Those
 *   of a reply that came to nothing.
 * @typedef {object} PendingRow
 * @property {string} key
 * @property {"pending"} kind
 * @property {Unsent} unsent
 * @property {boolean} continues
 * @property {boolean} connected
 * @typedef {DayRow | NewRow | NoticeRow | MessageRow | CallsRow | DraftRow | PendingRow} Row
 */

/** Minutes: what the same person says within them stands under one name. */
const TOGETHER = 5;

/**
 * @param {Room} room
 * @param {{editing: number | undefined, connected: boolean}} view
 * @returns {Row[]}
 */
export function rowsOf(room, { editing, connected }) {
  /** @type {Row[]} */
  const rows = [];
  const { timeline, chat } = room;
  /** @type {Entry | undefined} */
  let before;
  let isNewMarked = room.newAfter === undefined;
  for (const entry of merged(timeline.messages, timeline.notices, callsWithoutReply(room))) {
    const startsDay = before === undefined || !isSameDay(before.createdAt, entry.createdAt);
    if (startsDay) rows.push({ key: `day ${entry.seq}`, kind: "day", label: dayName(entry.createdAt) });
    const message = isMessage(entry) ? entry : undefined;
    const isNew =
      !isNewMarked && message && message.seq > (room.newAfter ?? 0) && message.sender.id !== chat.me.userId;
    if (isNew) {
      rows.push({ key: "new", kind: "new" });
      isNewMarked = true;
    }
    if ("calls" in entry) {
      const { calls, seq } = entry;
      rows.push({ key: `calls ${seq}`, kind: "calls", calls, deciders: decidersOf(room, calls) });
    } else if (message === undefined) {
      rows.push({ key: `notice ${entry.seq}`, kind: "notice", notice: /** @type {Notice} */ (entry) });
    } else {
      const { replyTo, sender, seq, generation = 1 } = message;
      const isAgent = sender.kind === "agent";
      const calls = timeline.calls.of(isAgent ? (replyTo ?? 0) : 0, generation);
      const isBelowItsQuestion = before !== undefined && replyTo === before.seq;
      const quotedSeq = replyTo !== undefined && !isBelowItsQuestion ? replyTo : undefined;
      rows.push({
        key: `message ${seq}`,
        kind: "message",
        message,
        name: isAgent ? (sender.name ?? "Agent") : (sender.name ?? chat.nameOf(sender.id)),
        continues: !startsDay && !isNew && quotedSeq === undefined && continues(before, message),
        quoted: quotedSeq === undefined ? undefined : timeline.message(quotedSeq),
        quotedSeq,
        editing: editing === seq,
        calls,
        deciders: decidersOf(room, calls),
      });
    }
    before = entry;
  }
  for (const unsent of room.pending.values()) {
    const continuing = before !== undefined && isBy(before, chat.me.userId) && unsent.replyTo === undefined;
    rows.push({
      key: `pending ${unsent.clientMessageId}`,
      kind: "pending",
      unsent,
      continues: continuing && minutesBetween(/** @type {Message} */ (before).createdAt, unsent.createdAt) < TOGETHER,
      connected,
    });
  }
  for (const draft of room.replies.open) {
    const key = `draft ${draft.replyTo}/${draft.generation}`;
    const stopping = room.stopping.has(draft.replyTo);
    const calls = timeline.calls.of(draft.replyTo, draft.generation);
    rows.push({ key, kind: "draft", draft, stopping, connected, calls, deciders: decidersOf(room, calls) });
  }
  return rows;
}

/**
 * @typedef {{seq: number, createdAt: string, calls: readonly ToolCall[]}} CallsEntry
 * @typedef {Message | Notice | CallsEntry} Entry
 */

/** @param {...Entry[]} entries @returns {Entry[]} */
function merged(...entries) {
  return entries.flat().sort((one, other) => one.seq - other.seq);
}

/** Calls of replies that are neither in the log nor being written. @param {Room} room @returns {CallsEntry[]} */
function callsWithoutReply({ timeline, replies }) {
  const shown = new Set(replies.open.map(({ replyTo, generation }) => `${replyTo}/${generation}`));
  for (const { sender, replyTo, generation = 1 } of timeline.messages) {
    if (sender.kind === "agent") shown.add(`${replyTo}/${generation}`);
  }
  return timeline.calls.all
    .map(({ seq, createdAt, target, generation }) => ({ seq, createdAt, key: `${target}/${generation}`, calls: timeline.calls.of(target, generation) }))
    .filter(({ seq, key, calls }) => !shown.has(key) && calls[0]?.seq === seq && seq >= (timeline.oldest ?? 0));
}

/** @param {Entry | undefined} entry @returns {entry is Message} */
function isMessage(entry) {
  return entry !== undefined && !("event" in entry) && !("calls" in entry);
}

/** @param {Entry | undefined} before @param {Message} message */
function continues(before, message) {
  if (!isMessage(before)) return false;
  const isSamePerson = before.sender.id === message.sender.id && message.sender.kind !== "agent";
  const isTogether = minutesBetween(before.createdAt, message.createdAt) < TOGETHER;
  return isSamePerson && isTogether && before.deletedAt === undefined;
}

/** @param {Entry} entry @param {string} userId */
function isBy(entry, userId) {
  return isMessage(entry) && entry.sender.id === userId;
}

/** Who else has read the newest message, where it is ours. @param {Room} room @returns {string[]} */
export function readersOfNewest(room) {
  const newest = room.timeline.messages.at(-1);
  const { me } = room.chat;
  if (newest === undefined || newest.sender.id !== me.userId || room.members === undefined) return [];
  return [...room.members.values()]
    .filter(({ userId, readSeq }) => userId !== me.userId && readSeq >= newest.seq)
    .map(({ userId }) => room.chat.nameOf(userId));
}
