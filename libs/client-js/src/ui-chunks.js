import { failureText } from "./failures.js";
import { replyId } from "./room-list.js";
import { stateOf } from "./tool-calls.js";
import { AGENT, messageMetadata } from "./ui-messages.js";

/**
 * @import { FinishReason as UIFinishReason, UIMessageChunk } from "ai"
 * @import { ReplyEnd, ReplyListener } from "./reply-follower.js"
 * @import { FinishReason } from "./wire.js"
 * @import { ToolCall } from "./tool-calls.js"
 * @import { ChatMetadata } from "./ui-messages.js"
 * @import { UITools } from "./ui-tools.js"
 */

/** @typedef {UIMessageChunk<ChatMetadata>} ChatChunk */

/** @type {Record<FinishReason, UIFinishReason>} */
const FINISH_REASONS = {
  stop: "stop",
  length: "length",
  filtered: "content-filter",
  cancelled: "interrupted",
};

/**
 * Writes a reply as the chunks of a UI message stream.
 *
 * @implements {ReplyListener}
 */
export class UIChunks {
  #hasStarted = false;
  /** Which text part is open; undefined: none. @type {string | undefined} */
  #part = undefined;
  #parts = 0;
  /** The calls as they were told. @type {Map<string, ToolCall>} */
  #calls = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pausing = undefined;

  /**
   * @param {{replyTo: number, generation: number}} reply
   * @param {UITools} tools
   * @param {(chunk: ChatChunk) => void} write
   * @param {(error?: Error) => void} close
   * @param {{known: readonly ToolCall[], settling: number}} options `known`: calls whose parts the SDK
   *   has, as they are told there; `settling`: milliseconds within which a reply has asked for all.
   */
  constructor(reply, tools, write, close, { known, settling }) {
    this.settling = settling;
    for (const call of known) this.#calls.set(call.callId, call);
    this.reply = reply;
    this.tools = tools;
    this.write = write;
    this.close = close;
  }

  /** Nothing more is written. */
  stop() {
    clearTimeout(this.#pausing);
  }

  /** @param {string} delta */
  onText(delta) {
    this.write({ type: "text-delta", id: this.#openPart(), delta });
  }

  /** @param {string} text */
  onRewritten(text) {
    this.#start();
    this.#part = undefined;
    this.write({ type: "reset-step" });
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#tell(calls);
    if (text !== "") this.onText(text);
  }

  /** @param {readonly ToolCall[]} calls */
  onCalls(calls) {
    this.#start();
    this.#closePart();
    this.#tell(calls);
    clearTimeout(this.#pausing);
    if (calls.some((call) => stateOf(call) === "requested")) {
      this.#pausing = setTimeout(() => this.#pause(), this.settling);
    }
  }

  /** @param {ReplyEnd} end */
  onEnd(end) {
    this.stop();
    switch (end.kind) {
      case "message": {
        const { message } = end;
        this.#start();
        this.#closePart();
        const finishReason = FINISH_REASONS[message.finishReason ?? "stop"] ?? "other";
        this.write({ type: "finish", finishReason, messageMetadata: messageMetadata(message) });
        this.close();
        break;
      }
      case "failed":
        this.#closePart();
        this.write({ type: "error", errorText: failureText(end.reason) });
        this.close();
        break;
      case "none":
        this.close();
        break;
      case "gone":
        this.close(end.error);
    }
  }

  /** The reply waits for somebody's decision, maybe for hours: an SDK waits for none of them. */
  #pause() {
    this.#closePart();
    this.write({ type: "finish", finishReason: "tool-calls" });
    this.close();
  }

  /** @param {readonly ToolCall[]} calls */
  #tell(calls) {
    for (const call of calls) {
      const before = this.#calls.get(call.callId);
      if (before === call) continue;
      for (const chunk of this.tools.chunks(call, before)) this.write(/** @type {ChatChunk} */ (chunk));
      this.#calls.set(call.callId, call);
    }
  }

  #start() {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    const { replyTo, generation } = this.reply;
    this.write({
      type: "start",
      messageId: replyId(this.reply),
      messageMetadata: { sender: AGENT, replyTo, generation },
    });
  }

  #openPart() {
    this.#start();
    if (this.#part === undefined) {
      this.#parts += 1;
      this.#part = `text-${this.#parts}`;
      this.write({ type: "text-start", id: this.#part });
    }
    return this.#part;
  }

  #closePart() {
    if (this.#part !== undefined) this.write({ type: "text-end", id: this.#part });
    this.#part = undefined;
  }
}
