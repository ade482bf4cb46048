import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomMessages } from "../src/room-messages.js";

/** @import { ChatEvent, Sender } from "../src/wire.js" */

/** @type {Sender} */
const BOB = { id: "bob", kind: "user" };
/** @type {Sender} */
const AGENT = { id: "#agent", kind: "agent" };

/**
 * @param {number} seq
 * @param {string} type
 * @param {ChatEvent["data"]} data
 * @param {Sender} [sender]
 * @returns {ChatEvent}
 */
function event(seq, type, data, sender = BOB) {
  return { channelId: "c", seq, type, createdAt: `2026-01-01T00:00:0${seq}.000Z`, sender, data };
}

/** @param {ChatEvent[]} events */
function fold(...events) {
  const messages = new RoomMessages();
  for (const each of events) messages.apply(each);
  return messages;
}

const HELLO = event(1, "message.created", { text: "helo" });

test("a message is what was posted, with its edits", () => {
  const messages = fold(HELLO, event(2, "message.edited", { target: 1, text: "hello" }));

  assert.equal(messages.get(1)?.text, "hello");
  assert.equal(messages.get(1)?.editedAt, "2026-01-01T00:00:02.000Z");
});

test("a deleted message has no text and takes no edit", () => {
  const deletion = event(2, "message.deleted", { target: 1 });
  const messages = fold(HELLO, deletion, event(3, "message.edited", { target: 1, text: "back" }));

  assert.equal(messages.get(1)?.text, "");
  assert.equal(messages.get(1)?.deletedAt, deletion.createdAt);
});

test("a message that was redacted in the log is a deleted one", () => {
  const messages = fold(event(1, "message.created", { text: "", redacted: true }));

  assert.notEqual(messages.get(1)?.deletedAt, undefined);
});

test("reactions come and go by user, once each", () => {
  const add = event(2, "reaction.added", { target: 1, emoji: "👍" });
  const messages = fold(HELLO, add, add);
  assert.deepEqual(messages.get(1)?.reactions, { "👍": ["bob"] });

  messages.apply(event(3, "reaction.removed", { target: 1, emoji: "👍" }));

  assert.deepEqual(messages.get(1)?.reactions, {});
});

test("events that a loaded page has seen already change nothing", () => {
  const events = [HELLO, event(2, "message.edited", { target: 1, text: "hello" })];
  const loaded = fold(...events);
  const messages = new RoomMessages();

  messages.load(loaded.all);
  for (const each of events) messages.apply(each);

  assert.deepEqual(messages.all, loaded.all);
});

test("what is said about a message that is not held here is no matter", () => {
  const messages = fold(event(9, "message.edited", { target: 1, text: "hello" }));

  assert.deepEqual(messages.all, []);
});

test("a question's last generation is the newest that has ended, failed ones too", () => {
  const messages = fold(
    HELLO,
    event(2, "message.created", { text: "one", replyTo: 1, generation: 1 }, AGENT),
    event(3, "agent.failed", { target: 1, generation: 2, reason: "timeout" }, AGENT),
  );

  assert.equal(messages.lastGeneration(1), 2);
  assert.equal(messages.reply(1, 1)?.text, "one");
  assert.equal(messages.failure(1, 2)?.reason, "timeout");
});

test("event types that nobody knows change nothing", () => {
  assert.equal(fold(HELLO, event(2, "poll.opened", { target: 1 })).all.length, 1);
});
