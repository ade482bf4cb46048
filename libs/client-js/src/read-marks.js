import { Backoff, pause } from "./backoff.js";
import { ChatError } from "./chat-error.js";

/** @import { Link } from "./link.js" */

/** Read marks: one frame at a time for each channel, with the latest mark. */
export class ReadMarks {
  /** The farthest mark asked for that is not told yet, by channel. @type {Map<string, number>} */
  #wanted = new Map();
  /** @type {Map<string, Promise<void>>} */
  #telling = new Map();

  /** @param {Link} link */
  constructor(link) {
    this.link = link;
  }

  /**
   * @param {string} channelId
   * @param {number} seq
   * @returns {Promise<void>} When that mark, or one past it, is the server's.
   */
  mark(channelId, seq) {
    this.#wanted.set(channelId, Math.max(seq, this.#wanted.get(channelId) ?? 0));
    let telling = this.#telling.get(channelId);
    if (telling === undefined) {
      telling = this.#tell(channelId).finally(() => this.#telling.delete(channelId));
      this.#telling.set(channelId, telling);
    }
    return telling;
  }

  /** @param {string} channelId */
  async #tell(channelId) {
    const backoff = new Backoff({ base: 250, cap: 10_000 });
    for (let seq = this.#wanted.get(channelId); seq !== undefined; seq = this.#wanted.get(channelId)) {
      try {
        await this.link.whenOpen();
        await this.link.request("read", { channelId, seq });
      } catch (error) {
        if (error instanceof ChatError && error.isTemporary) {
          await pause(backoff.next());
          continue;
        }
        this.#wanted.delete(channelId);
        throw error;
      }
      if (this.#wanted.get(channelId) === seq) this.#wanted.delete(channelId);
    }
  }
}
