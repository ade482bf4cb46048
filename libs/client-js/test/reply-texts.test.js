import assert from "node:assert/strict";
import { test } from "node:test";

import { ReplyTexts } from "../src/reply-texts.js";

/** @import { ChatEvent, Delta } from "../src/wire.js" */

/**
 * @param {number} index
 * @param {string} text
 * @param {Partial<Delta>} [fields]
 * @returns {Delta}
 */
function delta(index, text, fields) {
  return { type: "delta", channelId: "c", replyTo: 1, generation: 1, index, text, ...fields };
}

/** @param {Partial<ChatEvent>} fields @returns {ChatEvent} */
function event(fields) {
  return {
    channelId: "c",
    seq: 2,
    type: "message.created",
    createdAt: "2026-01-01T00:00:00.000Z",
    sender: { id: "#agent", kind: "agent" },
    data: { text: "ab", replyTo: 1, generation: 1 },
    ...fields,
  };
}

test("the pieces of a reply are its text", () => {
  const replies = new ReplyTexts();

  replies.receive(delta(0, "a"));
  replies.receive(delta(1, "b"));

  assert.deepEqual(replies.open, [{ replyTo: 1, generation: 1, index: 1, text: "ab" }]);
});

test("a piece that came before does not count again", () => {
  const replies = new ReplyTexts();
  replies.receive(delta(0, "a"));
  replies.receive(delta(1, "b"));

  assert.deepEqual(replies.receive(delta(0, "a")), []);
  assert.deepEqual(replies.receive(delta(1, "ab", { snapshot: true })), []);
  assert.equal(replies.open[0]?.text, "ab");
});

test("a piece that overtook another waits for it", () => {
  const replies = new ReplyTexts();
  replies.receive(delta(0, "a"));

  assert.equal(replies.receive(delta(2, "c")).length, 0);
  assert.deepEqual(replies.receive(delta(1, "b")).map(({ text }) => text), ["b", "c"]);
  assert.equal(replies.open[0]?.text, "abc");
});

test("a snapshot replaces all before it, and what comes next continues it", () => {
  const replies = new ReplyTexts();
  replies.receive(delta(0, "wrong"));

  replies.receive(delta(201, "right", { snapshot: true }));
  replies.receive(delta(202, "!"));

  assert.equal(replies.open[0]?.text, "right!");
});

test("whoever comes in the middle knows nothing of a reply before its snapshot", () => {
  const replies = new ReplyTexts();

  assert.deepEqual(replies.receive(delta(5, "f")), []);
  assert.equal(replies.open.length, 0);
  assert.equal(replies.receive(delta(4, "abcde", { snapshot: true })).length, 2);
  assert.equal(replies.open[0]?.text, "abcdef");
});

test("after its final event a reply is not open, and its late pieces do not count", () => {
  const replies = new ReplyTexts();
  replies.receive(delta(0, "a"));

  replies.observe(event({}));

  assert.deepEqual(replies.open, []);
  assert.deepEqual(replies.receive(delta(1, "b")), []);
  assert.deepEqual(replies.receive(delta(2, "ab", { snapshot: true })), []);
});

test("agent.failed ends a reply too", () => {
  const replies = new ReplyTexts();
  replies.receive(delta(0, "a"));

  replies.observe(event({ type: "agent.failed", data: { target: 1, generation: 1, reason: "timeout" } }));

  assert.deepEqual(replies.open, []);
});

test("the end of a generation is not the end of the next one", () => {
  const replies = new ReplyTexts();
  replies.observe(event({}));

  assert.equal(replies.receive(delta(0, "new", { generation: 2 })).length, 1);
});

test("a user's message ends no reply", () => {
  const replies = new ReplyTexts();
  replies.receive(delta(0, "a"));

  replies.observe(event({ sender: { id: "bob", kind: "user" } }));

  assert.equal(replies.open.length, 1);
});
