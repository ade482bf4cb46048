import { h, icon } from "./dom.js";
import { exactTime, timeToCome } from "./format.js";
import { ruleOf, stateOf } from "./tool-calls.js";

/**
 * @import { Room } from "./room.js"
 * @import { CallState, ToolCall } from "./tool-calls.js"
 */

/** @type {Record<CallState, Parameters<typeof icon>[0]>} */
const ICONS = {
  requested: "bolt",
  running: "bolt",
  ok: "check",
  error: "warning",
  unknown: "question",
  denied: "forbidden",
  expired: "clock",
  cancelled: "close",
};

/**
 * What cannot be seen, or turns what is seen around: it would let arguments look like others. A
 * variation of a character and the joints of an emoji are among it.
 */
const UNSEEN = /[^\P{C}\n\t]|[\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}]|[\u00a0\u2000-\u200a\u202f\u205f\u3000]/gu;

/** Characters of why a call failed: all of it is in the fold. */
const MOST_REASON = 200;

/** Shows calls of tools: what they are called with, who decides, what came of them. */
export class ToolCards {
  /** @type {Map<string, {call: ToolCall, deciders: string, element: HTMLElement}>} */
  #cards = new Map();

  /**
   * @param {Room} room
   * @param {(call: ToolCall, decision: "approve" | "deny") => void} decide
   */
  constructor(room, decide) {
    this.room = room;
    this.decide = decide;
  }

  /**
   * The cards of a reply's calls. One that did not change is the same element, wherever it was.
   *
   * @param {readonly ToolCall[]} calls
   */
  show(calls) {
    return calls.map((call) => {
      const deciders = decidersOf(this.room, [call]);
      const known = this.#cards.get(call.callId);
      if (known?.call === call && known.deciders === deciders) return known.element;
      const element = this.#card(call);
      const wasOpen = known?.element.querySelector("details")?.open ?? false;
      const details = element.querySelector("details");
      if (details !== null && wasOpen) details.open = true;
      this.#cards.set(call.callId, { call, deciders, element });
      return element;
    });
  }

  /** @param {ToolCall} call */
  #card(call) {
    const state = stateOf(call);
    const said = this.#said(call, state);
    const isOver = state !== "requested" && state !== "running";
    const head = [
      h("span", { class: "call-mark", "aria-hidden": "true" }, icon(ICONS[state] ?? "bolt")),
      h("span", { class: "call-title" }, h("code", { class: "call-name" }, visible(call.tool)), h("span", { class: "call-state" }, said)),
    ];
    const body = [argumentsView(call), call.outcome !== undefined && resultView(call)];
    return h(
      "div",
      { class: `call ${state}`, role: "group", "data-call": call.callId, tabindex: -1, "aria-label": `${call.tool}: ${said}` },
      isOver
        ? h("details", {}, h("summary", {}, ...head, icon("chevron")), h("div", { class: "call-body" }, ...body))
        : [h("div", { class: "call-head" }, ...head), h("div", { class: "call-body" }, ...body)],
      noteOf(call, state),
      state === "requested" && this.#question(call),
    );
  }

  /** @param {ToolCall} call */
  #question(call) {
    const { room } = this;
    const isOurs = room.mayDecide(call);
    const deciding = room.deciding.get(call.callId);
    const until = call.expiresAt !== undefined && h("time", { datetime: call.expiresAt, title: exactTime(call.expiresAt) }, timeToCome(call.expiresAt));
    const button = (/** @type {"approve" | "deny"} */ decision, /** @type {string} */ label, /** @type {string} */ doing) =>
      h(
        "button",
        {
          type: "button",
          class: decision === "approve" ? "button primary" : "button",
          "aria-label": `${label} ${call.tool}`,
          disabled: deciding !== undefined,
          onclick: () => this.decide(call, decision),
        },
        deciding === decision ? doing : label,
      );
    return h(
      "div",
      { class: "call-question" },
      h("p", { class: "call-who" }, `${whoDecides(room, call)}.`, until && [" Open until ", until, "."]),
      isOurs &&
        h("div", { class: "call-buttons" }, button("approve", "Approve", "Approving…"), button("deny", "Deny", "Denying…")),
    );
  }

  /** @param {ToolCall} call @param {CallState} state */
  #said(call, state) {
    const by = call.decidedBy === undefined ? undefined : nameOf(this.room, call.decidedBy);
    const approved = by === undefined ? undefined : `approved by ${by}`;
    switch (state) {
      case "requested":
        return this.room.mayDecide(call) ? "Needs your approval" : "Waits for approval";
      case "running":
        return joined("Running", approved);
      case "ok":
        return joined("Done", approved);
      case "error":
        return joined("Failed", approved);
      case "unknown":
        return joined("Outcome unknown", approved);
      case "denied":
        return `Denied by ${by ?? "somebody"}`;
      case "expired":
        return "Nobody decided in time";
      case "cancelled":
        return by === undefined ? "Cancelled" : `Cancelled by ${by}`;
      default:
        return state;
    }
  }
}

/**
 * What a card shows beside its call: two that are the same look the same.
 *
 * @param {Room} room
 * @param {readonly ToolCall[]} calls
 */
export function decidersOf(room, calls) {
  return calls
    .map((call) => {
      const by = call.decidedBy && nameOf(room, call.decidedBy);
      const isAsked = stateOf(call) === "requested";
      return isAsked ? [room.mayDecide(call), whoDecides(room, call), room.deciding.get(call.callId)].join() : (by ?? "");
    })
    .join("\n");
}

/**
 * What a reply does, as far as its calls say: undefined where none of them is open.
 *
 * @param {Room} room
 * @param {readonly ToolCall[]} calls
 */
export function waitingFor(room, calls) {
  const asked = calls.filter((call) => stateOf(call) === "requested");
  const running = calls.findLast((call) => stateOf(call) === "running");
  const ours = asked.filter((call) => room.mayDecide(call));
  if (ours.length > 0) return { said: ours.length === 1 ? "Waits for your approval" : `Waits for ${ours.length} approvals of yours`, isWaiting: true };
  const [first] = asked;
  if (first !== undefined) return { said: `Waits for ${approverOf(room, first)}`, isWaiting: true };
  return running && { said: `Calls ${running.tool}`, isWaiting: false };
}

/**
 * What a listener is told of a call.
 *
 * @param {Room} room
 * @param {ToolCall} call
 * @param {string} type The event's.
 * @param {string} by
 */
export function callNews(room, call, type, by) {
  const { tool, approval, decision, outcome } = call;
  if (type === "tool.requested") {
    if (approval === "none") return `The agent calls ${tool}.`;
    return room.mayDecide(call) ? `The agent asks for your approval of ${tool}.` : `The agent waits for approval of ${tool}.`;
  }
  if (type === "tool.decided") return decision === "expired" ? `Nobody decided about ${tool} in time.` : `${by}: ${tool} ${decision}.`;
  return { ok: `${tool} is done.`, error: `${tool} failed.`, unknown: `Whether ${tool} was done is not known.` }[outcome ?? "ok"] ?? "";
}

/** @param {Room} room @param {ToolCall} call */
function whoDecides(room, call) {
  const isOurs = room.mayDecide(call);
  switch (ruleOf(call, room.channel.agent)) {
    case "requester":
      return isOurs ? "You asked, so you decide" : `${askerOf(room, call)} decides`;
    case "owner":
      return isOurs ? "You decide, as an owner" : "An owner decides";
    case "anyone":
      return "Any member may decide";
    default:
      return "Somebody else decides";
  }
}

/** @param {Room} room @param {ToolCall} call */
function approverOf(room, call) {
  switch (ruleOf(call, room.channel.agent)) {
    case "requester":
      return `${askerOf(room, call)}’s approval`;
    case "owner":
      return "an owner’s approval";
    default:
      return "approval";
  }
}

/** @param {Room} room @param {ToolCall} call */
function askerOf(room, { target }) {
  const asker = room.askerOf(target);
  return asker === undefined ? "Whoever asked" : room.chat.nameOf(asker);
}

/** @param {Room} room @param {{id: string, name?: string}} sender */
function nameOf(room, { id, name }) {
  if (id === room.chat.me.userId) return "you";
  return id === "#system" ? "the system" : (name ?? room.chat.nameOf(id));
}

/** @param {string} first @param {string | undefined} second */
function joined(first, second) {
  return second === undefined ? first : `${first} · ${second}`;
}

/** What must not be folded away. @param {ToolCall} call @param {CallState} state */
function noteOf({ result = "" }, state) {
  if (state === "unknown") {
    const text = "The line to the tool broke while it ran. Whether it was done is not known, and it is not called again.";
    return h("p", { class: "call-note" }, text);
  }
  if (state !== "error" || result === "") return null;
  const reason = result.length > MOST_REASON ? `${result.slice(0, MOST_REASON)}…` : result;
  return h("p", { class: "call-note" }, `It failed: ${visible(reason)}`);
}

/** @param {ToolCall} call */
function argumentsView(call) {
  if (call.redacted) return h("p", { class: "gone" }, "What it was called with was deleted.");
  const entries = Object.entries(call.arguments);
  if (entries.length === 0) return h("p", { class: "call-none" }, "No arguments.");
  const list = entries.flatMap(([name, value]) => [h("dt", {}, visible(name)), h("dd", {}, h("pre", {}, valueText(value)))]);
  return foldable(`Arguments of ${call.tool}`, h("dl", { class: "call-arguments" }, ...list));
}

/** @param {ToolCall} call */
function resultView({ tool, result, truncated, redacted }) {
  if (redacted) return h("p", { class: "gone" }, "What it answered was deleted.");
  return h(
    "div",
    { class: "call-result" },
    h("p", { class: "call-label" }, "Answer"),
    result
      ? foldable(`Answer of ${tool}`, h("pre", {}, visible(result)))
      : h("p", { class: "call-none" }, "It answered nothing."),
    truncated && h("p", { class: "call-none" }, "This is the beginning: the rest is not kept."),
  );
}

/**
 * What may be long: it scrolls in its place, or is shown as a whole.
 *
 * @param {string} label
 * @param {HTMLElement} content
 */
function foldable(label, content) {
  const place = h("div", { class: "call-place", role: "group", "aria-label": label, tabindex: 0 }, content);
  const more = h("button", { type: "button", class: "link call-more", hidden: true, "aria-expanded": "false" }, "Show all of it");
  more.addEventListener("click", () => {
    const isWhole = place.classList.toggle("whole");
    more.textContent = isWhole ? "Show less" : "Show all of it";
    more.setAttribute("aria-expanded", String(isWhole));
  });
  new ResizeObserver(() => {
    more.hidden = !place.classList.contains("whole") && place.scrollHeight <= place.clientHeight + 1;
  }).observe(place);
  return h("div", { class: "call-frame" }, place, more);
}

/**
 * An argument as it is to be read: a text as it is, unless it could be taken for another value; any
 * other as JSON.
 *
 * @param {unknown} value
 */
function valueText(value) {
  const isPlain = typeof value === "string" && value.trim() === value && value !== "" && !isJson(value);
  return visible(isPlain ? value : JSON.stringify(value, null, 2));
}

/** @param {string} text */
function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** A text with what cannot be seen written out. @param {string} text */
export function visible(text) {
  return text.replace(UNSEEN, (unseen) => `\\u{${/** @type {number} */ (unseen.codePointAt(0)).toString(16)}}`);
}
