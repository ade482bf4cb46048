import { Backoff } from "./backoff.js";
import { expiryOf } from "./token-source.js";

/**
 * @import { Link } from "./link.js"
 * @import { TokenSource } from "./token-source.js"
 */

/** Before the end of a token; of a short one, a fifth of what is left. Milliseconds. */
const AHEAD = 120_000;
const SHORTEST_TIMER = 500;
const LONGEST_TIMER = 2 ** 31 - 1;

/** Sends `authenticate` with a fresh token before the connection's own one expires. */
export class TokenRenewal {
  /** @type {number | undefined} */
  #expiresAt = undefined;
  /** Counts connections: what was asked for one is nothing to the next. */
  #connection = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer = undefined;

  /**
   * @param {object} options
   * @param {TokenSource} options.tokens
   * @param {Link} options.link
   */
  constructor({ tokens, link }) {
    this.tokens = tokens;
    this.link = link;
    this.backoff = new Backoff({ base: 5_000, cap: 30_000 });
  }

  /** @param {string} token What the next connection is opened with. */
  note(token) {
    this.#expiresAt = expiryOf(token);
  }

  start() {
    this.stop();
    if (!this.tokens.isRenewable || this.#expiresAt === undefined) return;
    const left = this.#expiresAt - Date.now();
    this.#renewIn(left - Math.min(AHEAD, left / 5));
  }

  stop() {
    this.#connection += 1;
    clearTimeout(this.#timer);
  }

  /** @param {number} milliseconds */
  #renewIn(milliseconds) {
    const wait = Math.min(Math.max(milliseconds, SHORTEST_TIMER), LONGEST_TIMER);
    this.#timer = setTimeout(() => void this.#renew(), wait);
  }

  async #renew() {
    const connection = this.#connection;
    try {
      const token = await this.tokens.get({ refresh: true });
      if (connection !== this.#connection) return;
      await this.link.request("authenticate", { token });
      if (connection !== this.#connection) return;
      this.backoff.reset();
      this.note(token);
      this.start();
    } catch (error) {
      // A connection that was lost is opened with a fresh token. All else: again, while there is time.
      if (connection === this.#connection) this.#renewIn(this.backoff.next());
    }
  }
}
