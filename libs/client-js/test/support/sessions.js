import { WebSocket } from "ws";

import { ChatSession } from "../../src/session.js";

/**
 * @import { TestContext } from "node:test"
 * @import { SessionOptions } from "../../src/session.js"
 * @import { WebSocketClass } from "../../src/link.js"
 */

/** Fast enough for tests. */
export const TIMING = {
  connectTimeout: 2_000,
  requestTimeout: 2_000,
  pingInterval: 50,
  probeTimeout: 500,
  backoffBase: 5,
  backoffCap: 50,
};

/** Node's own where there is one, as applications have it. */
export const webSocket = /** @type {WebSocketClass} */ (
  globalThis.WebSocket ?? /** @type {unknown} */ (WebSocket)
);

/**
 * A session that is closed when the test ends.
 *
 * @param {TestContext} test
 * @param {SessionOptions} options
 */
export function openSession(test, options) {
  const session = new ChatSession({ webSocket, ...options, timing: { ...TIMING, ...options.timing } });
  test.after(() => session.close());
  return session;
}
