/**
 * @import { TextUIPart, UIMessage } from "ai"
 * @import { ItemKind, RoomEntry } from "./room-list.js"
 * @import { RoomMessage } from "./room-messages.js"
 * @import { FinishReason, Sender, Usage } from "./wire.js"
 */

/**
 * What the room knows of a message, beside its text.
 *
 * @typedef {object} ChatMetadata
 * @property {number} [seq] Not there before it is posted, and while a reply is being written.
 * @property {Sender} [sender]
 * @property {string} [createdAt]
 * @property {string} [editedAt]
 * @property {number} [replyTo]
 * @property {number} [generation]
 * @property {FinishReason} [finishReason]
 * @property {Usage} [usage]
 * @property {Record<string, string[]>} [reactions]
 * @property {Record<string, unknown>} [metadata] What its sender put there.
 */

/** @typedef {UIMessage<ChatMetadata>} ChatUIMessage */

/** @type {Sender} */
export const AGENT = { id: "#agent", kind: "agent" };

/** @type {ItemKind<ChatUIMessage>} */
export const uiMessages = {
  seqOf: ({ metadata }) => metadata?.seq,
  make(entry) {
    const { text, isDone } = contentOf(entry);
    return { id: entry.id, role: roleOf(entry), metadata: metadataOf(entry), parts: [textPart(text, isDone)] };
  },
  update(item, entry) {
    const { text, isDone } = contentOf(entry);
    const metadata = { ...item.metadata, ...metadataOf(entry) };
    const isSame = textOf(item) === text && isSettled(item) === isDone;
    if (isSame && JSON.stringify(metadata) === JSON.stringify(item.metadata)) return item;
    const others = item.parts.filter(({ type }) => type !== "text");
    return { ...item, metadata, parts: isSame ? item.parts : [...others, textPart(text, isDone)] };
  },
};

/**
 * The text of a UI message.
 *
 * @param {UIMessage} message
 */
export function textOf({ parts }) {
  return parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

/**
 * @param {RoomMessage} message
 * @returns {ChatMetadata}
 */
export function messageMetadata({ text: _text, channelId: _channelId, clientMessageId: _id, ...message }) {
  const { reactions, ...metadata } = message;
  return Object.keys(reactions).length > 0 ? { ...metadata, reactions } : metadata;
}

/** @param {UIMessage} message */
function isSettled({ parts }) {
  return parts.every((part) => part.type !== "text" || part.state !== "streaming");
}

/** @param {RoomEntry} entry */
function contentOf({ message, open }) {
  return { text: message?.text ?? open?.text ?? "", isDone: message !== undefined };
}

/**
 * @param {RoomEntry} entry
 * @returns {ChatMetadata}
 */
function metadataOf({ message, open }) {
  if (message !== undefined) return messageMetadata(message);
  return { sender: AGENT, replyTo: open?.replyTo, generation: open?.generation };
}

/**
 * @param {RoomEntry} entry
 * @returns {ChatUIMessage["role"]}
 */
function roleOf({ message }) {
  const kind = message?.sender.kind ?? "agent";
  return kind === "agent" ? "assistant" : kind;
}

/**
 * @param {string} text
 * @param {boolean} isDone
 * @returns {TextUIPart}
 */
function textPart(text, isDone) {
  return { type: "text", text, state: isDone ? "done" : "streaming" };
}
