/**
 * A message that the server has not acknowledged.
 *
 * @typedef {object} Unsent
 * @property {string} clientMessageId
 * @property {string} channelId
 * @property {string} text
 * @property {number} [replyTo]
 * @property {string} createdAt
 * @property {string} [refused] Why it will not be sent as it is.
 */

/**
 * Keeps what one user has written until it is acknowledged, through reloads and closed tabs. Every
 * tab of the user reads the same list: whichever sends a message uses the same `clientMessageId`,
 * so that it is posted once.
 */
export class Outbox {
  /**
   * @param {string} userId
   * @param {Storage} [storage]
   */
  constructor(userId, storage = localStorage) {
    this.key = `chat.outbox.${userId}`;
    this.storage = storage;
  }

  /** In the order written. @returns {Unsent[]} */
  get all() {
    try {
      const stored = JSON.parse(this.storage.getItem(this.key) ?? "[]");
      return Array.isArray(stored) ? stored : [];
    } catch {
      return [];
    }
  }

  /** @param {string} channelId */
  of(channelId) {
    return this.all.filter((unsent) => unsent.channelId === channelId);
  }

  /** @param {Unsent} unsent */
  put(unsent) {
    const others = this.all;
    const position = others.findIndex((each) => each.clientMessageId === unsent.clientMessageId);
    others.splice(position === -1 ? others.length : position, position === -1 ? 0 : 1, unsent);
    this.#store(others);
  }

  /** @param {string} clientMessageId */
  remove(clientMessageId) {
    const others = this.all;
    const left = others.filter((each) => each.clientMessageId !== clientMessageId);
    if (left.length !== others.length) this.#store(left);
  }

  clear() {
    this.storage.removeItem(this.key);
  }

  /** @param {Unsent[]} list */
  #store(list) {
    if (list.length === 0) this.storage.removeItem(this.key);
    else this.storage.setItem(this.key, JSON.stringify(list));
  }
}
