import { toolParts } from "./ui-tools.js";

/**
 * @import { TextUIPart, UIMessage } from "ai"
 * @import { ItemKind, RoomEntry } from "./room-list.js"
 * @import { RoomMessage } from "./room-messages.js"
 * @import { UITools } from "./ui-tools.js"
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

/**
 * A room's messages as UI messages. Where a reply's text was written before, between and after its
 * calls, only who saw it streamed knows: made anew, the calls stand before the text.
 *
 * @param {UITools} tools
 * @returns {ItemKind<ChatUIMessage>}
 */
export function uiMessagesOf(tools) {
  return {
    seqOf: ({ metadata }) => metadata?.seq,
    make(entry) {
      const { text, isDone } = contentOf(entry);
      const parts = [...tools.parts(entry.calls), textPart(text, isDone)];
      return { id: entry.id, role: roleOf(entry), metadata: metadataOf(entry), parts };
    },
    update(item, entry) {
      const { text, isDone } = contentOf(entry);
      const metadata = { ...item.metadata, ...metadataOf(entry) };
      const calls = tools.parts(entry.calls, item.parts);
      const isSameText = textOf(item) === text && isSettled(item) === isDone;
      const areSameCalls = isEqual(calls, toolParts(item));
      if (isSameText && areSameCalls && isEqual(metadata, item.metadata)) return item;
      if (isSameText && areSameCalls) return { ...item, metadata };
      const isOurs = ({ type = "" }) => type === "text" || type === "dynamic-tool";
      const others = item.parts.filter((part) => !isOurs(part));
      const known = new Map(calls.map((call) => [call.toolCallId, call]));
      const isInPlace = isSameText && toolParts(item).every(({ toolCallId }) => known.has(toolCallId));
      if (!isInPlace) return { ...item, metadata, parts: [...others, ...calls, textPart(text, isDone)] };
      const parts = item.parts.map((part) => {
        const call = part.type === "dynamic-tool" ? known.get(part.toolCallId) : undefined;
        if (call !== undefined) known.delete(call.toolCallId);
        return call ?? part;
      });
      return { ...item, metadata, parts: [...parts, ...known.values()] };
    },
  };
}

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

/** @param {unknown} one @param {unknown} other */
function isEqual(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
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
