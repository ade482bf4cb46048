import { newId } from "./ids.js";
import { stateOf } from "./tool-calls.js";

/**
 * @import { DynamicToolUIPart, UIMessage, UIMessageChunk } from "ai"
 * @import { Room } from "./room.js"
 * @import { ToolCall } from "./tool-calls.js"
 */

const UNKNOWN = "Whether the tool did it is not known. It is not called again.";

/**
 * Calls of tools as parts of UI messages, and what the user answers in these parts.
 *
 * An answer counts only in a part that was asked here: its approval has an id that nobody else knows.
 * So what another user has answered in a message that was stored, say, decides nothing.
 */
export class UITools {
  #secret = newId();
  /** Calls whose decision the server refused. @type {Set<string>} */
  #refused = new Set();

  /**
   * The parts of a reply's calls.
   *
   * @param {readonly ToolCall[]} calls
   * @param {readonly unknown[]} [shown] The parts so far: what the user has answered, and was not
   *   sent yet, stays.
   * @returns {DynamicToolUIPart[]}
   */
  parts(calls, shown = []) {
    return calls.map((call) => {
      const before = toolParts({ parts: shown }).find(({ toolCallId }) => toolCallId === call.callId);
      if (before !== undefined && this.#isAnswer(before, call)) return before;
      this.#refused.delete(call.callId);
      return this.#part(call);
    });
  }

  /**
   * The calls that a message has parts of which were made here: as they stand there, when the user
   * has answered them.
   *
   * @param {Room} room
   * @param {UIMessage} message
   * @returns {ToolCall[]}
   */
  known(room, message) {
    return toolParts(message).flatMap(({ toolCallId, approval }) => {
      const call = room.calls.get(toolCallId);
      const isKnown = call !== undefined && approval?.id === this.#approvalId(call) && !this.#refused.has(toolCallId);
      return isKnown ? [{ ...call, decision: undefined, decidedBy: undefined, outcome: undefined }] : [];
    });
  }

  /**
   * The chunks that bring a call's part up to date.
   *
   * @param {ToolCall} call
   * @param {ToolCall | undefined} before As it was told last.
   * @returns {UIMessageChunk[]}
   */
  chunks(call, before) {
    const { callId: toolCallId, tool: toolName } = call;
    const part = this.#part(call);
    const isNew = before === undefined || before.redacted !== call.redacted;
    /** @type {UIMessageChunk[]} */
    const chunks = [];
    if (isNew) {
      this.#refused.delete(toolCallId);
      const { input, toolMetadata } = part;
      chunks.push({ type: "tool-input-available", toolCallId, toolName, input, toolMetadata, dynamic: true, providerExecuted: true });
    }
    const { id: approvalId, approved, reason, isAutomatic } = part.approval ?? {};
    if (approvalId !== undefined && isNew) {
      chunks.push({ type: "tool-approval-request", approvalId, toolCallId, isAutomatic });
    }
    const isDecision = isNew || call.decision !== before.decision;
    if (approvalId !== undefined && approved !== undefined && isDecision) {
      chunks.push({ type: "tool-approval-response", approvalId, approved, reason });
    }
    const { toolMetadata } = part;
    if (part.state === "output-denied") chunks.push({ type: "tool-output-denied", toolCallId });
    if (part.state === "output-available") {
      chunks.push({ type: "tool-output-available", toolCallId, output: part.output, toolMetadata, dynamic: true });
    }
    if (part.state === "output-error") {
      chunks.push({ type: "tool-output-error", toolCallId, errorText: part.errorText, toolMetadata, dynamic: true });
    }
    return chunks;
  }

  /**
   * What the user has answered in a message, and the server has not heard: about calls that wait, in
   * parts that were asked here.
   *
   * @param {Room} room
   * @param {UIMessage} message
   * @returns {{callId: string, decision: "approve" | "deny", shown: unknown}[]}
   */
  answers(room, message) {
    /** @type {ReturnType<UITools["answers"]>} */
    const answers = [];
    for (const part of toolParts(message)) {
      const call = room.calls.get(part.toolCallId);
      if (call === undefined || !this.#isAnswer(part, call)) continue;
      const decision = part.approval?.approved ? "approve" : "deny";
      answers.push({ callId: call.callId, decision, shown: part.input });
    }
    return answers;
  }

  /** The server did not take the user's answer: he is asked again. @param {string} callId */
  refuse(callId) {
    this.#refused.add(callId);
  }

  /** @param {DynamicToolUIPart} part @param {ToolCall} call */
  #isAnswer({ state, approval }, call) {
    const isOurs = state === "approval-responded" && approval?.id === this.#approvalId(call);
    return isOurs && stateOf(call) === "requested" && !this.#refused.has(call.callId);
  }

  /** @param {ToolCall} call */
  #approvalId({ callId }) {
    return `${callId}.${this.#secret}`;
  }

  /** @param {ToolCall} call @returns {DynamicToolUIPart} */
  #part(call) {
    const state = stateOf(call);
    const { result } = call;
    const common = {
      type: /** @type {const} */ ("dynamic-tool"),
      toolName: call.tool,
      toolCallId: call.callId,
      providerExecuted: true,
      input: call.arguments,
      toolMetadata: metadataOf(call),
    };
    const id = this.#approvalId(call);
    const approval = { id, ...approvalOf(call), approved: /** @type {const} */ (true) };
    switch (state) {
      case "requested":
        return { ...common, state: "approval-requested", approval: { id } };
      case "running":
        return { ...common, state: "approval-responded", approval };
      case "ok":
        return { ...common, state: "output-available", output: result ?? "", approval };
      case "error":
        return { ...common, state: "output-error", errorText: result || "The tool failed.", approval };
      case "denied":
      case "expired":
      case "cancelled":
        return { ...common, state: "output-denied", approval: { id, approved: false, reason: whyNot(call) } };
      default:
        return { ...common, state: "output-error", errorText: UNKNOWN, approval };
    }
  }
}

/** @param {{parts: readonly unknown[]}} message @returns {DynamicToolUIPart[]} */
export function toolParts({ parts }) {
  return /** @type {DynamicToolUIPart[]} */ (
    parts.filter((part) => /** @type {{type: string}} */ (part).type === "dynamic-tool")
  );
}

/**
 * Who has approved. What nobody has to approve is told as approved by itself: an SDK that waits for
 * all calls of a message to be answered would wait for it, too.
 *
 * @param {ToolCall} call
 */
function approvalOf(call) {
  return call.approval === "none" ? { isAutomatic: true } : { reason: `Approved by ${byOf(call)}.` };
}

/** @param {ToolCall} call */
function whyNot(call) {
  switch (call.decision) {
    case "denied":
      return `Denied by ${byOf(call)}.`;
    case "expired":
      return "Nobody decided in time.";
    default:
      return "The reply was cancelled.";
  }
}

/** @param {ToolCall} call */
function byOf({ decidedBy }) {
  return decidedBy?.name ?? decidedBy?.id ?? "somebody";
}

/**
 * What the room knows of a call, beside what a part has a place for.
 *
 * @param {ToolCall} call
 */
function metadataOf({ approval, expiresAt, decidedBy, outcome, truncated, redacted }) {
  return {
    approval,
    ...(expiresAt !== undefined && { expiresAt }),
    ...(decidedBy !== undefined && { decidedBy: decidedBy.id }),
    ...(outcome !== undefined && { outcome }),
    ...(truncated && { truncated }),
    ...(redacted && { redacted }),
  };
}
