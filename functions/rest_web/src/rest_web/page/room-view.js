import { Composer } from "./composer.js";
import { KeyedChildren, h, icon, iconButton } from "./dom.js";
import { counted, listed } from "./format.js";
import { RowBuilder } from "./message-view.js";
import { pickEmoji } from "./emoji-picker.js";
import { readersOfNewest, rowsOf } from "./rows.js";

/**
 * @import { Room } from "./room.js"
 * @import { Row } from "./rows.js"
 * @import { Message } from "./wire.js"
 */

/**
 * @typedef {{place: string, label: string | null}} Focus
 *   `place` selects the row, `label` names what has the focus in it; null: the row itself.
 */

/**
 * What a room's view needs of the page around it.
 *
 * @typedef {object} Page
 * @property {(text: string) => void} announce Says it to a screen reader.
 * @property {(error: unknown) => void} complain Says what did not work.
 * @property {(question: {title: string, text: string, action: string}) => Promise<boolean>} confirm
 * @property {(room: Room) => void} openDetails
 * @property {() => void} back To the list of channels, where there is no place for both.
 * @property {() => boolean} isConnected
 */

/** Pixels from the end within which the view follows what comes. */
const NEAR_END = 120;
/** Pixels from the beginning within which older messages are read. */
const NEAR_BEGINNING = 800;

const STARTERS = ["What can you do?", "Write a haiku about teamwork", "Show me a Python example"];

/** One channel: its header, its timeline, and where to write. */
export class RoomView {
  /** @type {number | undefined} */
  #editing = undefined;
  #following = true;
  /** Where the reader was last seen, or put. */
  #top = 0;
  #scheduled = 0;
  /** The newest message that the reader may have seen: what came since is drawn with the next frame. */
  #newestShown = 0;
  /** The newest message shown when the reader left the end. @type {number | undefined} */
  #leftAt = undefined;

  /**
   * @param {Room} room
   * @param {Page} page
   */
  constructor(room, page) {
    this.room = room;
    this.page = page;
    this.title = h("h2", {});
    this.summary = h("button", { type: "button", class: "summary", onclick: () => page.openDetails(room) });
    this.list = h("ol", { class: "timeline", role: "list", "aria-label": "Messages" });
    this.beginning = h("div", { class: "beginning" });
    this.ending = h("div", { class: "ending" });
    this.scroller = h(
      "div",
      { class: "scroller", tabindex: -1 },
      h("div", { class: "column" }, this.beginning, this.list, this.ending),
    );
    this.jump = h("button", { type: "button", class: "jump", hidden: true, onclick: () => this.#toEnd(true) });
    this.composer = new Composer(room, {
      send: (text, replyTo) => this.#say(text, replyTo),
      editLast: () => this.#editLast(),
    });
    this.element = h(
      "section",
      { class: "room", "aria-label": "Conversation" },
      h(
        "header",
        { class: "room-head" },
        iconButton("back", "All channels", () => page.back(), { class: "icon-button back" }),
        h("div", { class: "room-name" }, this.title, this.summary),
        iconButton("settings", "Channel details", () => page.openDetails(room)),
      ),
      h("div", { class: "timeline-frame" }, this.scroller, this.jump),
      h("div", { class: "column foot" }, this.composer.element),
    );
    const builder = new RowBuilder(room, this.#actions());
    /** @type {KeyedChildren<Row>} */
    this.rows = new KeyedChildren(this.list, builder.build);
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.#pressed(event));
    this.list.addEventListener("focusin", (event) => this.#roam(event));
    this.resizing = new ResizeObserver(() => {
      this.#lookWhetherLeft();
      if (this.#following) this.#toEnd(false);
    });
    this.resizing.observe(this.scroller);
    this.resizing.observe(this.list);
  }

  /** Reads the room and shows its end, or where "new" begins. */
  async enter() {
    const entering = this.room.enter();
    this.#render();
    this.composer.invite();
    await entering;
    this.#render();
    if (this.room.newAfter !== undefined) await this.#showNew();
    this.seen();
  }

  leave() {
    cancelAnimationFrame(this.#scheduled);
    this.resizing.disconnect();
    this.room.chat.session.typing(this.room.channelId, false);
  }

  /** Shows what has changed, with the next frame. */
  changed() {
    if (this.#scheduled !== 0) return;
    this.#scheduled = requestAnimationFrame(() => {
      this.#scheduled = 0;
      this.#render();
    });
  }

  /** Marks the room as read, if its end is looked at. */
  seen() {
    const isLookedAt = document.visibilityState === "visible" && document.hasFocus();
    if (isLookedAt && this.#following && this.room.timeline.isLoaded) this.room.markRead();
  }

  #render() {
    const { room } = this;
    this.#lookWhetherLeft();
    this.#renderHead();
    const focus = this.#focused();
    const anchor = this.#following ? undefined : this.#anchor();
    this.rows.show(rowsOf(room, { editing: this.#editing, connected: this.page.isConnected() }));
    this.#newestShown = room.timeline.messages.at(-1)?.seq ?? 0;
    this.#renderBeginning();
    this.#renderEnding();
    this.#roving();
    if (this.#following) this.#toEnd(false);
    else if (anchor !== undefined) this.#restore(anchor);
    this.#refocus(focus);
    this.#renderJump();
    this.seen();
  }

  #renderHead() {
    const { channel, online } = this.room;
    this.title.textContent = channel.name;
    const others = [...online].filter((userId) => userId !== this.room.chat.me.userId).length;
    const agent = { always: "agent answers", mention: "agent answers @agent", off: "agent off" }[channel.agent.mode];
    this.summary.textContent = [
      counted(channel.memberCount, "member"),
      others > 0 && `${others} online`,
      agent,
    ]
      .filter(Boolean)
      .join(" · ");
    this.composer.rename();
  }

  #renderBeginning() {
    const { room } = this;
    const { timeline } = room;
    const isEmpty = timeline.isLoaded && this.list.childElementCount === 0;
    const state = room.failure ?? (isEmpty ? "empty" : timeline.isLoaded ? String(timeline.hasOlder) : "loading");
    if (this.beginning.dataset.state === state) return;
    this.beginning.dataset.state = state;
    this.beginning.replaceChildren(...this.#beginning(isEmpty));
  }

  /** @param {boolean} isEmpty @returns {Node[]} */
  #beginning(isEmpty) {
    const { room } = this;
    const { timeline, channel } = room;
    if (room.failure !== undefined) {
      const again = () => void (timeline.isLoaded ? room.loadOlder() : room.enter());
      return [
        h("p", { class: "failure-text" }, icon("warning"), room.failure),
        h("button", { type: "button", class: "button small", onclick: again }, "Try again"),
      ];
    }
    if (!timeline.isLoaded) return skeletons();
    if (timeline.hasOlder) return [h("p", { class: "loading-older" }, "Loading earlier messages…")];
    if (!isEmpty) return [h("p", { class: "first" }, `This is the beginning of ${channel.name}.`)];
    return this.#emptyState();
  }

  #emptyState() {
    const { agent, name } = this.room.channel;
    const text = {
      always: "Say something: everybody here sees it, and the agent answers each message.",
      mention: "Say something to the others, or ask the agent by writing @agent.",
      off: "Say something: everybody here sees it at once.",
    }[agent.mode];
    const prefix = agent.mode === "mention" ? "@agent " : "";
    const starters = agent.mode === "off" ? [] : STARTERS;
    return [
      h(
        "div",
        { class: "empty" },
        h("div", { class: "empty-mark", "aria-hidden": "true" }, icon(agent.mode === "off" ? "people" : "spark")),
        h("h3", {}, `Welcome to ${name}`),
        h("p", {}, text),
        h(
          "div",
          { class: "starters" },
          ...starters.map((starter) =>
            h("button", { type: "button", class: "button", onclick: () => this.#say(prefix + starter) }, starter),
          ),
        ),
      ),
    ];
  }

  #renderEnding() {
    const { room } = this;
    const readers = room.pending.size === 0 ? readersOfNewest(room) : [];
    const typing = room.typing.map((userId) => room.chat.nameOf(userId));
    const seen = readers.length > 0 ? `Seen by ${listed(readers)}` : "";
    const types = typing.length > 0 ? `${listed(typing)} ${typing.length === 1 ? "is" : "are"} typing` : "";
    const state = `${seen}\n${types}`;
    if (this.ending.dataset.state === state) return;
    this.ending.dataset.state = state;
    this.ending.replaceChildren(
      h("p", { class: "seen" }, seen),
      h("p", { class: "typing", role: "status" }, types && h("span", { class: "dots", "aria-hidden": "true" }), types),
    );
  }

  #renderJump() {
    if (this.#following) this.#leftAt = undefined;
    else this.#leftAt ??= this.#newestShown;
    const leftAt = this.#leftAt ?? Infinity;
    const isNews = (/** @type {Message} */ { seq, sender }) => seq > leftAt && sender.id !== this.room.chat.me.userId;
    const count = this.room.timeline.messages.filter(isNews).length;
    const isAsked = this.room.timeline.calls.all.some((call) => this.room.mayDecide(call));
    const news = count > 0 ? counted(count, "new message") : "Jump to newest";
    const label = isAsked ? "Your approval is needed" : news;
    this.jump.hidden = this.#following;
    if (this.jump.textContent === label) return;
    this.jump.replaceChildren(icon("down"), label);
    this.jump.classList.toggle("news", count > 0 || isAsked);
  }

  // -- scrolling

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.#top = scrollTop;
    const following = scrollHeight - scrollTop - clientHeight < NEAR_END;
    if (following !== this.#following) {
      this.#following = following;
      this.#renderJump();
      this.seen();
    }
    const { room } = this;
    const wantsOlder = scrollTop < NEAR_BEGINNING && room.timeline.isLoaded && room.timeline.hasOlder;
    if (wantsOlder && !room.isLoading && room.failure === undefined) void room.loadOlder();
  }

  /** Who has scrolled up is not taken back, though the event that says so comes a frame later. */
  #lookWhetherLeft() {
    if (this.#following && this.scroller.scrollTop < this.#top) this.#scrolled();
  }

  /** @param {boolean} smoothly */
  #toEnd(smoothly) {
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#following = true;
    this.scroller.scrollTo({
      top: this.scroller.scrollHeight,
      behavior: smoothly && !isCalm ? "smooth" : "instant",
    });
    this.#top = this.scroller.scrollTop;
    this.#renderJump();
  }

  /** The first row in sight, and where it stands: what is read above it must not move it. */
  #anchor() {
    const top = this.scroller.getBoundingClientRect().top;
    for (const { key } of this.rows.rows) {
      const place = this.rows.element(key)?.getBoundingClientRect();
      if (place !== undefined && place.bottom > top && place.height > 0) return { key, top: place.top };
    }
    return undefined;
  }

  /** @param {{key: string, top: number}} anchor */
  #restore({ key, top }) {
    const place = this.rows.element(key)?.getBoundingClientRect();
    if (place !== undefined) this.scroller.scrollTop += place.top - top;
  }

  /** Reads back to where "new" begins, and shows that. */
  async #showNew() {
    await this.room.loadBackTo((this.room.newAfter ?? 0) + 1);
    this.#render();
    const mark = this.rows.element("new");
    if (mark === undefined) return;
    const fromEnd = this.scroller.scrollHeight - mark.offsetTop;
    if (fromEnd < this.scroller.clientHeight) return;
    this.#following = false;
    mark.scrollIntoView({ block: "start", behavior: "instant" });
    this.#scrolled();
  }

  /** @param {number} seq */
  async #goTo(seq) {
    await this.room.loadBackTo(seq);
    this.#render();
    const element = this.rows.element(`message ${seq}`);
    if (element === undefined) return;
    this.#following = false;
    element.scrollIntoView({ block: "center", behavior: "instant" });
    element.focus({ preventScroll: true });
    element.classList.add("found");
    setTimeout(() => element.classList.remove("found"), 2_000);
  }

  // -- the keyboard

  /** One message can be reached by Tab: the one last focused, else the newest. */
  #roving() {
    const elements = this.#focusable();
    const current = elements.find((element) => element.tabIndex === 0) ?? elements.at(-1);
    for (const element of elements) element.tabIndex = element === current ? 0 : -1;
  }

  #focusable() {
    return /** @type {HTMLElement[]} */ ([...this.list.querySelectorAll(":scope > .message[tabindex]")]);
  }

  /** @param {FocusEvent} event */
  #roam({ target }) {
    const message = /** @type {HTMLElement} */ (target).closest(".message[tabindex]");
    for (const element of this.#focusable()) element.tabIndex = element === message ? 0 : -1;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const message = target.closest(".message[tabindex]");
    if (event.key === "Escape") this.composer.focus();
    if (target !== message) return;
    const elements = this.#focusable();
    const position = elements.indexOf(/** @type {HTMLElement} */ (message));
    const next = { ArrowUp: position - 1, ArrowDown: position + 1, Home: 0, End: elements.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    elements[Math.max(0, next)]?.focus();
    if (next >= elements.length) this.composer.focus();
  }

  /**
   * What has the focus, so that it keeps it when its row is built anew.
   *
   * @returns {Focus | undefined}
   */
  #focused() {
    const active = document.activeElement;
    const call = active?.closest?.("[data-call]");
    if (call && this.list.contains(call)) {
      return { place: `[data-call="${CSS.escape(call.getAttribute("data-call") ?? "")}"]`, label: null };
    }
    const message = active?.closest?.(".message[data-seq]");
    if (!message || !this.list.contains(message)) return undefined;
    const place = `[data-seq="${message.getAttribute("data-seq")}"]`;
    return { place, label: active === message ? null : (active?.getAttribute("aria-label") ?? null) };
  }

  /** @param {Focus | undefined} focus */
  #refocus(focus) {
    const isLost = document.activeElement === document.body || document.activeElement === null;
    if (focus === undefined || !isLost) return;
    const place = /** @type {HTMLElement | null} */ (this.list.querySelector(focus.place));
    const inside = focus.label && place?.querySelector(`[aria-label="${CSS.escape(focus.label)}"]`);
    /** @type {HTMLElement | null} */ (inside || place)?.focus({ preventScroll: true });
  }

  // -- what the buttons do

  /** @param {string} text @param {number} [replyTo] */
  #say(text, replyTo) {
    this.room.newAfter = undefined;
    this.room.say(text, replyTo);
    this.#render();
    this.#toEnd(false);
  }

  #editLast() {
    const { me } = this.room.chat;
    const isOurs = (/** @type {Message} */ { sender, deletedAt }) => sender.id === me.userId && !deletedAt;
    const last = this.room.timeline.messages.findLast(isOurs);
    if (last !== undefined) this.#edit(last.seq);
  }

  /** @param {number | undefined} seq */
  #edit(seq) {
    this.#editing = seq;
    this.#render();
    const field = /** @type {HTMLTextAreaElement | null} */ (this.list.querySelector("textarea.edit"));
    if (field === null) {
      this.composer.focus();
      return;
    }
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  /** @returns {import("./message-view.js").RowActions} */
  #actions() {
    const { room, page } = this;
    const attempt = (/** @type {Promise<unknown>} */ doing) => void doing.catch(page.complain);
    return {
      announce: page.announce,
      goTo: (seq) => attempt(this.#goTo(seq)),
      pickReaction: (message, anchor) =>
        pickEmoji(anchor, (emoji) => attempt(room.toggleReaction(message, emoji))),
      toggleReaction: (message, emoji) => attempt(room.toggleReaction(message, emoji)),
      replyTo: (message) => this.composer.replyTo(message),
      edit: ({ seq }) => this.#edit(seq),
      cancelEdit: () => this.#edit(undefined),
      saveEdit: (message, text) => {
        attempt(room.edit(message, text));
        this.#edit(undefined);
      },
      remove: (message) => attempt(this.#remove(message)),
      regenerate: (message) => attempt(room.regenerate(message).then(() => this.#toEnd(true))),
      stop: ({ replyTo }) => attempt(room.stop(replyTo)),
      decide: (call, decision) => attempt(room.decide(call, decision)),
      retry: (unsent) => room.retry(unsent),
      discard: (unsent) => room.discard(unsent),
    };
  }

  /** @param {Message} message */
  async #remove(message) {
    const isSure = await this.page.confirm({
      title: "Delete this message?",
      text: "It disappears for everybody, and its text is removed for good.",
      action: "Delete",
    });
    if (isSure) await this.room.remove(message);
  }
}

function skeletons() {
  return [..."abcde"].map((each) => h("div", { class: `skeleton skeleton-${each}`, "aria-hidden": "true" }));
}
