/** @import { Agent, ApprovalRule, ChatEvent, EventData, Sender } from "./wire.js" */

/**
 * Where a call stands: somebody has to decide; it is made, or will be at once; it is over.
 *
 * @typedef {"requested" | "running" | "denied" | "expired" | "cancelled" | "ok" | "error" | "unknown"} CallState
 */

/**
 * A call of a tool as its events leave it.
 *
 * @typedef {object} ToolCall
 * @property {string} callId
 * @property {number} seq Of its request.
 * @property {string} createdAt
 * @property {number} target The question.
 * @property {number} generation
 * @property {string} tool
 * @property {Record<string, unknown>} arguments
 * @property {ApprovalRule} approval
 * @property {string} [expiresAt]
 * @property {EventData["decision"]} [decision]
 * @property {Sender} [decidedBy]
 * @property {EventData["outcome"]} [outcome]
 * @property {string} [result]
 * @property {boolean} [truncated]
 * @property {boolean} [redacted] Its arguments and its result were deleted.
 */

/** @type {readonly ToolCall[]} */
const NONE = Object.freeze([]);

/** @type {Record<string, number>} */
const STRICTNESS = { none: 0, anyone: 1, requester: 2, owner: 3 };

/**
 * The calls of a channel's replies. Pure. An event that is applied again changes nothing; one whose
 * request is not known here is kept for when it is. A call that changes is another object, and so is
 * the list of its reply's calls.
 */
export class ToolCalls {
  /** @type {Map<string, ToolCall>} */
  #calls = new Map();
  /** What is known of calls whose request is not. @type {Map<string, Partial<ToolCall>>} */
  #unrequested = new Map();
  /** @type {Map<string, readonly ToolCall[]>} */
  #lists = new Map();

  /** In the order of their requests. @returns {ToolCall[]} */
  get all() {
    return [...this.#calls.values()].sort((one, other) => one.seq - other.seq);
  }

  /** @param {string} callId */
  get(callId) {
    return this.#calls.get(callId);
  }

  /**
   * The calls of one reply, in the order of their requests.
   *
   * @param {number} target
   * @param {number} generation
   * @returns {readonly ToolCall[]}
   */
  of(target, generation) {
    return this.#lists.get(`${target}/${generation}`) ?? NONE;
  }

  /** Whether it was an event about a call. @param {ChatEvent} event */
  apply(event) {
    const { type, data, sender } = event;
    const { callId } = data;
    if (callId === undefined) return false;
    switch (type) {
      case "tool.requested":
        if (!this.#calls.has(callId)) this.#put(requestOf(event, callId, this.#unrequested.get(callId)));
        this.#unrequested.delete(callId);
        return true;
      case "tool.decided":
        this.#note(callId, { decision: data.decision, decidedBy: sender });
        return true;
      case "tool.finished": {
        const { outcome, result, truncated, redacted } = data;
        this.#note(callId, { outcome, result, truncated, ...(redacted && { redacted }) });
        return true;
      }
      default:
        return false;
    }
  }

  /**
   * Empties the calls of a question, or of one of its replies, that was deleted.
   *
   * @param {number} target
   * @param {number} [generation]
   */
  empty(target, generation) {
    for (const call of this.#calls.values()) {
      if (call.target !== target || call.generation !== (generation ?? call.generation)) continue;
      const result = call.result === undefined ? undefined : "";
      this.#put({ ...call, arguments: {}, result, redacted: true });
    }
  }

  /**
   * @param {string} callId
   * @param {Partial<ToolCall>} news
   */
  #note(callId, news) {
    const call = this.#calls.get(callId);
    const known = call ?? this.#unrequested.get(callId) ?? {};
    const isKnown = Object.keys(news).every((name) => name in known);
    if (isKnown) return;
    // What was emptied stays empty, whenever its events come.
    const emptied = call?.redacted && news.result !== undefined ? { result: "" } : {};
    if (call === undefined) this.#unrequested.set(callId, { ...known, ...news });
    else this.#put({ ...call, ...news, ...emptied });
  }

  /** @param {ToolCall} call */
  #put(call) {
    this.#calls.set(call.callId, call);
    const isOfReply = (/** @type {ToolCall} */ other) =>
      other.target === call.target && other.generation === call.generation;
    this.#lists.set(`${call.target}/${call.generation}`, Object.freeze(this.all.filter(isOfReply)));
  }
}

/** @param {ToolCall} call @returns {CallState} */
export function stateOf({ approval, decision, outcome }) {
  if (outcome !== undefined) return outcome;
  if (decision !== undefined) return decision === "approved" ? "running" : decision;
  return approval === "none" ? "running" : "requested";
}

/**
 * The rule that decides about a call: the one it was requested under, or the channel's where that
 * has become stricter since.
 *
 * @param {ToolCall} call
 * @param {Agent | undefined} agent
 * @returns {ApprovalRule}
 */
export function ruleOf({ approval, tool }, agent) {
  return stricterRule(approval, agent?.approval?.[tool] ?? "none");
}

/**
 * The stricter of two rules; one that a newer server knows is stricter than any.
 *
 * @param {ApprovalRule} one
 * @param {ApprovalRule} other
 */
export function stricterRule(one, other) {
  return strictness(other) > strictness(one) ? other : one;
}

/** @param {string} rule */
export function strictness(rule) {
  return STRICTNESS[rule] ?? Number.POSITIVE_INFINITY;
}

/**
 * Whether a member has the right that a rule asks for, as far as can be told here: the server judges.
 *
 * @param {ApprovalRule} rule
 * @param {{isOwner: boolean, isRequester: boolean}} member
 */
export function mayDecide(rule, { isOwner, isRequester }) {
  return rule === "anyone" || (rule === "requester" && isRequester) || (rule === "owner" && isOwner);
}

/**
 * @param {ChatEvent} event
 * @param {string} callId
 * @param {Partial<ToolCall> | undefined} known
 * @returns {ToolCall}
 */
function requestOf({ seq, createdAt, data }, callId, known) {
  const { target = 0, generation = 1, tool = "", arguments: shown = {}, approval = "owner", expiresAt, redacted } = data;
  return {
    callId,
    seq,
    createdAt,
    target,
    generation,
    tool,
    arguments: shown,
    approval,
    ...(expiresAt !== undefined && { expiresAt }),
    ...known,
    ...(redacted && { redacted }),
  };
}
