import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatBackendAgent } from "../src/ag-ui.js";
import { eventually } from "../test/support/waiting.js";
import { createChannel, optionsOf } from "./stack.js";

/** @import { BaseEvent } from "@ag-ui/client" */
/** @import { TestContext } from "node:test" */

const SECONDS = 60;

/**
 * @param {TestContext} t
 * @param {"alice" | "bob"} user
 * @param {string} threadId
 */
function openAgent(t, user, threadId) {
  const agent = new ChatBackendAgent({ ...optionsOf(user), threadId });
  /** @type {(BaseEvent & Record<string, any>)[]} */
  const events = [];
  agent.subscribe({ onEvent: ({ event }) => void events.push(event) });
  t.after(() => agent.close());
  return { agent, events };
}

test("a run is told, another member sees it as it goes, and abort ends the next for both", async (t) => {
  const threadId = await createChannel("always");
  const asking = openAgent(t, "alice", threadId);
  const watching = openAgent(t, "bob", threadId);
  t.after(watching.agent.watch());
  const contents = (/** @type {ChatBackendAgent} */ agent) => agent.messages.map(({ content }) => content);

  asking.agent.addMessage({ id: "q1", role: "user", content: "[[demo total_ms=3000]] Hello?" });
  await asking.agent.runAgent();
  await eventually(() => !watching.agent.isRunning && watching.agent.messages.length === 2, SECONDS);
  assert.deepEqual(contents(watching.agent), contents(asking.agent));
  assert.ok(watching.events.some(({ type }) => type === "TEXT_MESSAGE_CONTENT"));

  asking.agent.addMessage({ id: "q2", role: "user", content: "[[demo total_ms=60000]] All of it." });
  const run = asking.agent.runAgent();
  await eventually(() => asking.agent.messages.length === 4, SECONDS);
  asking.agent.abortRun();
  await run;

  assert.equal(asking.events.at(-1)?.outcome.type, "cancelled");
  await eventually(() => contents(watching.agent).join() === contents(asking.agent).join(), SECONDS);
});
