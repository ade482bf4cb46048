import assert from "node:assert/strict";
import { test } from "node:test";

import { ToolCalls, mayDecide, ruleOf, stateOf, stricterRule } from "../src/tool-calls.js";

/** @import { ChatEvent, EventData } from "../src/wire.js" */
/** @import { ToolCall } from "../src/tool-calls.js" */

const PLACE = { target: 1, generation: 1, callId: "c1" };
const REQUEST = { ...PLACE, tool: "notes.add", arguments: { text: "milk" }, approval: /** @type {const} */ ("requester") };

/** @param {number} seq @param {string} type @param {EventData} data @param {string} [by] @returns {ChatEvent} */
function event(seq, type, data, by = "#agent") {
  const kind = by === "#agent" ? "agent" : "user";
  return { channelId: "room", seq, type, createdAt: "2026-01-02T03:04:05.678Z", sender: { id: by, kind }, data };
}

const requested = event(2, "tool.requested", REQUEST);
const approved = event(3, "tool.decided", { ...PLACE, decision: "approved" }, "bob");
const finished = event(4, "tool.finished", { ...PLACE, outcome: "ok", result: "added", truncated: true });

/** @param {ChatEvent[]} events */
function folded(...events) {
  const calls = new ToolCalls();
  for (const each of events) calls.apply(each);
  return calls;
}

/** @param {ToolCalls} calls */
const first = (calls) => /** @type {ToolCall} */ (calls.of(1, 1)[0]);

test("a call is what its events say, whatever their order, however often", () => {
  const expected = folded(requested, approved, finished).all;

  for (const order of [[finished, approved, requested], [approved, requested, finished, requested, approved]]) {
    assert.deepEqual(folded(...order).all, expected);
  }
  assert.equal(first(folded(requested, approved, finished)).decidedBy?.id, "bob");
});

test("its state goes from the request over the decision to the outcome", () => {
  assert.equal(stateOf(first(folded(requested))), "requested");
  assert.equal(stateOf(first(folded(requested, approved))), "running");
  assert.equal(stateOf(first(folded(requested, approved, finished))), "ok");
  const expired = event(3, "tool.decided", { ...PLACE, decision: "expired" });
  assert.equal(stateOf(first(folded(requested, expired))), "expired");
  const free = event(2, "tool.requested", { ...REQUEST, approval: "none" });
  assert.equal(stateOf(first(folded(free))), "running");
});

test("the first decision stands", () => {
  const denied = event(5, "tool.decided", { ...PLACE, decision: "denied" }, "eve");

  assert.equal(first(folded(requested, approved, denied)).decision, "approved");
});

test("a list of calls is another one only when one of them changed", () => {
  const calls = folded(requested);
  const before = calls.of(1, 1);

  calls.apply(requested);
  assert.equal(calls.of(1, 1), before);
  calls.apply(approved);
  assert.notEqual(calls.of(1, 1), before);
});

test("what is deleted is emptied, and stays empty", () => {
  const calls = folded(requested, approved);
  calls.empty(1);
  calls.apply(finished);

  assert.deepEqual(first(calls).arguments, {});
  assert.equal(first(calls).result, "");
  assert.equal(first(calls).redacted, true);
});

test("of a reply that is deleted the others' calls stay", () => {
  const calls = folded(requested, event(5, "tool.requested", { ...REQUEST, callId: "c2", generation: 2 }));

  calls.empty(1, 2);

  assert.deepEqual(calls.all.map(({ redacted }) => redacted ?? false), [false, true]);
});

test("an event that looks like one and names no call passes by", () => {
  const calls = new ToolCalls();

  assert.equal(calls.apply(event(1, "message.created", { text: "tool.decided", callId: "c1" })), false);
  assert.equal(calls.apply(event(2, "tool.decided", { decision: "approved" })), false);
  assert.deepEqual(calls.all, []);
});

test("the stricter rule is in force, and one that is not known is the strictest", () => {
  assert.equal(stricterRule("anyone", "requester"), "requester");
  assert.equal(stricterRule("owner", "anyone"), "owner");
  assert.equal(stricterRule("owner", /** @type {any} */ ("council")), "council");
  const agent = { mode: /** @type {const} */ ("always"), modelId: "demo", approval: { "notes.add": /** @type {const} */ ("owner") } };
  assert.equal(ruleOf(first(folded(requested)), agent), "owner");
});

test("who may decide is said by the rule, and nobody by one that is not known", () => {
  const [nobody, owner, requester] = [
    { isOwner: false, isRequester: false },
    { isOwner: true, isRequester: false },
    { isOwner: false, isRequester: true },
  ];

  assert.ok(mayDecide("anyone", nobody));
  assert.ok(mayDecide("requester", requester) && !mayDecide("requester", owner));
  assert.ok(mayDecide("owner", owner) && !mayDecide("owner", requester));
  for (const rule of ["none", "council"]) assert.ok(!mayDecide(/** @type {any} */ (rule), owner));
});
