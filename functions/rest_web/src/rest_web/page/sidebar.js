import { KeyedChildren, h, icon, iconButton } from "./dom.js";
import { briefTime, unreadLabel } from "./format.js";
import { avatar } from "./message-view.js";

/**
 * @import { Chat } from "./chat.js"
 * @import { ConnectionState } from "./link.js"
 */

/** @typedef {{key: string, name: string, time: string, unread: number, current: boolean, isAgent: boolean, typing: boolean}} ChannelRow */

/** The list of channels, who we are, and how the connection is. */
export class Sidebar {
  /**
   * @param {Chat} chat
   * @param {{create: () => void, quickStart: () => void, signOut: () => void}} actions
   */
  constructor(chat, { create, quickStart, signOut }) {
    this.chat = chat;
    const list = h("ul", { class: "channels", role: "list" });
    /** @type {KeyedChildren<ChannelRow>} */
    this.rows = new KeyedChildren(list, channelElement);
    this.nothing = h(
      "div",
      { class: "nothing", hidden: true },
      h("p", {}, "You are in no channel yet."),
      h("button", { type: "button", class: "button primary", onclick: quickStart }, "Talk with the agent"),
      h("button", { type: "button", class: "button", onclick: create }, "New channel with people"),
    );
    this.dot = h("span", { class: "dot", "aria-hidden": "true" });
    this.connection = h("span", { class: "connection-text" });
    this.user = h("div", { class: "me" });
    this.element = h(
      "nav",
      { class: "sidebar", "aria-label": "Channels" },
      h(
        "header",
        { class: "sidebar-head" },
        h("span", { class: "brand" }, icon("spark"), "Chat"),
        iconButton("add", "New channel", create),
      ),
      h("div", { class: "channels-frame" }, list, this.nothing),
      h("footer", { class: "sidebar-foot" }, this.user, iconButton("leave", "Sign out", signOut)),
    );
    list.addEventListener("keydown", (event) => move(list, event));
  }

  /** @param {string | undefined} currentId */
  show(currentId) {
    const { chat } = this;
    this.rows.show(
      chat.rooms.map(({ channel, channelId, typing }) => ({
        key: channelId,
        name: channel.name,
        time: briefTime(channel.lastEventAt ?? channel.createdAt),
        unread: channelId === currentId && document.hasFocus() ? 0 : channel.unreadCount,
        current: channelId === currentId,
        isAgent: channel.agent.mode !== "off",
        typing: typing.length > 0,
      })),
    );
    this.nothing.hidden = !chat.isLoaded || chat.rooms.length > 0;
    const name = chat.nameOf(chat.me.userId);
    if (this.user.dataset.name === name) return;
    this.user.dataset.name = name;
    this.user.replaceChildren(
      avatar(chat.me.userId, name, false),
      h("div", {}, h("div", { class: "my-name" }, name), h("div", { class: "connection" }, this.dot, this.connection)),
    );
  }

  /** @param {ConnectionState} state */
  showConnection({ status }) {
    const text = { open: "Connected", closed: "Signed out", idle: "Connecting…", connecting: "Connecting…", reconnecting: "Offline" };
    this.dot.className = `dot ${status}`;
    this.connection.textContent = text[status];
  }
}

/** @param {ChannelRow} row */
function channelElement({ key, name, time, unread, current, isAgent, typing }) {
  return h(
    "li",
    {},
    h(
      "a",
      { class: unread > 0 ? "channel unread" : "channel", href: `#/channels/${key}`, "aria-current": current && "page" },
      h("span", { class: "channel-mark", "aria-hidden": "true" }, icon(isAgent ? "spark" : "hash")),
      h("span", { class: "channel-name" }, name),
      typing
        ? h("span", { class: "dots", role: "img", "aria-label": "Somebody is typing" })
        : h("span", { class: "channel-time" }, time),
      unread > 0 &&
        h("span", { class: "unread-count", "aria-label": `${unreadLabel(unread)} unread` }, unreadLabel(unread)),
    ),
  );
}

/** @param {HTMLElement} list @param {KeyboardEvent} event */
function move(list, event) {
  const links = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("a")]);
  const position = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = { ArrowUp: position - 1, ArrowDown: position + 1, Home: 0, End: links.length - 1 }[event.key];
  if (next === undefined || links[next] === undefined) return;
  event.preventDefault();
  links[next].focus();
}
