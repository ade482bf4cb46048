import { failureText } from "./failures.js";
import { replyId } from "./room-list.js";
import { AGENT, messageMetadata } from "./ui-messages.js";

/**
 * @import { FinishReason as UIFinishReason, UIMessageChunk } from "ai"
 * @import { ReplyEnd, ReplyListener } from "./reply-follower.js"
 * @import { FinishReason } from "./wire.js"
 * @import { ChatMetadata } from "./ui-messages.js"
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

  /**
   * @param {{replyTo: number, generation: number}} reply
   * @param {(chunk: ChatChunk) => void} write
   * @param {(error?: Error) => void} close
   */
  constructor(reply, write, close) {
    this.reply = reply;
    this.write = write;
    this.close = close;
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
    if (text !== "") this.onText(text);
  }

  /** @param {ReplyEnd} end */
  onEnd(end) {
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
