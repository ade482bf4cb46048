/** The page: signs in, then shows the channels and one room, as the address says. */

import { Chat } from "./chat.js";
import { ChatError } from "./chat-error.js";
import { Details } from "./details.js";
import { confirm, createChannelDialog } from "./dialogs.js";
import { h, icon } from "./dom.js";
import { excerpt } from "./message-view.js";
import { RoomView } from "./room-view.js";
import { pageSettings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { SignIn } from "./sign-in.js";
import { signInView } from "./sign-in-view.js";
import { callNews } from "./tool-view.js";

/**
 * @import { ConnectionState } from "./link.js"
 * @import { Room } from "./room.js"
 * @import { ToolCall } from "./tool-calls.js"
 */

/** Milliseconds: a connection that is back sooner is not worth a word. */
const PATIENCE = 1_500;

class Page {
  /** @type {RoomView | undefined} */
  #view = undefined;
  /** @type {Details | undefined} */
  #details = undefined;
  /** @type {ConnectionState} */
  #connection = { status: "idle" };
  #scheduled = 0;

  /**
   * @param {SignIn} signIn
   * @param {(problem?: string) => void} signedOut
   */
  constructor(signIn, signedOut) {
    this.signIn = signIn;
    this.signedOut = signedOut;
    this.chat = new Chat({
      ...signIn.settings,
      token: signIn.token,
      observer: {
        channels: () => this.#schedule(),
        room: (room) => this.#roomChanged(room),
        left: (room, reason) => this.#left(room, reason),
        connection: (state) => this.#connected(state),
        said: (room, text, from) => this.#said(room, text, from),
        called: (room, call, type, by) => this.#called(room, call, type, by),
      },
    });
    this.sidebar = new Sidebar(this.chat, {
      create: () => this.#create(),
      quickStart: () => void this.#quickStart(),
      signOut: () => void this.#signOut(),
    });
    this.banner = h("div", { class: "banner", role: "status", hidden: true });
    this.place = h("div", { class: "place" });
    this.status = h("div", { class: "sr-only", role: "status", "aria-live": "polite" });
    this.toasts = h("div", { class: "toasts", role: "alert" });
    this.element = h(
      "main",
      { class: "shell" },
      h("h1", { class: "sr-only" }, "Chat"),
      this.sidebar.element,
      h("div", { class: "stage" }, this.banner, this.place),
      this.status,
      this.toasts,
    );
    this.route = () => void this.#route();
    this.look = () => {
      this.#view?.seen();
      this.chat.look();
      this.#schedule();
    };
  }

  async open() {
    addEventListener("hashchange", this.route);
    addEventListener("focus", this.look);
    document.addEventListener("visibilitychange", this.look);
    this.sidebar.showConnection(this.#connection);
    this.place.replaceChildren(h("div", { class: "loading" }, h("p", {}, "Loading your channels…")));
    try {
      await this.chat.start();
    } catch (error) {
      this.#cannotStart(error);
      return;
    }
    await this.#route();
  }

  close() {
    removeEventListener("hashchange", this.route);
    removeEventListener("focus", this.look);
    document.removeEventListener("visibilitychange", this.look);
    this.#view?.leave();
    this.chat.stop();
  }

  // -- where we are

  get #channelId() {
    return /^#\/channels\/([\w-]+)$/.exec(location.hash)?.[1];
  }

  async #route() {
    const channelId = this.#channelId;
    const isWide = matchMedia("(min-width: 761px)").matches;
    const room = channelId === undefined ? undefined : this.chat.room(channelId);
    if (room === undefined && isWide && this.chat.rooms.length > 0) {
      location.replace(`#/channels/${this.chat.rooms[0].channelId}`);
      return;
    }
    if (this.#view?.room === room && room !== undefined) return;
    this.#view?.leave();
    this.#details?.dialog.close();
    this.#view = undefined;
    this.element.classList.toggle("in-room", room !== undefined);
    if (room === undefined) {
      this.place.replaceChildren(this.#nowhere());
    } else {
      this.#view = new RoomView(room, {
        announce: (text) => this.#announce(text),
        complain: (error) => this.#complain(error),
        confirm,
        openDetails: (which) => {
          const details = new Details(which, (error) => this.#complain(error));
          details.dialog.addEventListener("close", () => void (this.#details = undefined));
          this.#details = details;
        },
        back: () => void (location.hash = "#/"),
        isConnected: () => this.#connection.status === "open",
      });
      this.place.replaceChildren(this.#view.element);
      void this.#view.enter();
    }
    this.#schedule();
  }

  #nowhere() {
    const isNew = this.chat.rooms.length === 0;
    return h(
      "div",
      { class: "nowhere" },
      h("div", { class: "empty-mark", "aria-hidden": "true" }, icon("spark")),
      h("h2", {}, isNew ? "Start your first channel" : "Choose a channel"),
      h(
        "p",
        {},
        isNew
          ? "A channel is a room for people and an agent. Whoever you add sees everything that was said."
          : "Or start a new one.",
      ),
      isNew &&
        h("button", { type: "button", class: "button primary", onclick: () => void this.#quickStart() }, "Talk with the agent"),
      h("button", { type: "button", class: "button", onclick: () => this.#create() }, "New channel with people"),
    );
  }

  /** A channel with nothing to decide: what a newcomer needs. */
  async #quickStart() {
    try {
      const room = await this.chat.createChannel("General", [], "always");
      location.hash = `#/channels/${room.channelId}`;
    } catch (error) {
      this.#complain(error);
    }
  }

  #create() {
    createChannelDialog(async ({ name, members, mode }) => {
      const room = await this.chat.createChannel(name, members, mode);
      location.hash = `#/channels/${room.channelId}`;
    });
  }

  async #signOut() {
    const waiting = this.chat.outbox.all.length;
    if (waiting > 0) {
      const isSure = await confirm({
        title: "Sign out?",
        text: "What you wrote last is not sent yet, and would be lost.",
        action: "Sign out",
      });
      if (!isSure) return;
    }
    this.chat.outbox.clear();
    this.close();
    this.signIn.end();
  }

  // -- what comes

  #schedule() {
    if (this.#scheduled !== 0) return;
    this.#scheduled = requestAnimationFrame(() => {
      this.#scheduled = 0;
      this.sidebar.show(this.#view?.room.channelId);
      this.#title();
      // The first channel, or the one that the address names, may just have come.
      if (this.#view === undefined && this.chat.isLoaded && this.chat.rooms.length > 0) void this.#route();
    });
  }

  #title() {
    const unread = this.chat.unreadCount;
    const name = this.#view?.room.channel.name;
    document.title = [unread > 0 && `(${unread})`, name && `${name} ·`, "Chat"].filter(Boolean).join(" ");
  }

  /** @param {Room} room */
  #roomChanged(room) {
    this.#schedule();
    if (this.#view?.room === room) this.#view.changed();
    if (this.#details?.room === room) this.#details.show();
  }

  /** @param {Room} room @param {"deleted" | "removed"} reason */
  #left(room, reason) {
    const { name } = room.channel;
    this.#toast(reason === "deleted" ? `${name} was deleted.` : `You are no longer in ${name}.`);
    if (this.#view?.room !== room) return;
    this.#view.leave();
    this.#view = undefined;
    this.#details?.dialog.close();
    location.hash = "#/";
    void this.#route();
  }

  /** @param {Room} room @param {string} text @param {string} from */
  #said(room, text, from) {
    if (this.#view?.room === room) this.#announce(`${from}: ${excerpt(text, 300)}`);
  }

  /** @param {Room} room @param {ToolCall} call @param {string} type @param {string} by */
  #called(room, call, type, by) {
    const news = callNews(room, call, type, by);
    if (this.#view?.room === room) this.#announce(news);
    else if (type === "tool.requested" && room.mayDecide(call)) this.#toast(`${room.channel.name}: ${news}`);
  }

  /** @param {ConnectionState} state */
  #connected(state) {
    this.#connection = state;
    this.sidebar.showConnection(state);
    this.#view?.changed();
    if (state.status === "closed" && state.error) {
      this.close();
      this.signIn.forget();
      this.signedOut("Your sign-in has ended. What you wrote is kept and sent when you are back.");
      return;
    }
    clearTimeout(this.complaining);
    if (state.status === "open") this.#showBanner(undefined);
    else if (this.banner.hidden) this.complaining = setTimeout(() => this.#explain(), PATIENCE);
    else this.#explain();
  }

  #explain() {
    clearInterval(this.counting);
    const { status, nextAttemptAt = 0, attempt = 1 } = this.#connection;
    if (status === "connecting" && attempt === 1) {
      this.#showBanner("Connecting…");
    } else if (status === "connecting") {
      this.#showBanner("Trying to reconnect…");
    } else if (status === "reconnecting") {
      const say = () => {
        const seconds = Math.max(1, Math.ceil((nextAttemptAt - Date.now()) / 1_000));
        this.#showBanner(`No connection. Trying again in ${seconds} s; what you write is kept.`, true);
      };
      say();
      this.counting = setInterval(say, 1_000);
    }
  }

  /** @param {string | undefined} text @param {boolean} [isWaiting] */
  #showBanner(text, isWaiting = false) {
    if (text === undefined || !isWaiting) clearInterval(this.counting);
    this.banner.hidden = text === undefined;
    if (text === undefined) return;
    const button = this.banner.querySelector("button");
    if (isWaiting && button !== null) {
      // Only the seconds: a button that is anew each second cannot be pressed.
      /** @type {HTMLElement} */ (this.banner.firstElementChild).textContent = text;
      return;
    }
    const now = h("button", { type: "button", class: "link", onclick: () => this.chat.session.wake() }, "Try now");
    this.banner.replaceChildren(h("span", {}, text), ...(isWaiting ? [now] : []));
  }

  // -- what we say

  /** @param {string} text */
  #announce(text) {
    this.status.textContent = text;
  }

  /** @param {unknown} error */
  #complain(error) {
    const isOurs = error instanceof ChatError;
    this.#toast(isOurs ? error.message : "That did not work. Reload the page if it happens again.");
    if (!isOurs) console.error(error);
  }

  /** @param {string} text */
  #toast(text) {
    const toast = h("div", { class: "toast" }, text);
    this.toasts.append(toast);
    setTimeout(() => toast.remove(), 6_000);
  }

  /** @param {unknown} error */
  #cannotStart(error) {
    if (error instanceof ChatError && error.status === 401) {
      this.close();
      this.signIn.forget();
      this.signedOut("That token is not valid here, or has expired.");
      return;
    }
    const text = error instanceof ChatError ? error.message : "The chat cannot be reached.";
    const again = h("button", { type: "button", class: "button primary", onclick: () => location.reload() }, "Try again");
    this.place.replaceChildren(h("div", { class: "nowhere" }, h("h2", {}, "Not connected"), h("p", {}, text), again));
  }
}

const settings = pageSettings();
if (location.pathname !== new URL(settings.pageUrl).pathname) {
  // It was opened without the slash at its end.
  history.replaceState(null, "", settings.pageUrl + location.search + location.hash);
}
const root = /** @type {HTMLElement} */ (document.querySelector("#app"));
const signIn = new SignIn(settings);

/** @param {string} [problem] */
function showSignIn(problem) {
  document.title = "Sign in · Chat";
  root.replaceChildren(signInView(signIn, { problem, signedIn: showChat }));
}

function showChat() {
  const page = new Page(signIn, showSignIn);
  root.replaceChildren(page.element);
  void page.open();
}

/** @type {string | undefined} */
let problem;
try {
  await signIn.finish();
} catch (error) {
  problem = error instanceof Error ? error.message : String(error);
}
if (signIn.current === undefined) showSignIn(problem);
else showChat();
