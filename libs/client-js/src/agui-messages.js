import { stateOf } from "./tool-calls.js";
import { AGENT, messageMetadata } from "./ui-messages.js";

/**
 * @import { Message } from "@ag-ui/client"
 * @import { ItemKind, RoomEntry } from "./room-list.js"
 * @import { ToolCall } from "./tool-calls.js"
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
  update: (item, entry) => unlessSame(item, messageOf(entry)),
  following: ({ calls }) => resultsOf(calls),
  replyOf(item, room) {
    const call = item.role === "tool" ? room.calls.get(item.toolCallId) : undefined;
    return call && { replyTo: call.target, generation: call.generation };
  },
};

/** @param {Message} item @param {Message} updated */
function unlessSame(item, updated) {
  return JSON.stringify(updated) === JSON.stringify(item) ? item : updated;
}

/**
 * A reply's messages: itself with its calls, and what these came to.
 *
 * @param {Message} reply
 * @param {readonly ToolCall[]} calls
 * @returns {Message[]}
 */
export function messagesOfReply(reply, calls) {
  return [withCalls(reply, calls), ...resultsOf(calls)];
}

/** @param {ToolCall} call */
export function resultId({ callId }) {
  return `${callId}-result`;
}

/** What a call came to, as the agent's user is told; undefined while it is open. @param {ToolCall} call */
export function resultOf(call) {
  const { result = "", decidedBy } = call;
  const by = decidedBy?.name ?? decidedBy?.id ?? "somebody";
  switch (stateOf(call)) {
    case "requested":
    case "running":
      return undefined;
    case "unknown":
      return "Whether the tool did it is not known. It is not called again.";
    case "denied":
      return `Denied by ${by}: it was not called.`;
    case "expired":
      return "Nobody decided in time: it was not called.";
    case "cancelled":
      return "The reply was cancelled: it was not called.";
    default:
      return result;
  }
}

/** @param {readonly ToolCall[]} calls @returns {Message[]} */
function resultsOf(calls) {
  return calls.flatMap((call) => {
    const content = resultOf(call);
    const { callId: toolCallId } = call;
    return content === undefined ? [] : [{ id: resultId(call), toolCallId, role: /** @type {const} */ ("tool"), content }];
  });
}

/**
 * @param {Message} reply
 * @param {readonly ToolCall[]} calls
 * @returns {Message}
 */
function withCalls(reply, calls) {
  if (calls.length === 0 || reply.role !== "assistant") return reply;
  const toolCalls = calls.map(({ callId: id, tool: name, arguments: shown }) => ({
    id,
    type: /** @type {const} */ ("function"),
    function: { name, arguments: JSON.stringify(shown) },
  }));
  return { ...reply, toolCalls };
}

/**
 * @param {RoomEntry} entry
 * @returns {Message}
 */
export function messageOf({ id, message, open, calls }) {
  const content = message?.text ?? open?.text ?? "";
  const sender = message?.sender ?? AGENT;
  const metadata = message === undefined ? { sender, ...replyFields(open) } : messageMetadata(message);
  const common = { id, content, metadata, ...(sender.name && { name: sender.name }) };
  switch (sender.kind) {
    case "agent":
      return withCalls({ ...common, role: "assistant" }, calls);
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
