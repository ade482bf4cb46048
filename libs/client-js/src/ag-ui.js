import { AbstractAgent } from "@ag-ui/client";
import { Observable } from "rxjs";

import { aguiMessages } from "./agui-messages.js";
import { AskingRun, WatchingRun } from "./agui-run.js";
import { mergeRoom } from "./room-list.js";
import { Rooms } from "./room.js";
import { ChatSession } from "./session.js";
import { stateOf } from "./tool-calls.js";

/**
 * @import {
 *   AgentCapabilities, AgentConfig, AgentSubscriber, BaseEvent, RunAgentInput, RunAgentParameters,
 *   RunAgentResult,
 * } from "@ag-ui/client"
 * @import { Room } from "./room.js"
 * @import { SessionOptions } from "./session.js"
 */

export { AGUI_VERSION } from "./agui-events.js";
export { ChatError } from "./chat-error.js";

/**
 * @typedef {object} AgentOptions
 * @property {string} threadId The channel's id.
 * @property {ChatSession} [session] One that is there already, instead of the URLs and the token; it
 *   stays open when the agent is closed.
 * @property {number} [patience] Milliseconds without a sign of a reply, after which the server is
 *   asked whether there is one.
 * @property {number} [settling] Milliseconds that a reply which waits for a decision is watched for
 *   more requests, before its run ends.
 */

/**
 * An AG-UI agent that is the agent of a room; the thread is the channel.
 *
 * `runAgent` posts the user's messages that the room does not have yet and tells the reply to the
 * last; where there are none, another reply to the last question. `abortRun` ends the reply for
 * everybody in the room. `connectAgent` tells the room's messages, and the replies that are being
 * written, whoever asked for them. `watch` does so by itself between the runs.
 *
 * Where a reply waits for the user's approval the run ends with an interrupt a call; the answers,
 * `{approved: boolean}`, are his decisions.
 */
export class ChatBackendAgent extends AbstractAgent {
  /** @param {AgentOptions & AgentConfig & (SessionOptions | {session: ChatSession})} options */
  constructor(options) {
    const { threadId, agentId, description, initialMessages, initialState, debug } = options;
    super({ threadId, agentId, description, initialMessages, initialState, debug });
    // No private fields: `clone` makes agents without calling a constructor.
    this.ownsSession = options.session === undefined;
    /** @type {ChatSession} */
    this.session = options.session ?? new ChatSession(/** @type {SessionOptions} */ (options));
    this.rooms = new Rooms(this.session, { patience: options.patience, settling: options.settling });
    /** @type {AskingRun | undefined} */
    this.asking = undefined;
    this.isAborted = false;
    this.isConnecting = false;
  }

  /**
   * @param {RunAgentInput} input
   * @returns {Observable<BaseEvent>}
   * @override
   */
  run(input) {
    return new Observable((subscriber) => {
      const run = new AskingRun(input, {
        rooms: this.rooms,
        emit: (event) => subscriber.next(event),
        complete: () => subscriber.complete(),
      });
      this.asking = run;
      void run.tell();
      if (this.isAborted) run.abort();
      return () => run.end();
    });
  }

  /**
   * @param {RunAgentParameters} [parameters]
   * @param {AgentSubscriber} [subscriber]
   * @returns {Promise<RunAgentResult>}
   * @override
   */
  async runAgent(parameters, subscriber) {
    this.asking = undefined;
    this.isAborted = false;
    if (this.isConnecting) await this.detachActiveRun();
    try {
      return await super.runAgent(parameters, subscriber);
    } finally {
      this.forgetDecided(/** @type {AskingRun | undefined} */ (this.asking)?.room);
    }
  }

  /**
   * What was decided asks nobody any more, however the run ended.
   *
   * @param {Room | undefined} room
   */
  forgetDecided(room) {
    const pendingInterrupts = this.pendingInterrupts.filter(({ id }) => {
      const call = room?.calls.get(id);
      return call === undefined || stateOf(call) === "requested";
    });
    Object.assign(this, { pendingInterrupts });
  }

  /**
   * @param {RunAgentParameters} [parameters]
   * @param {AgentSubscriber} [subscriber]
   * @returns {Promise<RunAgentResult>}
   * @override
   */
  async connectAgent(parameters, subscriber) {
    this.isConnecting = true;
    try {
      return await super.connectAgent(parameters, subscriber);
    } finally {
      this.isConnecting = false;
    }
  }

  /** @override */
  abortRun() {
    // The run may not have begun: subscribers are asked first.
    this.isAborted = true;
    this.asking?.abort();
  }

  /**
   * Keeps `messages` as the room's are, between runs too, and tells replies to others as they are
   * written, to the agent's subscribers.
   *
   * @param {{onError?: (error: Error) => void}} [options] By default `console.warn`.
   * @returns {() => void} Ends it.
   */
  watch({ onError = (error) => console.warn(error) } = {}) {
    let isOver = false;
    let stop = () => {};
    const watching = async () => {
      const room = await this.rooms.open(this.threadId);
      if (isOver) return;
      const look = () => {
        if (isOver || this.isRunning || this.isConnecting) return;
        this.forgetDecided(room);
        if (room.openReplies.some((reply) => !room.isWaiting(reply))) {
          this.connectAgent().catch(onError);
          return;
        }
        const messages = mergeRoom(this.messages, room, aguiMessages, new Set());
        if (messages !== this.messages) this.setMessages(messages);
      };
      const later = () => queueMicrotask(look);
      // A run's last event comes before the agent says that it does not run any more.
      const runs = this.subscribe({ onRunFinalized: () => void setTimeout(look) });
      const ending = room.observe(later);
      stop = () => {
        runs.unsubscribe();
        ending();
      };
      later();
    };
    watching().catch(onError);
    return () => {
      isOver = true;
      stop();
    };
  }

  /**
   * @returns {Promise<AgentCapabilities>}
   * @override
   */
  async getCapabilities() {
    return {
      transport: { streaming: true, websocket: true, resumable: true },
      tools: { supported: true, clientProvided: false },
      humanInTheLoop: { supported: true, approvals: true, interrupts: true, approveWithEdits: false },
    };
  }

  /** @override */
  clone() {
    const cloned = super.clone();
    const { session, rooms } = this;
    return Object.assign(cloned, {
      session,
      rooms,
      ownsSession: false,
      asking: undefined,
      isAborted: false,
      isConnecting: false,
    });
  }

  /** Ends the session, unless it was the application's; so do not close one that has clones. */
  close() {
    if (this.ownsSession) this.session.close();
  }

  /**
   * @param {RunAgentInput} input
   * @returns {Observable<BaseEvent>}
   * @override
   */
  connect(input) {
    return new Observable((subscriber) => {
      const run = new WatchingRun(input, {
        rooms: this.rooms,
        emit: (event) => subscriber.next(event),
        complete: () => subscriber.complete(),
      });
      void run.tell();
      return () => run.end();
    });
  }
}
