import { EventType } from "@ag-ui/client";

import { failureText } from "./failures.js";
import { replyId } from "./room-list.js";
import { AGENT } from "./ui-messages.js";

/**
 * @import { BaseEvent, Message } from "@ag-ui/client"
 * @import { ReplyEnd, ReplyListener } from "./reply-follower.js"
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

  /**
   * @param {{replyTo: number, generation: number}} reply
   * @param {object} options
   * @param {Emit} options.emit
   * @param {() => void} options.onRewritten All messages are to be told as they stand: one that has
   *   begun can only be replaced by a snapshot.
   * @param {(end: ReplyEnd) => void} options.onEnd
   */
  constructor({ replyTo, generation }, { emit, onRewritten, onEnd }) {
    this.messageId = replyId({ replyTo, generation });
    this.metadata = { sender: AGENT, replyTo, generation };
    this.emit = emit;
    this.whenRewritten = onRewritten;
    this.whenEnded = onEnd;
  }

  /** The message as it was told; undefined before it began. @returns {Message | undefined} */
  get message() {
    const { messageId: id, text: content, metadata } = this;
    return content === "" ? undefined : { id, role: "assistant", content, metadata };
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

  /** @param {ReplyEnd} end */
  onEnd(end) {
    this.close();
    this.whenEnded(end);
  }

  /** Ends the text message, if it is open. */
  close() {
    if (this.#isOpen) this.emit({ type: EventType.TEXT_MESSAGE_END, messageId: this.messageId });
    this.#isOpen = false;
  }
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
