import { h, icon, iconButton } from "./dom.js";
import { excerpt } from "./message-view.js";

/**
 * @import { Room } from "./room.js"
 * @import { Message } from "./wire.js"
 */

const MOST_CHARACTERS = 16_000;
/** From here on what is left is shown. */
const NEARLY = 15_000;

/** Where a message is written. What is not sent is kept for the tab, channel by channel. */
export class Composer {
  /** @type {Message | undefined} */
  #replyTo = undefined;

  /**
   * @param {Room} room
   * @param {object} options
   * @param {(text: string, replyTo?: number) => void} options.send
   * @param {() => void} options.editLast
   */
  constructor(room, { send, editLast }) {
    this.room = room;
    this.send = send;
    this.field = h("textarea", {
      rows: 1,
      enterkeyhint: "send",
      "aria-describedby": "composer-hint",
      autocomplete: "off",
      oninput: () => this.#changed(),
    });
    this.field.value = sessionStorage.getItem(this.#key) ?? "";
    this.field.addEventListener("keydown", (event) => this.#pressed(event, editLast));
    this.field.addEventListener("blur", () => room.chat.session.typing(room.channelId, false));
    this.replying = h("div", { class: "replying", hidden: true });
    this.count = h("span", { class: "count", role: "status" });
    this.button = h("button", { type: "submit", class: "send", "aria-label": "Send" }, icon("send"));
    this.element = h(
      "form",
      { class: "composer", onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
      this.replying,
      h("div", { class: "field" }, this.field, this.count, this.button),
      h(
        "p",
        { class: "hint", id: "composer-hint" },
        h("kbd", {}, "Enter"),
        " sends, ",
        h("kbd", {}, "Shift"),
        " + ",
        h("kbd", {}, "Enter"),
        " breaks the line. Markdown works.",
      ),
    );
    this.rename();
    this.#fit();
  }

  get #key() {
    return `chat.draft.${this.room.chat.me.userId}.${this.room.channelId}`;
  }

  rename() {
    const { agent, name } = this.room.channel;
    const hint = agent.mode === "mention" ? "Write, or ask @agent" : `Message ${name}`;
    this.field.placeholder = hint;
    this.field.setAttribute("aria-label", `Message to ${name}`);
  }

  /** Where a finger writes, a focus would bring the keyboard over half of the screen. */
  invite() {
    if (!isTouch()) this.focus();
  }

  focus() {
    this.field.focus({ preventScroll: true });
  }

  /** @param {string} text */
  fill(text) {
    this.field.value = text;
    this.#changed();
    this.focus();
  }

  /** @param {Message | undefined} message */
  replyTo(message) {
    this.#replyTo = message;
    this.replying.hidden = message === undefined;
    this.replying.replaceChildren();
    if (message === undefined) return;
    const name = message.sender.name ?? this.room.chat.nameOf(message.sender.id);
    this.replying.append(
      icon("reply"),
      h("span", { class: "author" }, `Reply to ${name}`),
      h("span", { class: "excerpt" }, excerpt(message.text, 90)),
      iconButton("close", "Do not reply to it", () => this.replyTo(undefined)),
    );
    this.focus();
  }

  /** @param {KeyboardEvent} event @param {() => void} editLast */
  #pressed(event, editLast) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey && !isTouch()) {
      this.#submit(event);
    } else if (event.key === "Escape" && this.#replyTo !== undefined) {
      event.stopPropagation();
      this.replyTo(undefined);
    } else if (event.key === "ArrowUp" && this.field.value === "") {
      event.preventDefault();
      editLast();
    }
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const text = this.field.value.trim();
    if (text === "" || [...text].length > MOST_CHARACTERS) return;
    const replyTo = this.#replyTo?.seq;
    this.field.value = "";
    this.replyTo(undefined);
    this.#changed();
    this.send(text, replyTo);
    this.focus();
  }

  #changed() {
    const { value } = this.field;
    if (value === "") sessionStorage.removeItem(this.#key);
    else sessionStorage.setItem(this.#key, value);
    this.room.chat.session.typing(this.room.channelId, value.trim() !== "");
    this.#fit();
  }

  #fit() {
    const length = this.field.value.length;
    const left = length > NEARLY ? MOST_CHARACTERS - [...this.field.value.trim()].length : undefined;
    this.count.textContent = left === undefined ? "" : String(left);
    this.count.classList.toggle("over", (left ?? 0) < 0);
    this.button.disabled = this.field.value.trim() === "" || (left ?? 0) < 0;
    if (CSS.supports("field-sizing", "content")) return;
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }
}

function isTouch() {
  return matchMedia("(hover: none) and (pointer: coarse)").matches;
}
