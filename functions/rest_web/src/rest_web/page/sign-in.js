/**
 * Who is signed in in this tab: by a token that was pasted, by the local stack as a demo user, or
 * on the user pool's hosted page (authorization code with PKCE). Kept for the tab alone, so that two
 * windows can be two people, and nothing outlives them.
 */

import { ChatError } from "./chat-error.js";
import { expiryOf } from "./token-source.js";

/** @import { PageSettings } from "./settings.js" */

/**
 * @typedef {object} Credentials
 * @property {string} token
 * @property {string} [refreshToken] The hosted page's.
 * @property {string} [demoUser]
 */

/** @typedef {{verifier: string, state: string, hash: string}} HostedRequest */

const KEPT = "chat.credentials";
const REQUESTED = "chat.sign-in";
const MARGIN = 60_000;

export class SignIn {
  /** @param {PageSettings} settings */
  constructor(settings) {
    this.settings = settings;
  }

  /** @returns {Credentials | undefined} */
  get current() {
    const kept = sessionStorage.getItem(KEPT);
    return kept === null ? undefined : JSON.parse(kept);
  }

  /** @param {Credentials} credentials */
  keep(credentials) {
    sessionStorage.setItem(KEPT, JSON.stringify(credentials));
  }

  forget() {
    sessionStorage.removeItem(KEPT);
  }

  /** The token to use now: what a ChatSession asks for. @param {{refresh: boolean}} options */
  token = async ({ refresh }) => {
    const { current } = this;
    if (current === undefined) throw new Error("Nobody is signed in.");
    const isFresh = (expiryOf(current.token) ?? Infinity) - Date.now() > MARGIN;
    if (isFresh && !refresh) return current.token;
    if (current.demoUser !== undefined) return this.withDemoUser(current.demoUser);
    if (current.refreshToken !== undefined) return this.#refreshed(current.refreshToken);
    return current.token;
  };

  /** @param {string} token */
  withToken(token) {
    const trimmed = token.trim().replace(/^Bearer\s+/i, "");
    if (trimmed.split(".").length !== 3) throw new Error("This is not a token: a JWT has three parts.");
    if ((expiryOf(trimmed) ?? Infinity) < Date.now()) throw new Error("This token has expired.");
    this.keep({ token: trimmed });
  }

  /** @returns {Promise<string[]>} The demo users of the local stack. */
  async demoUsers() {
    const answer = await this.#demo("/users", {});
    return answer.users;
  }

  /** @param {string} user */
  async withDemoUser(user) {
    const { token } = await this.#demo("/token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ user }),
    });
    this.keep({ token, demoUser: user });
    return token;
  }

  /** Leaves for the hosted page; `finish` is called when the browser is back. */
  async begin() {
    const { clientId } = this.#hosted;
    const verifier = randomText();
    const state = randomText();
    const request = { verifier, state, hash: location.hash };
    sessionStorage.setItem(REQUESTED, JSON.stringify(request));
    location.assign(
      this.#hostedPage("/oauth2/authorize", {
        response_type: "code",
        client_id: clientId,
        redirect_uri: this.settings.pageUrl,
        scope: "openid profile",
        state,
        code_challenge_method: "S256",
        code_challenge: await challengeOf(verifier),
      }),
    );
  }

  /**
   * Takes the code with which the hosted page sent the browser back, if it did.
   *
   * @returns {Promise<void>} Rejects with what went wrong.
   */
  async finish() {
    const answer = new URLSearchParams(location.search);
    if (!answer.has("code") && !answer.has("error")) return;
    const requested = sessionStorage.getItem(REQUESTED);
    sessionStorage.removeItem(REQUESTED);
    /** @type {HostedRequest | undefined} */
    const request = requested === null ? undefined : JSON.parse(requested);
    history.replaceState(null, "", this.settings.pageUrl + (request?.hash ?? ""));
    const code = answer.get("code");
    if (code === null) throw new Error(answer.get("error_description") ?? "You were not signed in.");
    if (request === undefined || answer.get("state") !== request.state) {
      throw new Error("This sign-in was not begun in this tab. Sign in again.");
    }
    await this.#exchange({
      grant_type: "authorization_code",
      code,
      code_verifier: request.verifier,
      redirect_uri: this.settings.pageUrl,
    });
  }

  /** Forgets who is signed in, on the hosted page too. */
  end() {
    const wasHosted = this.current?.refreshToken !== undefined;
    this.forget();
    if (!wasHosted || this.settings.hostedSignIn === undefined) {
      location.assign(this.settings.pageUrl);
      return;
    }
    const { clientId } = this.#hosted;
    location.assign(this.#hostedPage("/logout", { client_id: clientId, logout_uri: this.settings.pageUrl }));
  }

  get #hosted() {
    if (this.settings.hostedSignIn === undefined) throw new Error("There is no page to sign in.");
    return this.settings.hostedSignIn;
  }

  /** @param {string} refreshToken */
  #refreshed(refreshToken) {
    return this.#exchange({ grant_type: "refresh_token", refresh_token: refreshToken });
  }

  /** @param {Record<string, string>} grant */
  async #exchange(grant) {
    const { url, clientId } = this.#hosted;
    const response = await fetch(`${url}/oauth2/token`, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ client_id: clientId, ...grant }),
    });
    if (!response.ok) {
      throw new ChatError({ status: 401, title: "Your sign-in has ended. Sign in again." });
    }
    const answer = await response.json();
    const refreshToken = answer.refresh_token ?? grant.refresh_token;
    this.keep({ token: answer.access_token, refreshToken });
    return /** @type {string} */ (answer.access_token);
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} query
   */
  #hostedPage(path, query) {
    return `${this.#hosted.url}${path}?${new URLSearchParams(query)}`;
  }

  /**
   * @param {string} path
   * @param {RequestInit} request
   */
  async #demo(path, request) {
    const response = await fetch(`${this.settings.demoSignInUrl}${path}`, request);
    if (!response.ok) throw new Error("The local stack gave no token: is it up?");
    return response.json();
  }
}

function randomText() {
  return base64Url(crypto.getRandomValues(new Uint8Array(32)));
}

/** @param {string} verifier */
async function challengeOf(verifier) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  return base64Url(new Uint8Array(digest));
}

/** @param {Uint8Array} bytes */
function base64Url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
