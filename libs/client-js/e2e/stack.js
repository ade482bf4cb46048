import { ChatRest } from "../src/session.js";
import { webSocket } from "../test/support/sessions.js";

/** @param {string} name */
function given(name) {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: these tests need a running stack.`);
  return value;
}

export const restUrl = given("CHAT_REST_URL");
export const websocketUrl = given("CHAT_WEBSOCKET_URL");

/** @param {"alice" | "bob"} user */
export function optionsOf(user) {
  const token = given(`CHAT_TOKEN_${user.toUpperCase()}`);
  return { restUrl, websocketUrl, token, webSocket, timing: { pingInterval: 2_000, backoffBase: 200, backoffCap: 2_000 } };
}

/** @param {"alice" | "bob"} user */
export const restOf = (user) => new ChatRest(optionsOf(user));

/** @param {"always" | "off"} mode */
export async function createChannel(mode) {
  const { channelId } = await restOf("alice").createChannel({
    name: "JavaScript",
    members: ["bob"],
    agent: { mode },
  });
  return channelId;
}
