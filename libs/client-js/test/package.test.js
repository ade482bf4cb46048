import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const TSC = join(PACKAGE, "node_modules", ".bin", "tsc");

const CONSUMER = `
import { Chat } from "@ai-sdk/react";
import { ChatBackendAgent } from "chat-backend-client/ag-ui";
import { ChatBackendTransport, type ChatUIMessage } from "chat-backend-client/ai-sdk";
import { ChatError, ChatSession } from "chat-backend-client/session";

const options = { restUrl: "http://x", websocketUrl: "ws://x", token: async () => "t" };
const session = new ChatSession(options);
export async function use(): Promise<number | undefined> {
  await session.subscribe("c", { after: 0 });
  for await (const event of session.events("c")) return event.data.replyTo;
  const transport = new ChatBackendTransport(options);
  const chat = new Chat<ChatUIMessage>({ id: "c", transport });
  const stop: () => void = transport.watch("c", (update) => { chat.messages = update(chat.messages); });
  stop();
  const seq: number | undefined = chat.messages[0]?.metadata?.seq;
  await new ChatBackendAgent({ ...options, threadId: "c" }).runAgent();
  // @ts-expect-error a channel is named by a string
  await session.send(1, "text");
  return seq ?? (session.state.error instanceof ChatError ? session.state.error.status : undefined);
}
`;

test("the packed package installs without a dependency, runs, and has types that a strict program takes", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "chat-backend-client-"));
  t.after(() => rm(folder, { recursive: true }));
  await run("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: PACKAGE });
  const [archive = ""] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
  const project = join(folder, "project");
  await mkdir(project);
  await writeFile(join(project, "package.json"), '{"type": "module"}');
  await run("npm", ["install", "--offline", "--silent", join(folder, archive)], { cwd: project });
  assert.deepEqual((await readdir(join(project, "node_modules"))).filter((name) => !name.startsWith(".")), [
    "chat-backend-client",
  ]);

  const names = 'Object.keys(await import("chat-backend-client/session")).join()';
  const program = ["--input-type=module", "--eval", `console.log(${names})`];
  const { stdout } = await run(process.execPath, program, { cwd: project });
  assert.equal(stdout.trim(), "ChatError,ChatRest,ChatSession,ConnectionLostError,argumentsDigest");

  for (const name of ["ai", "@ai-sdk", "@ag-ui", "rxjs", "react", "@types"]) {
    await symlink(join(PACKAGE, "node_modules", name), join(project, "node_modules", name));
  }
  await writeFile(join(project, "consumer.ts"), CONSUMER);
  const options = ["--strict", "--noEmit", "--skipLibCheck", "--module", "nodenext", "--target", "es2023", "--lib", "es2024,dom,dom.iterable"];
  await run(TSC, [...options, "consumer.ts"], { cwd: project }).catch((error) => assert.fail(error.stdout));
});
