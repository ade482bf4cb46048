/**
 * Exponential back-off with full jitter: clients that lost the same server come back spread out.
 */
export class Backoff {
  /**
   * @param {object} options
   * @param {number} options.base Milliseconds: the most that the first wait takes.
   * @param {number} options.cap Milliseconds: the most that any wait takes.
   * @param {() => number} [options.random] From 0 up to 1.
   */
  constructor({ base, cap, random = Math.random }) {
    this.base = base;
    this.cap = cap;
    this.random = random;
    this.attempt = 0;
  }

  /** The next wait in milliseconds, at least `atLeast`. */
  next(atLeast = 0) {
    const most = Math.min(this.cap, this.base * 2 ** Math.min(this.attempt, 30));
    this.attempt += 1;
    return atLeast + this.random() * most;
  }

  reset() {
    this.attempt = 0;
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} [signal] Ends the wait early, by rejecting with its reason.
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
