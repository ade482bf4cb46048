/**
 * @import { OpenReply } from "./reply-texts.js"
 * @import { RoomMessage } from "./room-messages.js"
 * @import { Room } from "./room.js"
 */

/**
 * What a list of a room shows: a message, or a reply that is being written.
 *
 * @typedef {object} RoomEntry
 * @property {string} id
 * @property {RoomMessage} [message]
 * @property {OpenReply} [open]
 */

/**
 * How an adapter's messages are read and made.
 *
 * @template Item
 * @typedef {object} ItemKind
 * @property {(item: Item) => number | undefined} seqOf As its metadata says.
 * @property {(entry: RoomEntry) => Item} make
 * @property {(item: Item, entry: RoomEntry) => Item} update The same object where nothing changes.
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
    .map((message) => ({ id: messageId(room, message), message }));
  const open = room.openReplies.map((reply) => ({ id: replyId(reply), open: reply }));
  return [...messages, ...open].filter(({ id }) => isNewest(id, newest));
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
  const known = new Set(entries.map(({ id }) => id));
  const newest = newestGenerations(room, streaming);
  const first = room.messages.all[0]?.seq ?? Number.POSITIVE_INFINITY;
  const fromRoom = entries.map((entry) => {
    const item = shown.get(entry.id);
    return {
      at: entry.message?.seq ?? Number.MAX_SAFE_INTEGER,
      item: item === undefined ? kind.make(entry) : kind.update(item, entry),
    };
  });
  const others = current
    .filter(({ id }) => !known.has(id) && isNewest(id, newest))
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
    if (streaming.has(item.id)) return Number.MAX_SAFE_INTEGER;
    const seq = kind.seqOf(item) ?? postedSeq(room, item.id);
    if (seq !== undefined) return seq < first ? seq : undefined;
    const reply = replyOfId(item.id);
    const failure = reply && room.messages.failure(reply.replyTo, reply.generation);
    return failure?.seq ?? Number.MAX_SAFE_INTEGER;
  }
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
 * @param {string} id
 * @param {Map<number, number>} newest
 */
function isNewest(id, newest) {
  const reply = replyOfId(id);
  return reply === undefined || reply.generation >= (newest.get(reply.replyTo) ?? 0);
}
