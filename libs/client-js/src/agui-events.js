import { EventType } from "@ag-ui/client";

import { failureText } from "./failures.js";
import { replyId } from "./room-list.js";
import { messagesOfReply, resultId, resultOf } from "./agui-messages.js";
import { stateOf } from "./tool-calls.js";
import { AGENT } from "./ui-messages.js";

/**
 * @import { BaseEvent, Interrupt, Message } from "@ag-ui/client"
 * @import { ReplyEnd, ReplyListener } from "./reply-follower.js"
 * @import { ToolCall } from "./tool-calls.js"
 * @import { Usage } from "./wire.js"
 */

/** @typedef {(event: BaseEvent & Record<string, unknown>) => void} Emit */

/** The version of the AG-UI protocol that these events are of. */
export const AGUI_VERSION = "1.0";

/**
 * Tells one run: its start, its messages, and one end.
 */
export class RunEvents {
  #isOver = false;

  /**
   * @param {{threadId: string, runId: string}} run
   * @param {Emit} emit
   */
  constructor({ threadId, runId }, emit) {
    this.run = { threadId, runId };
    this.emit = emit;
  }

  get isOver() {
    return this.#isOver;
  }

  start() {
    this.emit({ type: EventType.RUN_STARTED, protocolVersion: AGUI_VERSION, ...this.run });
  }

  /** @param {Message[]} messages */
  snapshot(messages) {
    this.emit({ type: EventType.MESSAGES_SNAPSHOT, messages });
  }

  /** @param {{wasCancelled?: boolean, usage?: Usage}} [end] */
  finish({ wasCancelled = false, usage } = {}) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.emit({
      type: EventType.RUN_FINISHED,
      ...this.run,
      outcome: { type: wasCancelled ? "cancelled" : "success" },
      ...(usage && { usage: [tokenUsage(usage)] }),
    });
  }

  /**
   * The reply waits for what its user may answer.
   *
   * @param {Interrupt[]} interrupts At least one.
   */
  interrupt(interrupts) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.emit({ type: EventType.RUN_FINISHED, ...this.run, outcome: { type: "interrupt", interrupts } });
  }

  /**
   * @param {string} message
   * @param {string} code
   */
  fail(message, code) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.emit({ type: EventType.RUN_ERROR, message, code });
  }
}

/**
 * Tells one reply as a text message of a run.
 *
 * @implements {ReplyListener}
 */
export class ReplyEvents {
  /** What was told so far. */
  text = "";
  #isOpen = false;
  /** The calls as they were told. @type {Map<string, ToolCall>} */
  #calls = new Map();

  /**
   * @param {{replyTo: number, generation: number}} reply
   * @param {object} options
   * @param {Emit} options.emit
   * @param {() => void} options.onRewritten All messages are to be told as they stand: one that has
   *   begun can only be replaced by a snapshot.
   * @param {(calls: readonly ToolCall[]) => void} options.onWaiting Some of them wait for somebody's
   *   decision, or none does any more.
   * @param {(end: ReplyEnd) => void} options.onEnd
   */
  constructor({ replyTo, generation }, { emit, onRewritten, onWaiting, onEnd }) {
    this.messageId = replyId({ replyTo, generation });
    this.metadata = { sender: AGENT, replyTo, generation };
    this.emit = emit;
    this.whenRewritten = onRewritten;
    this.whenWaiting = onWaiting;
    this.whenEnded = onEnd;
  }

  /** The messages as they were told: none before they began. @returns {Message[]} */
  get messages() {
    const { messageId: id, text: content, metadata } = this;
    const calls = [...this.#calls.values()];
    if (content === "" && calls.length === 0) return [];
    return messagesOfReply({ id, role: "assistant", content, metadata }, calls);
  }

  /** @param {string} delta */
  onText(delta) {
    const { messageId, metadata } = this;
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.emit({ type: EventType.TEXT_MESSAGE_START, messageId, role: "assistant", metadata });
    }
    this.text += delta;
    this.emit({ type: EventType.TEXT_MESSAGE_CONTENT, messageId, delta });
  }

  /** @param {string} text */
  onRewritten(text) {
    this.close();
    this.text = text;
    this.whenRewritten();
  }

  /** @param {readonly ToolCall[]} calls */
  onCalls(calls) {
    this.close();
    let isEmptied = false;
    for (const call of calls) {
      const before = this.#calls.get(call.callId);
      this.#calls.set(call.callId, call);
      if (before === undefined) this.#ask(call);
      else isEmptied ||= call.redacted !== before.redacted;
      const result = resultOf(call);
      if (result !== undefined && (before === undefined || resultOf(before) === undefined)) {
        const { callId: toolCallId } = call;
        this.emit({ type: EventType.TOOL_CALL_RESULT, messageId: resultId(call), toolCallId, content: result, role: "tool" });
      }
    }
    if (isEmptied) this.whenRewritten();
    this.whenWaiting(calls.filter((call) => stateOf(call) === "requested"));
  }

  /** @param {ReplyEnd} end */
  onEnd(end) {
    this.close();
    this.whenEnded(end);
  }

  /** @param {ToolCall} call */
  #ask({ callId: toolCallId, tool: toolCallName, arguments: shown }) {
    const { messageId: parentMessageId } = this;
    this.emit({ type: EventType.TOOL_CALL_START, toolCallId, toolCallName, parentMessageId });
    this.emit({ type: EventType.TOOL_CALL_ARGS, toolCallId, delta: JSON.stringify(shown) });
    this.emit({ type: EventType.TOOL_CALL_END, toolCallId });
  }

  /** Ends the text message, if it is open. */
  close() {
    if (this.#isOpen) this.emit({ type: EventType.TEXT_MESSAGE_END, messageId: this.messageId });
    this.#isOpen = false;
  }
}

/**
 * What a run asks its user: to approve or to deny a call.
 *
 * @param {ToolCall} call
 * @returns {Interrupt}
 */
export function interruptOf({ callId, tool, arguments: shown, approval, expiresAt }) {
  return {
    id: callId,
    reason: "tool_call",
    toolCallId: callId,
    message: `May the agent call ${tool}?`,
    responseSchema: { type: "object", properties: { approved: { type: "boolean" } }, required: ["approved"] },
    ...(expiresAt !== undefined && { expiresAt }),
    metadata: { tool, arguments: shown, approval },
  };
}

/**
 * Ends a run as its reply ended.
 *
 * @param {RunEvents} run
 * @param {ReplyEnd} end
 */
export function endRun(run, end) {
  switch (end.kind) {
    case "message": {
      const { finishReason, usage } = end.message;
      run.finish({ wasCancelled: finishReason === "cancelled", usage });
      break;
    }
    case "failed":
      run.fail(failureText(end.reason), end.reason);
      break;
    case "none":
      run.finish();
      break;
    case "gone":
      run.fail(end.error.message, "gone");
  }
}

/** @param {Usage} usage */
function tokenUsage({ modelId, inputTokens, outputTokens }) {
  return { model: modelId, inputTokens, outputTokens, totalTokens: inputTokens + outputTokens };
}
