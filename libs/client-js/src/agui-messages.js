import { AGENT, messageMetadata } from "./ui-messages.js";

/**
 * @import { Message } from "@ag-ui/client"
 * @import { ItemKind, RoomEntry } from "./room-list.js"
 */

/**
 * A room's messages as AG-UI has them. What is not the room's (of the roles developer, system, tool
 * and others) is left as it is.
 *
 * @type {ItemKind<Message>}
 */
export const aguiMessages = {
  seqOf: ({ metadata }) => (typeof metadata?.seq === "number" ? metadata.seq : undefined),
  make: (entry) => messageOf(entry),
  update(item, entry) {
    const updated = messageOf(entry);
    return JSON.stringify(updated) === JSON.stringify(item) ? item : updated;
  },
};

/**
 * @param {RoomEntry} entry
 * @returns {Message}
 */
export function messageOf({ id, message, open }) {
  const content = message?.text ?? open?.text ?? "";
  const sender = message?.sender ?? AGENT;
  const metadata = message === undefined ? { sender, ...replyFields(open) } : messageMetadata(message);
  const common = { id, content, metadata, ...(sender.name && { name: sender.name }) };
  switch (sender.kind) {
    case "agent":
      return { ...common, role: "assistant" };
    case "system":
      return { ...common, role: "system" };
    default:
      return { ...common, role: "user" };
  }
}

/**
 * The text of a message of the user.
 *
 * @param {Message} message
 */
export function contentText({ content }) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

/** @param {RoomEntry["open"]} open */
function replyFields(open) {
  return open && { replyTo: open.replyTo, generation: open.generation };
}
