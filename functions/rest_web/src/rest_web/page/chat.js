import { Outbox } from "./outbox.js";
import { Room } from "./room.js";
import { ChatSession } from "./session.js";

/**
 * @import { ConnectionState } from "./link.js"
 * @import { ToolCall } from "./tool-calls.js"
 * @import { Channel } from "./wire.js"
 */

/** A connection holds this many subscriptions; the channels that are least lively wait outside. */
const MOST_SUBSCRIPTIONS = 50;
const PAGE = 100;
/**
 * Nobody tells us that we were added to a channel: the list is read again now and then, and when
 * somebody looks again. Counting what is unread costs the server reads for each channel.
 */
const REFRESH = 120_000;
const REFRESH_AT_A_LOOK = 20_000;

/**
 * What the chat tells whoever shows it; each may come often.
 *
 * @typedef {object} ChatObserver
 * @property {() => void} channels The list, a name, a count or who is online has changed.
 * @property {(room: Room) => void} room What a room shows has changed.
 * @property {(room: Room, reason: "deleted" | "removed") => void} left
 * @property {(state: ConnectionState) => void} connection
 * @property {(room: Room, text: string, from: string) => void} said A message by somebody else.
 * @property {(room: Room, call: ToolCall, type: string, by: string) => void} called What somebody
 *   else's event of that type says of a call.
 */

/** One user's channels over one session. */
export class Chat {
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  #refreshedAt = 0;
  /** Display names as they were last seen, by user. @type {Map<string, string>} */
  names = new Map();
  /** Whether the list of channels has come. */
  isLoaded = false;

  /**
   * @param {object} options
   * @param {string} options.restUrl
   * @param {string} options.websocketUrl
   * @param {(options: {refresh: boolean}) => Promise<string>} options.token
   * @param {ChatObserver} options.observer
   */
  constructor({ restUrl, websocketUrl, token, observer }) {
    this.observer = observer;
    this.session = new ChatSession({ restUrl, websocketUrl, token, onNotice: () => {} });
    this.rest = this.session.rest;
    this.me = { userId: "", name: /** @type {string | undefined} */ (undefined) };
    this.outbox = new Outbox("");
  }

  /** Reads who we are and our channels, connects, and sends what was not acknowledged. */
  async start() {
    this.me = { name: undefined, ...(await this.rest.getMe()) };
    this.outbox = new Outbox(this.me.userId);
    if (this.me.name) this.names.set(this.me.userId, this.me.name);
    this.session.onState((state) => this.observer.connection(state));
    await this.refresh();
    this.session.connect().catch(() => {}); // the connection's state says so
    this.#resend();
    this.refreshing = setInterval(() => this.#refreshIfSeen(), REFRESH);
  }

  stop() {
    clearInterval(this.refreshing);
    this.session.close();
  }

  /** By what happened in them last. @returns {Room[]} */
  get rooms() {
    return [...this.#rooms.values()].sort((one, other) => other.activeAt - one.activeAt);
  }

  get unreadCount() {
    return this.rooms.reduce((sum, { channel }) => sum + channel.unreadCount, 0);
  }

  /** Somebody looks at the page again. */
  look() {
    if (this.isLoaded && Date.now() - this.#refreshedAt > REFRESH_AT_A_LOOK) this.#refreshIfSeen();
  }

  /** @param {string} channelId */
  room(channelId) {
    return this.#rooms.get(channelId);
  }

  /** @param {string} userId */
  nameOf(userId) {
    return userId === "#agent" ? "Agent" : (this.names.get(userId) ?? userId);
  }

  /** Reads the list of channels again. */
  async refresh() {
    this.#refreshedAt = Date.now();
    const channels = await this.#allChannels();
    for (const channel of channels) {
      const room = this.#rooms.get(channel.channelId);
      if (room === undefined) this.#rooms.set(channel.channelId, new Room(this, channel));
      else room.update(channel);
    }
    const listed = new Set(channels.map(({ channelId }) => channelId));
    for (const room of this.rooms) {
      if (!listed.has(room.channelId)) this.leave(room, "removed");
    }
    for (const room of this.rooms.slice(0, MOST_SUBSCRIPTIONS)) room.listen();
    this.isLoaded = true;
    this.observer.channels();
  }

  /**
   * @param {string} name
   * @param {string[]} members
   * @param {"always" | "mention" | "off"} mode
   */
  async createChannel(name, members, mode) {
    const channel = await this.rest.createChannel({ name, members, agent: { mode } });
    const room = new Room(this, channel);
    this.#rooms.set(channel.channelId, room);
    this.makePlaceFor(room);
    this.observer.channels();
    return room;
  }

  /** Subscribes to a room's channel, in the place of the least lively one if need be. @param {Room} room */
  makePlaceFor(room) {
    const listening = this.rooms.filter((each) => each.isListening && each !== room);
    if (!room.isListening && listening.length >= MOST_SUBSCRIPTIONS) listening.at(-1)?.mute();
    room.listen();
  }

  /** Forgets a channel that is not ours any more. @param {Room} room @param {"deleted" | "removed"} reason */
  leave(room, reason) {
    if (!this.#rooms.delete(room.channelId)) return;
    room.mute();
    this.observer.left(room, reason);
    this.observer.channels();
  }

  #resend() {
    for (const unsent of this.outbox.all) {
      const room = this.#rooms.get(unsent.channelId);
      if (room === undefined) this.outbox.remove(unsent.clientMessageId);
      else room.resume(unsent);
    }
  }

  async #allChannels() {
    /** @type {Channel[]} */
    const channels = [];
    /** @type {string | null} */
    let cursor = null;
    do {
      const page = await this.rest.listChannels({ limit: PAGE, cursor });
      channels.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor !== null);
    return channels;
  }

  #refreshIfSeen() {
    const isSeen = document.visibilityState === "visible" && this.session.state.status === "open";
    if (isSeen) this.refresh().catch(() => {}); // the next one may come through
  }
}
