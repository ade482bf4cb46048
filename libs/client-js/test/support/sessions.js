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

export const webSocket = /** @type {WebSocketClass} */ (/** @type {unknown} */ (WebSocket));

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
