/** @typedef {string | ((options: {refresh: boolean}) => string | Promise<string>)} Token */

const MARGIN = 60_000;

/** Answers the token to use now, asking the application for a fresh one where it can give one. */
export class TokenSource {
  /** @param {Token} token A token, or a function that answers one; it is kept until it expires. */
  constructor(token) {
    this.token = token;
    /** The one that was answered last. @type {string | undefined} */
    this.kept = typeof token === "string" ? token : undefined;
    /** @type {Promise<string> | undefined} */
    this.asked = undefined;
  }

  get isRenewable() {
    return typeof this.token === "function";
  }

  /**
   * @param {{refresh?: boolean}} [options] `refresh`: the last one was refused or is about to expire.
   * @returns {Promise<string>}
   */
  async get({ refresh = false } = {}) {
    const { token } = this;
    if (typeof token === "string") return token;
    if (!refresh && this.kept !== undefined && lives(this.kept)) return this.kept;
    this.asked ??= Promise.resolve()
      .then(() => token({ refresh }))
      .finally(() => {
        this.asked = undefined;
      });
    this.kept = await this.asked;
    return this.kept;
  }
}

/** @param {string} token */
function lives(token) {
  const expiresAt = expiryOf(token);
  return expiresAt !== undefined && expiresAt - Date.now() > MARGIN;
}

/**
 * When a JWT expires, in milliseconds since 1970; undefined where it does not say so.
 *
 * @param {string} token
 * @returns {number | undefined}
 */
export function expiryOf(token) {
  const payload = token.split(".")[1];
  if (payload === undefined) return undefined;
  try {
    const claims = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    return typeof claims?.exp === "number" ? claims.exp * 1000 : undefined;
  } catch {
    return undefined; // an opaque token: only its issuer can read it
  }
}
