/**
 * @import { OpenReply } from "./reply-texts.js"
 * @import { RoomMessage } from "./room-messages.js"
 * @import { Room } from "./room.js"
 * @import { ToolCall } from "./tool-calls.js"
 */

/**
 * What a list of a room shows: a message, or a reply that is being written.
 *
 * @typedef {object} RoomEntry
 * @property {string} id
 * @property {RoomMessage} [message]
 * @property {OpenReply} [open]
 * @property {readonly ToolCall[]} calls Of a reply.
 */

/**
 * How an adapter's messages are read and made.
 *
 * @template Item
 * @typedef {object} ItemKind
 * @property {(item: Item) => number | undefined} seqOf As its metadata says.
 * @property {(entry: RoomEntry) => Item} make
 * @property {(item: Item, entry: RoomEntry) => Item} update The same object where nothing changes.
 * @property {(entry: RoomEntry) => Item[]} [following] Items that belong behind an entry's.
 * @property {(item: Item, room: Room) => {replyTo: number, generation: number} | undefined} [replyOf]
 *   The reply behind which an item belongs.
 */

/**
 * The id of a reply, the same before, while and after it is written.
 *
 * @param {{replyTo: number, generation: number}} reply
 */
export function replyId({ replyTo, generation }) {
  return `reply-${replyTo}-${generation}`;
}

/**
 * @param {string} id
 * @returns {{replyTo: number, generation: number} | undefined}
 */
export function replyOfId(id) {
  const [, replyTo, generation] = /^reply-(\d+)-(\d+)$/.exec(id) ?? [];
  return generation === undefined
    ? undefined
    : { replyTo: Number(replyTo), generation: Number(generation) };
}

/**
 * @param {Room} room
 * @param {RoomMessage} message
 */
export function messageId(room, { seq, sender, replyTo, generation = 1 }) {
  if (sender.kind === "agent" && replyTo !== undefined) return replyId({ replyTo, generation });
  return room.localId(seq) ?? `message-${seq}`;
}

/**
 * The `seq` of the user's message with this id, if it was posted.
 *
 * @param {Room} room
 * @param {string} id
 */
export function postedSeq(room, id) {
  const [, seq] = /^message-(\d+)$/.exec(id) ?? [];
  return room.seqOf(id) ?? (seq === undefined ? undefined : Number(seq));
}

/**
 * What is to be seen of a room: messages that are not deleted, of several replies to a question the
 * newest, and at the end the replies that are being written.
 *
 * @param {Room} room
 * @param {ReadonlySet<string>} [streaming] Ids of replies that are shown otherwise.
 * @returns {RoomEntry[]}
 */
export function entriesOf(room, streaming = new Set()) {
  const newest = newestGenerations(room, streaming);
  /** @type {RoomEntry[]} */
  const messages = room.messages.all
    .filter(({ deletedAt }) => deletedAt === undefined)
    .map((message) => ({ id: messageId(room, message), message, calls: callsOf(room, message) }));
  const open = room.openReplies.map((reply) => ({
    id: replyId(reply),
    open: reply,
    calls: room.calls.of(reply.replyTo, reply.generation),
  }));
  return [...messages, ...open].filter(({ id }) => isNewest(replyOfId(id), newest));
}

/** @param {Room} room @param {RoomMessage} message */
export function callsOf(room, { sender, replyTo = 0, generation = 1 }) {
  return room.calls.of(sender.kind === "agent" ? replyTo : 0, generation);
}

/**
 * A list as it is shown, brought up to what the room holds. What the room does not know stays: older
 * history at the beginning, what is not posted yet at the end.
 *
 * @template {{id: string}} Item
 * @param {readonly Item[]} current
 * @param {Room} room
 * @param {ItemKind<Item>} kind
 * @param {ReadonlySet<string>} streaming Ids of replies that are being added to the list otherwise.
 * @returns {Item[]}
 */
export function mergeRoom(current, room, kind, streaming) {
  const entries = entriesOf(room, streaming).filter(({ id }) => !streaming.has(id));
  const shown = new Map(current.map((item) => [item.id, item]));
  const newest = newestGenerations(room, streaming);
  const first = room.messages.all[0]?.seq ?? Number.POSITIVE_INFINITY;
  const fromRoom = entries.flatMap((entry) => {
    const item = shown.get(entry.id);
    const at = entry.message?.seq ?? Number.MAX_SAFE_INTEGER;
    const own = item === undefined ? kind.make(entry) : kind.update(item, entry);
    const following = (kind.following?.(entry) ?? []).map((each) => sameOr(shown.get(each.id), each));
    return [own, ...following].map((each) => ({ at, item: each }));
  });
  const known = new Set(fromRoom.map(({ item }) => item.id));
  const others = current
    .filter((item) => !known.has(item.id) && isNewest(replyOf(item), newest))
    .map((item) => ({ at: placeOf(item), item }))
    .filter(({ at }) => at !== undefined);
  const merged = [...fromRoom, ...others]
    .sort((one, other) => Number(one.at) - Number(other.at))
    .map(({ item }) => item);
  const isSame = merged.length === current.length && merged.every((item, index) => item === current[index]);
  return isSame ? /** @type {Item[]} */ (current) : merged;

  /**
   * @param {Item} item
   * @returns {number | undefined} Undefined: it is not to be seen any more.
   */
  function placeOf(item) {
    const reply = replyOf(item);
    if (reply !== undefined && streaming.has(replyId(reply))) return Number.MAX_SAFE_INTEGER;
    const seq = kind.seqOf(item) ?? postedSeq(room, item.id);
    if (seq !== undefined) return seq < first ? seq : undefined;
    if (reply === undefined) return Number.MAX_SAFE_INTEGER;
    // What is to be seen of a message is known.
    if (room.messages.reply(reply.replyTo, reply.generation) !== undefined) return undefined;
    const failure = room.messages.failure(reply.replyTo, reply.generation);
    return failure?.seq ?? Number.MAX_SAFE_INTEGER;
  }

  /** @param {Item} item */
  function replyOf(item) {
    return replyOfId(item.id) ?? kind.replyOf?.(item, room);
  }
}

/**
 * @template Item
 * @param {Item | undefined} shown
 * @param {Item} item
 */
function sameOr(shown, item) {
  return shown !== undefined && JSON.stringify(shown) === JSON.stringify(item) ? shown : item;
}

/**
 * @param {Room} room
 * @param {ReadonlySet<string>} streaming
 * @returns {Map<number, number>}
 */
function newestGenerations(room, streaming) {
  /** @type {Map<number, number>} */
  const newest = new Map();
  const note = (/** @type {{replyTo: number, generation: number} | undefined} */ reply) => {
    if (reply === undefined) return;
    newest.set(reply.replyTo, Math.max(reply.generation, newest.get(reply.replyTo) ?? 0));
  };
  for (const { sender, replyTo, generation = 1, deletedAt } of room.messages.all) {
    const counts = sender.kind === "agent" && deletedAt === undefined;
    if (counts && replyTo !== undefined) note({ replyTo, generation });
  }
  for (const reply of room.openReplies) note(reply);
  for (const id of streaming) note(replyOfId(id));
  return newest;
}

/**
 * @param {{replyTo: number, generation: number} | undefined} reply
 * @param {Map<number, number>} newest
 */
function isNewest(reply, newest) {
  return reply === undefined || reply.generation >= (newest.get(reply.replyTo) ?? 0);
}
