import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatRest } from "../src/session.js";

/**
 * A client of answers that were said beforehand: a status, with a body, or an error of the network.
 *
 * @param {(Response | Error)[]} answers
 * @param {{token?: (options: {refresh: boolean}) => string}} [options]
 */
function clientOf(answers, { token = () => "token" } = {}) {
  /** @type {{url: string, method: string, headers: Record<string, string>, body?: string}[]} */
  const requests = [];
  const rest = new ChatRest({
    restUrl: "https://chat.example/stage/",
    token,
    fetch: async (url, init) => {
      requests.push(/** @type {any} */ ({ url, ...init }));
      const answer = answers.shift();
      assert.ok(answer, "one request too many");
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return { rest, requests };
}

/** @param {number} status @param {object} [body] @param {Record<string, string>} [headers] */
function answer(status, body, headers) {
  return new Response(body === undefined ? null : JSON.stringify(body), { status, headers });
}

const NETWORK = new TypeError("fetch failed");

test("a request names its resource percent-encoded, its query and its token", async () => {
  const { rest, requests } = clientOf([answer(204), answer(200, { items: [], nextCursor: null })]);

  await rest.addReaction("c/1", 2, "👍");
  await rest.listMessages("c", { before: 0, cursor: null, limit: 10 });

  assert.deepEqual(requests.map(({ method, url }) => `${method} ${url}`), [
    "PUT https://chat.example/stage/v1/channels/c%2F1/messages/2/reactions/%F0%9F%91%8D",
    "GET https://chat.example/stage/v1/channels/c/messages?before=0&limit=10",
  ]);
  assert.equal(requests[0]?.headers.authorization, "Bearer token");
});

test("a problem is an error with what it says", async () => {
  const errors = [{ field: "name", message: "too long" }];
  const problem = { type: "https://x/problems/invalid-request", title: "A field is wrong", status: 422, detail: "name: too long", errors };
  const { rest } = clientOf([answer(422, problem)]);

  await assert.rejects(rest.createChannel({ name: "x" }), {
    name: "ChatError", status: 422, code: "invalid-request", message: "name: too long", errors,
  });
});

test("what is no problem is an error with its status", async () => {
  const { rest } = clientOf([new Response("<html>", { status: 403 })]);

  await assert.rejects(rest.getMe(), { status: 403, message: "HTTP 403" });
});

test("what was refused for the moment is repeated, whatever it is", async () => {
  const throttled = answer(429, {}, { "retry-after": "0" });
  const { rest, requests } = clientOf([throttled, answer(503, {}), answer(202)]);

  await rest.regenerateReply("c", 2);

  assert.equal(requests.length, 3);
});

test("what has no other effect when it is repeated is, when no answer came", async () => {
  const { rest, requests } = clientOf([NETWORK, answer(502), answer(200, { userId: "alice" })]);

  assert.deepEqual(await rest.getMe(), { userId: "alice" });
  assert.equal(requests.length, 3);
});

test("a message is repeated with its one clientMessageId", async () => {
  const { rest, requests } = clientOf([NETWORK, answer(200, { seq: 1 })]);

  await rest.postMessage("c", { text: "hello" });

  assert.equal(requests[0]?.body, requests[1]?.body);
  assert.match(String(requests[0]?.body), /"clientMessageId":"[0-9a-f]{32}"/);
});

test("a channel is repeated with its one key", async () => {
  const { rest, requests } = clientOf([NETWORK, answer(200, {})]);

  await rest.createChannel({ name: "room" });

  assert.equal(requests[0]?.headers["idempotency-key"], requests[1]?.headers["idempotency-key"]);
});

test("another reply is not asked for twice when no answer came", async () => {
  const { rest, requests } = clientOf([NETWORK]);

  await assert.rejects(rest.regenerateReply("c", 2), { status: 0, code: "network" });
  assert.equal(requests.length, 1);
});

test("a call that keeps failing fails in the end", async () => {
  const { rest } = clientOf(Array.from({ length: 5 }, () => answer(503, {}, { "retry-after": "0" })));

  await assert.rejects(rest.getMe(), { status: 503 });
});

test("a refused token is asked for anew, once", async () => {
  /** @type {boolean[]} */
  const asked = [];
  const token = (/** @type {{refresh: boolean}} */ { refresh }) => (asked.push(refresh), `token${asked.length}`);
  const { rest, requests } = clientOf([answer(401, {}), answer(401, {})], { token });

  await assert.rejects(rest.getMe(), { status: 401 });
  assert.deepEqual(asked, [false, true]);
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer token1", "Bearer token2"]);
});

test("a call that is given up is not repeated", async () => {
  const abort = new AbortController();
  const { rest } = clientOf([answer(503, {}, { "retry-after": "30" })]);

  const call = rest.getMe({ signal: abort.signal });
  setTimeout(() => abort.abort(), 20);

  await assert.rejects(call, { name: "AbortError" });
});
