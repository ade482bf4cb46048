import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { transform } from "esbuild";

import { FakeServer, speak } from "./support/fake-server.js";

/** @import { TestContext } from "node:test" */

const PACKAGE = new URL("..", import.meta.url);
const readme = await readFile(new URL("README.md", PACKAGE), "utf8");
const REPLY = "Good morning to you.";

/**
 * The example that imports a module of the package, as it stands in the README.
 *
 * @param {string} module
 */
function exampleOf(module) {
  const blocks = [...readme.matchAll(/```jsx?\n(.*?)```/gs)].map(([, code = ""]) => code);
  const example = blocks.find((code) => code.includes(`from "chat-backend-client/${module}"`));
  assert.ok(example, `no example of ${module}`);
  return example;
}

/**
 * Runs an example in a process of its own, against a server.
 *
 * @param {TestContext} t
 * @param {string} example
 * @param {{before?: string, after?: string}} [around]
 * @returns {Promise<string>} What it printed.
 */
async function run(t, example, { before = "", after = "" } = {}) {
  const server = await FakeServer.start();
  t.after(() => server.stop());
  server.script = speak(REPLY);
  const { channelId } = server.createChannel({ agent: { mode: "always" } });
  const given = { ...server.optionsOf(), channelId };
  const { code } = await transform(example, { loader: "jsx", jsx: "automatic" });
  const program = `
    globalThis.WebSocket ??= (await import("ws")).WebSocket;
    const { restUrl, websocketUrl, token, channelId } = ${JSON.stringify(given)};
    ${before}
    ${code}
    ${after}
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: fileURLToPath(PACKAGE),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let errors = "";
  child.stdout.on("data", (data) => (output += data));
  child.stderr.on("data", (data) => (errors += data));
  const exitCode = await new Promise((resolve) => child.on("exit", resolve));
  assert.equal(exitCode, 0, errors);
  return output;
}

test("the example of a session runs, and ends with the agent's reply", async (t) => {
  const output = await run(t, exampleOf("session"));

  assert.deepEqual(output.trim().split("\n"), [
    "1 alice message.created Good morning, @agent",
    `2 #agent message.created ${REPLY}`,
  ]);
});

test("the example of AG-UI runs, and prints the reply as it comes and as it is", async (t) => {
  const output = await run(t, exampleOf("ag-ui"));

  assert.equal(output, `${REPLY}${REPLY}\n`);
});

test("the example of useChat runs in a page, under React's strict mode", async (t) => {
  const before = `
    import { Window } from "happy-dom";
    const window = new Window({ url: "http://localhost" });
    globalThis.navigator ??= window.navigator;
    Object.assign(globalThis, { window, document: window.document, HTMLElement: window.HTMLElement, FormData: window.FormData });
  `;
  const after = `
    const { createElement, StrictMode } = await import("react");
    const { createRoot } = await import("react-dom/client");
    const root = createRoot(document.body.appendChild(document.createElement("div")));
    root.render(createElement(StrictMode, null, createElement(Room)));
    const shown = () => [...document.querySelectorAll("p")].map((p) => p.textContent);
    const until = async (holds) => {
      for (const limit = Date.now() + 20_000; !holds(); ) {
        if (Date.now() > limit) throw new Error("It did not come to pass: " + holds + shown());
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const button = (label) => [...document.querySelectorAll("button")].find((each) => each.textContent === label);
    await until(() => button("Again"));
    document.querySelector("input").value = "Good morning";
    document.querySelector("form").requestSubmit();
    await until(() => shown().length === 2 && button("Again") && shown()[0].startsWith("alice"));
    console.log(shown().join("|"));
    root.unmount();
    transport.close();
    await window.happyDOM.close();
  `;

  const output = await run(t, exampleOf("ai-sdk"), { before, after });

  assert.equal(output.trim(), `aliceGood morning|Agent${REPLY}`);
});
