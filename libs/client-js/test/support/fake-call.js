import { createHash } from "node:crypto";

import { canonicalJson } from "../../src/digest.js";
import { withResolvers } from "../../src/streams.js";

/**
 * @import { ApprovalRule, ChatEvent, EventData, Sender } from "../../src/wire.js"
 * @import { FakeReply } from "./fake-channel.js"
 */

/** A refusal, to be answered as a problem. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   * @param {Record<string, unknown>} [fields] What the problem says besides.
   */
  constructor(status, detail, fields = {}) {
    super(detail);
    this.status = status;
    this.fields = fields;
  }
}

const DECIDED = /** @type {const} */ ({ approve: "approved", deny: "denied" });

let made = 0;

/** A call of a tool as the contract has it: decided once, by whoever its rule names. */
export class FakeCall {
  /** @type {ChatEvent | undefined} */
  decided = undefined;
  /** Resolves with the decision. @type {PromiseWithResolvers<EventData["decision"]>} */
  #decision = withResolvers();

  /**
   * @param {FakeReply} reply
   * @param {string} tool
   * @param {Record<string, unknown>} shown
   * @param {ApprovalRule} approval
   */
  constructor(reply, tool, shown, approval) {
    made += 1;
    this.callId = `call${made}`;
    this.reply = reply;
    this.tool = tool;
    this.digest = createHash("sha256").update(canonicalJson(shown)).digest("hex");
    this.approval = approval;
    this.place = { target: reply.question.seq, generation: reply.generation, callId: this.callId };
  }

  get isPending() {
    return this.approval !== "none" && this.decided === undefined;
  }

  /** When it is decided. */
  get decision() {
    return this.#decision.promise;
  }

  /**
   * @param {string} userId
   * @param {{decision?: unknown, argumentsDigest?: string}} request
   */
  decide(userId, { decision, argumentsDigest }) {
    const decided = DECIDED[/** @type {"approve" | "deny"} */ (decision)];
    if (decided === undefined) throw new Refusal(422, "decision: approve or deny");
    const { channel, question } = this.reply;
    const mayDecide = { none: false, anyone: true, requester: userId === question.sender.id, owner: userId === channel.owner };
    if (!mayDecide[this.approval]) throw new Refusal(403, "Somebody else decides whether this call is made.");
    if (argumentsDigest !== undefined && argumentsDigest !== this.digest) {
      throw new Refusal(409, "The call has other arguments than those of the digest.");
    }
    if (this.decided !== undefined) {
      const { data, sender } = this.decided;
      if (data.decision === decided && sender.id === userId) return this.decided;
      throw new Refusal(409, "It was decided before.", { decision: data.decision, decidedBy: sender.id });
    }
    return this.settle(decided, { id: userId, name: userId, kind: "user" });
  }

  /**
   * @param {NonNullable<EventData["decision"]>} decision
   * @param {Sender} by
   */
  settle(decision, by) {
    this.decided = this.reply.channel.append("tool.decided", by, { ...this.place, decision });
    this.reply.status = "running";
    this.#decision.resolve(decision);
    return this.decided;
  }

  /** Its reply has ended: nobody is told of it. */
  endUntold() {
    this.#decision.resolve("cancelled");
    return this;
  }

  /** Its time is over. */
  expire() {
    this.settle("expired", { id: "#system", kind: "system" });
  }

  /**
   * @param {NonNullable<EventData["outcome"]>} outcome
   * @param {string} [result]
   * @param {{truncated?: boolean}} [options]
   */
  finish(outcome, result, { truncated } = {}) {
    if (!this.reply.isOpen) return;
    const data = { ...this.place, outcome, ...(result !== undefined && { result }), ...(truncated && { truncated }) };
    this.reply.channel.append("tool.finished", { id: "#agent", name: "Agent", kind: "agent" }, data);
  }
}
