import { h, icon, iconButton } from "./dom.js";
import { counted, exactTime, hueOf, initials, listed, timeOfDay } from "./format.js";
import { MarkdownView, copied, plainText } from "./markdown.js";
import { ToolCards, waitingFor } from "./tool-view.js";

/**
 * @import { Draft } from "./replies.js"
 * @import { Unsent } from "./outbox.js"
 * @import { Row, CallsRow, MessageRow, NoticeRow, DraftRow, PendingRow } from "./rows.js"
 * @import { Room } from "./room.js"
 * @import { ToolCall } from "./tool-calls.js"
 * @import { Message } from "./wire.js"
 */

/**
 * What a row's buttons do.
 *
 * @typedef {object} RowActions
 * @property {(message: Message, anchor: HTMLElement) => void} pickReaction
 * @property {(message: Message, emoji: string) => void} toggleReaction
 * @property {(message: Message) => void} replyTo
 * @property {(message: Message) => void} edit
 * @property {(message: Message, text: string) => void} saveEdit
 * @property {() => void} cancelEdit
 * @property {(message: Message) => void} remove
 * @property {(message: Message) => void} regenerate
 * @property {(draft: Draft) => void} stop
 * @property {(call: ToolCall, decision: "approve" | "deny") => void} decide
 * @property {(unsent: Unsent) => void} retry
 * @property {(unsent: Unsent) => void} discard
 * @property {(seq: number) => void} goTo
 * @property {(text: string) => void} announce
 */

const FAILURES = {
  throttled: "The model is busy. Ask again in a moment.",
  timeout: "The agent took too long and gave up. Ask again.",
  model_error: "The model failed. Ask again.",
  empty: "The model had nothing to say. Try to ask in other words.",
  budget: "The budget for today is used up. The agent answers again tomorrow.",
};

const FINISHES = {
  cancelled: "Stopped",
  length: "Cut off at the length limit",
  filtered: "Ended by the model’s content filter",
};

/** Builds the elements of a room's timeline. */
export class RowBuilder {
  /** Views of replies that are being written. @type {WeakMap<HTMLElement, MarkdownView>} */
  #drafts = new WeakMap();

  /**
   * @param {Room} room
   * @param {RowActions} actions
   */
  constructor(room, actions) {
    this.room = room;
    this.actions = actions;
    this.cards = new ToolCards(room, (call, decision) => this.actions.decide(call, decision));
  }

  /**
   * @param {Row} row
   * @param {HTMLElement | undefined} before
   * @returns {HTMLElement}
   */
  build = (row, before) => {
    switch (row.kind) {
      case "day":
        return h("li", { class: "day" }, h("span", {}, row.label));
      case "new":
        return h("li", { class: "new", id: "new-messages" }, h("span", {}, "New"));
      case "notice":
        return this.#notice(row);
      case "message":
        return this.#message(row);
      case "calls":
        return this.#calls(row);
      case "draft":
        return this.#draft(row, before);
      case "pending":
        return this.#pending(row);
    }
  };

  /** @param {MessageRow} row */
  #message(row) {
    const { message, name, continues } = row;
    const isAgent = message.sender.kind === "agent";
    const isDeleted = message.deletedAt !== undefined;
    const edited = message.editedAt !== undefined && !isDeleted;
    const head = h(
      "div",
      { class: "head" },
      h("span", { class: "author" }, name),
      isAgent && h("span", { class: "badge" }, "AI"),
      h("time", { datetime: message.createdAt, title: exactTime(message.createdAt) }, timeOfDay(message.createdAt)),
      (message.generation ?? 1) > 1 && h("span", { class: "remark" }, `answer ${message.generation}`),
      edited && h("span", { class: "remark", title: exactTime(message.editedAt ?? "") }, "edited"),
    );
    return h(
      "li",
      {
        class: ["message", continues && "continues", isAgent && "agent", isDeleted && "deleted"].filter(Boolean).join(" "),
        "data-seq": message.seq,
        tabindex: -1,
        "aria-label": `${name}, ${timeOfDay(message.createdAt)}`,
      },
      avatar(message.sender.id, name, isAgent),
      h(
        "div",
        { class: "body" },
        head,
        row.quotedSeq !== undefined && this.#quote(row.quotedSeq, row.quoted),
        row.editing ? this.#editor(message) : this.#text(message),
        row.calls.length > 0 && h("div", { class: "calls" }, ...this.cards.show(row.calls)),
        this.#reactions(message),
      ),
      !isDeleted && !row.editing && this.#toolbar(message),
    );
  }

  /** What a reply called that then came to nothing. @param {CallsRow} row */
  #calls({ calls }) {
    return h(
      "li",
      { class: "message agent" },
      avatar("#agent", "Agent", true),
      h(
        "div",
        { class: "body" },
        h("div", { class: "head" }, h("span", { class: "author" }, "Agent"), h("span", { class: "badge" }, "AI")),
        h("div", { class: "calls" }, ...this.cards.show(calls)),
      ),
    );
  }

  /** @param {Message} message */
  #text(message) {
    if (message.deletedAt !== undefined) return h("p", { class: "gone" }, "This message was deleted.");
    const view = new MarkdownView();
    view.show(message.text);
    const finish = FINISHES[/** @type {keyof typeof FINISHES} */ (message.finishReason)];
    return h(
      "div",
      { class: "text" },
      message.text === "" && finish ? null : view.element,
      finish && h("p", { class: "finish" }, finish),
    );
  }

  /** @param {Message} message */
  #editor(message) {
    const field = h("textarea", { class: "edit", rows: 3, "aria-label": "Edit your message" });
    field.value = message.text;
    const save = () => {
      const text = field.value.trim();
      if (text === "" || text === message.text) this.actions.cancelEdit();
      else this.actions.saveEdit(message, text);
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") {
        event.stopPropagation();
        this.actions.cancelEdit();
      } else if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        save();
      }
    });
    return h(
      "div",
      { class: "editor" },
      field,
      h(
        "div",
        { class: "editor-buttons" },
        h("button", { type: "button", class: "button primary small", onclick: save }, "Save"),
        h("button", { type: "button", class: "button small", onclick: () => this.actions.cancelEdit() }, "Cancel"),
      ),
    );
  }

  /** @param {Message} message */
  #reactions(message) {
    const entries = Object.entries(message.reactions);
    if (entries.length === 0) return null;
    const { me } = this.room.chat;
    return h(
      "div",
      { class: "reactions", role: "group", "aria-label": "Reactions" },
      ...entries.map(([emoji, users]) => {
        const names = listed(users.map((user) => (user === me.userId ? "you" : this.room.chat.nameOf(user))));
        return h(
          "button",
          {
            type: "button",
            class: "reaction",
            "aria-pressed": String(users.includes(me.userId)),
            "aria-label": `${emoji}, ${counted(users.length, "reaction")}: ${names}`,
            title: names,
            onclick: () => this.actions.toggleReaction(message, emoji),
          },
          h("span", { class: "emoji" }, emoji),
          String(users.length),
        );
      }),
      iconButton("smile", "Add a reaction", (event) => this.actions.pickReaction(message, target(event)), {
        class: "reaction add",
      }),
    );
  }

  /** @param {Message} message */
  #toolbar(message) {
    const { chat, isOwner } = this.room;
    const isOurs = message.sender.id === chat.me.userId;
    const isAgent = message.sender.kind === "agent";
    const { actions } = this;
    return h(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "Message actions" },
      iconButton("smile", "Add a reaction", (event) => actions.pickReaction(message, target(event))),
      iconButton("reply", "Reply", () => actions.replyTo(message)),
      isAgent && iconButton("refresh", "Answer again", () => actions.regenerate(message)),
      iconButton("copy", "Copy the text", async () => {
        const done = await copied(message.text);
        actions.announce(done ? "Copied." : "This browser does not let the page copy here.");
      }),
      isOurs && iconButton("edit", "Edit", () => actions.edit(message)),
      (isOurs || isOwner) && iconButton("remove", "Delete", () => actions.remove(message)),
    );
  }

  /** @param {number} seq @param {Message | undefined} quoted */
  #quote(seq, quoted) {
    const { chat } = this.room;
    const name = quoted && (quoted.sender.name ?? chat.nameOf(quoted.sender.id));
    const text = quoted?.deletedAt === undefined ? (quoted?.text ?? "") : "a deleted message";
    return h(
      "button",
      { type: "button", class: "quote", onclick: () => this.actions.goTo(seq) },
      icon("reply"),
      name === undefined
        ? h("span", {}, "Show the message that this answers")
        : [h("span", { class: "author" }, name), h("span", { class: "excerpt" }, excerpt(text))],
    );
  }

  /** @param {DraftRow} row @param {HTMLElement | undefined} before */
  #draft({ draft, stopping, connected, calls }, before) {
    const isEmpty = draft.text === "";
    const view = (before && this.#drafts.get(before)) ?? new MarkdownView();
    if (!isEmpty) view.show(draft.text);
    const waiting = waitingFor(this.room, calls);
    const writing = waiting?.said ?? (isEmpty ? "Thinking" : "Writing");
    const status = stopping ? "Stopping…" : connected ? writing : "Paused: no connection";
    const element =
      before ??
      h(
        "li",
        { class: "message agent draft", "data-draft": draft.replyTo, "aria-busy": "true" },
        avatar("#agent", "Agent", true),
        h(
          "div",
          { class: "body" },
          h("div", { class: "head" }, h("span", { class: "author" }, "Agent"), h("span", { class: "badge" }, "AI"), h("span", { class: "status" })),
          h("div", { class: "text" }, view.element),
          h("div", { class: "calls" }),
          h(
            "button",
            { type: "button", class: "button small stop", onclick: () => this.actions.stop(draft) },
            icon("stop"),
            "Stop",
          ),
        ),
      );
    element.classList.toggle("waiting", isEmpty);
    element.classList.toggle("asking", waiting?.isWaiting ?? false);
    element.setAttribute("aria-busy", String(!waiting?.isWaiting));
    const cards = /** @type {HTMLElement} */ (element.querySelector(".calls"));
    keepInPlace(cards, this.cards.show(calls));
    element.setAttribute("aria-label", `Agent, ${status.toLowerCase()}`);
    /** @type {HTMLElement} */ (element.querySelector(".status")).textContent = status;
    const stop = /** @type {HTMLButtonElement} */ (element.querySelector(".stop"));
    stop.disabled = stopping;
    this.#drafts.set(element, view);
    return element;
  }

  /** @param {PendingRow} row */
  #pending({ unsent, continues, connected }) {
    const { me } = this.room.chat;
    const name = this.room.chat.nameOf(me.userId);
    const view = new MarkdownView();
    view.show(unsent.text);
    return h(
      "li",
      {
        class: ["message", "pending", continues && "continues", unsent.refused && "refused"].filter(Boolean).join(" "),
        tabindex: -1,
        "aria-label": `${name}, ${unsent.refused ? "not sent" : "sending"}`,
      },
      avatar(me.userId, name, false),
      h(
        "div",
        { class: "body" },
        h("div", { class: "head" }, h("span", { class: "author" }, name), h("span", { class: "remark" }, timeOfDay(unsent.createdAt))),
        h("div", { class: "text" }, view.element),
        unsent.refused
          ? h(
              "div",
              { class: "refusal" },
              icon("warning"),
              h("span", {}, `Not sent. ${unsent.refused}`),
              h("button", { type: "button", class: "link", onclick: () => this.actions.retry(unsent) }, "Try again"),
              h("button", { type: "button", class: "link", onclick: () => this.actions.discard(unsent) }, "Discard"),
            )
          : h("p", { class: "sending" }, connected ? "Sending…" : "Kept. It is sent when the connection is back."),
      ),
    );
  }

  /** @param {NoticeRow} row */
  #notice({ notice }) {
    const isFailure = notice.event.type === "agent.failed";
    return h(
      "li",
      { class: isFailure ? "notice failure" : "notice", title: exactTime(notice.createdAt) },
      isFailure && icon("warning"),
      this.#noticeText(notice.event),
    );
  }

  /** @param {import("./wire.js").ChatEvent} event */
  #noticeText({ type, data, sender }) {
    const { chat } = this.room;
    const who = chat.nameOf(sender.id);
    const whom = chat.nameOf(data.userId ?? "");
    switch (type) {
      case "member.joined":
        return sender.id === data.userId ? `${whom} joined` : `${who} added ${whom}`;
      case "member.left":
        return sender.id === data.userId ? `${whom} left` : `${who} removed ${whom}`;
      case "member.updated":
        return data.role === "owner" ? `${who} made ${whom} an owner` : `${who} made ${whom} a member`;
      case "channel.updated":
        return data.name ? `${who} renamed the channel to “${data.name}”` : `${who} changed the agent’s settings`;
      default:
        return FAILURES[/** @type {keyof typeof FAILURES} */ (data.reason)] ?? "The agent could not answer. Ask again.";
    }
  }
}

/**
 * Makes these an element's children; what is there already is not touched, and keeps the focus.
 *
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} children
 */
function keepInPlace(parent, children) {
  children.forEach((child, index) => {
    const there = parent.children[index];
    if (there === child) return;
    if (there === undefined) parent.append(child);
    else there.replaceWith(child);
  });
  while (parent.children.length > children.length) parent.lastElementChild?.remove();
}

/**
 * @param {string} id
 * @param {string} name
 * @param {boolean} isAgent
 */
export function avatar(id, name, isAgent) {
  return isAgent
    ? h("div", { class: "avatar agent", "aria-hidden": "true" }, icon("spark"))
    : h("div", { class: `avatar hue-${hueOf(id)}`, "aria-hidden": "true" }, initials(name));
}

/** @param {string} text */
export function excerpt(text, length = 140) {
  const line = plainText(text);
  return line.length > length ? `${line.slice(0, length)}…` : line;
}

/** @param {MouseEvent} event */
function target(event) {
  return /** @type {HTMLElement} */ (event.currentTarget);
}
