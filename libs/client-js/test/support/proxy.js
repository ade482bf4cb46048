import { createServer } from "node:http";

import { WebSocket, WebSocketServer } from "ws";

import { seededRandom } from "./random.js";
import { stoppable } from "./stoppable.js";

/**
 * What the network does to each frame, as chances from 0 to 1.
 *
 * @typedef {object} Faults
 * @property {number} [cut] Both ends lose the connection, with what is on its way.
 * @property {number} [duplicate]
 * @property {number} [reorder] The frame comes after the next ones.
 * @property {number} [delay] The most milliseconds that a frame is on its way.
 */

/** A bad network between a session and the server. */
export class Proxy {
  /** @type {Faults} */
  faults = {};
  cuts = 0;
  frames = 0;
  mostCuts = Number.POSITIVE_INFINITY;
  #http = createServer();
  #lifetime = stoppable(this.#http);
  port = 0;
  #sockets = new WebSocketServer({ server: this.#http });
  /** @type {Set<{cut: () => void}>} */
  #lines = new Set();

  /**
   * @param {string} target A WebSocket URL.
   * @param {number} seed
   */
  constructor(target, seed) {
    this.target = target;
    this.random = seededRandom(seed);
    this.#sockets.on("connection", (socket, request) => {
      this.#connect(socket, new URL(request.url ?? "", "http://x").search);
    });
  }

  /**
   * @param {string} target
   * @param {number} [seed]
   */
  static async start(target, seed = 1) {
    const proxy = new Proxy(target, seed);
    proxy.port = await proxy.#lifetime.start();
    return proxy;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Cuts every connection that is open. */
  cut() {
    for (const line of [...this.#lines]) line.cut();
  }

  async stop() {
    this.cut();
    await this.#lifetime.stop();
  }

  /**
   * @param {WebSocket} near
   * @param {string} search
   */
  #connect(near, search) {
    const far = new WebSocket(this.target + search);
    const line = {
      cut: () => {
        if (!this.#lines.delete(line)) return;
        this.cuts += 1;
        near.terminate();
        far.terminate();
      },
    };
    this.#lines.add(line);
    const end = () => {
      this.#lines.delete(line);
      near.terminate();
      far.terminate();
    };
    const toServer = this.#carrier(far, line);
    const toClient = this.#carrier(near, line);
    /** @type {string[]} */
    const early = [];
    near.on("message", (data) => {
      if (far.readyState === WebSocket.OPEN) toServer(String(data));
      else early.push(String(data));
    });
    far.on("open", () => early.splice(0).forEach(toServer));
    far.on("message", (data) => toClient(String(data)));
    for (const socket of [near, far]) {
      socket.on("close", end);
      socket.on("error", end);
    }
  }

  /**
   * @param {WebSocket} socket
   * @param {{cut: () => void}} line
   */
  #carrier(socket, line) {
    /** The time at which the last frame that is in order arrives. */
    let last = 0;
    return (/** @type {string} */ data) => {
      const { cut = 0, duplicate = 0, reorder = 0, delay = 0 } = this.faults;
      this.frames += 1;
      if (this.cuts < this.mostCuts && this.random() < cut) {
        line.cut();
        return;
      }
      const now = performance.now();
      const isLate = this.random() < reorder;
      const arrival = Math.max(last, now + this.random() * delay);
      if (!isLate) last = arrival;
      deliver(arrival - now + (isLate ? 1 + this.random() * 10 : 0));
      if (this.random() < duplicate) deliver(arrival - now + this.random() * 20);

      function deliver(/** @type {number} */ wait) {
        if (wait <= 0 && delay === 0) send();
        else setTimeout(send, wait);
      }
      function send() {
        if (socket.readyState === WebSocket.OPEN) socket.send(data);
      }
    };
  }
}
