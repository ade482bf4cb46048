/** @import { Problem } from "./wire.js" */

const REPEATABLE = new Set([0, 429, 500, 502, 503, 504]);

/** A request that was not served, from the server's problem or from what kept it from the server. */
export class ChatError extends Error {
  /**
   * @param {Problem} problem
   * @param {{retryAfter?: number, cause?: unknown}} [options] `retryAfter` in seconds.
   */
  constructor(problem, { retryAfter, cause } = {}) {
    super(problem.detail || problem.title || "The request failed.", { cause });
    this.name = "ChatError";
    /** All that the server said. */
    this.problem = problem;
    /** The HTTP status; 0 where no answer came. */
    this.status = problem.status ?? 0;
    /** The last segment of the problem's `type`. */
    this.code = (problem.type ?? "").split("/").at(-1) || "unknown";
    this.title = problem.title ?? "";
    this.detail = problem.detail ?? "";
    /** What is wrong with which field. */
    this.errors = problem.errors ?? [];
    /** Seconds, where the server said so. */
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later without a change. */
  get isTemporary() {
    return REPEATABLE.has(this.status) && this.code !== "closed";
  }
}

/** The connection ended before the answer came: whether the request was served is not known. */
export class ConnectionLostError extends ChatError {
  constructor(detail = "The connection was lost before the answer came.") {
    super({ type: "connection-lost", title: "The connection was lost", detail });
    this.name = "ConnectionLostError";
  }
}

/**
 * @param {string} code
 * @param {string} detail
 * @param {unknown} [cause]
 */
export function localError(code, detail, cause) {
  return new ChatError({ type: code, title: detail, detail }, { cause });
}

/** @param {unknown} error */
export function asError(error) {
  return error instanceof Error ? error : new Error(String(error));
}
