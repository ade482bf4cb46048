import { h, iconButton } from "./dom.js";
import { confirm, field, modeChoice, openDialog } from "./dialogs.js";
import { counted } from "./format.js";
import { avatar } from "./message-view.js";
import { ToolSettings } from "./tool-settings.js";
import { visible } from "./tool-view.js";

/**
 * @import { Room } from "./room.js"
 * @import { AgentChanges, Member } from "./wire.js"
 */

/** A channel's members and settings, in a drawer. */
export class Details {
  /**
   * @param {Room} room
   * @param {(error: unknown) => void} complain
   */
  constructor(room, complain) {
    this.room = room;
    this.complain = complain;
    this.members = h("section", { "aria-label": "Members" });
    this.dialog = openDialog({
      title: room.channel.name,
      className: "drawer",
      content: [
        this.members,
        room.isOwner && this.#adding(),
        room.isOwner ? this.#settings() : this.#allowed(),
        this.#endings(),
      ],
    });
    this.show();
    if (room.members === undefined) room.loadMembers().catch(complain);
  }

  /** Shows the members as they are now. */
  show() {
    const { room } = this;
    const members = [...(room.members?.values() ?? [])].sort(
      (one, other) =>
        Number(room.online.has(other.userId)) - Number(room.online.has(one.userId)) ||
        room.chat.nameOf(one.userId).localeCompare(room.chat.nameOf(other.userId)),
    );
    const focused = document.activeElement?.getAttribute("aria-label");
    this.members.replaceChildren(
      h("h3", {}, counted(room.channel.memberCount, "member")),
      h("ul", { class: "members", role: "list" }, ...members.map((member) => this.#member(member))),
    );
    if (focused && !this.dialog.contains(document.activeElement)) {
      /** @type {HTMLElement | null} */ (this.dialog.querySelector(`[aria-label="${CSS.escape(focused)}"]`))?.focus();
    }
  }

  /** @param {Member} member */
  #member({ userId, role }) {
    const { room } = this;
    const name = room.chat.nameOf(userId);
    const isOnline = room.online.has(userId);
    const isMe = userId === room.chat.me.userId;
    return h(
      "li",
      { class: "member" },
      h("div", { class: isOnline ? "presence online" : "presence" }, avatar(userId, name, false)),
      h(
        "div",
        { class: "member-name" },
        h("span", {}, isMe ? `${name} (you)` : name),
        h("small", {}, [name !== userId && userId, isOnline ? "online" : "offline"].filter(Boolean).join(" · ")),
      ),
      room.isOwner
        ? h(
            "select",
            {
              "aria-label": `Role of ${name}`,
              onchange: (/** @type {Event} */ event) => this.#changeRole(userId, event),
            },
            h("option", { value: "member", selected: role === "member" }, "Member"),
            h("option", { value: "owner", selected: role === "owner" }, "Owner"),
          )
        : role === "owner" && h("span", { class: "badge" }, "Owner"),
      room.isOwner && !isMe && iconButton("remove", `Remove ${name}`, () => void this.#remove(userId, name)),
    );
  }

  /** @param {string} userId @param {Event} event */
  #changeRole(userId, event) {
    const select = /** @type {HTMLSelectElement} */ (event.currentTarget);
    const role = /** @type {"owner" | "member"} */ (select.value);
    this.room.putMember(userId, role).catch((error) => {
      this.complain(error);
      this.show();
    });
  }

  /** @param {string} userId @param {string} name */
  async #remove(userId, name) {
    const text = `${name} can no longer read or write here.`;
    const isSure = await confirm({ title: `Remove ${name}?`, text, action: "Remove" });
    if (isSure) await this.room.removeMember(userId).catch(this.complain);
  }

  #adding() {
    const input = h("input", { id: "add-member", autocomplete: "off", spellcheck: "false", placeholder: "User id" });
    return h(
      "form",
      {
        class: "adding",
        onsubmit: async (/** @type {Event} */ event) => {
          event.preventDefault();
          const userId = input.value.trim();
          if (userId === "") return;
          try {
            await this.room.putMember(userId, "member");
            input.value = "";
          } catch (error) {
            this.complain(error);
          }
        },
      },
      h("label", { for: "add-member", class: "sr-only" }, "Add somebody by user id"),
      input,
      h("button", { type: "submit", class: "button" }, "Add"),
    );
  }

  #settings() {
    const { agent, name } = this.room.channel;
    const title = h("input", { id: "rename", required: true, maxlength: 120, autocomplete: "off", value: name });
    const modes = modeChoice(agent.mode, "mode");
    const prompt = h("textarea", { id: "prompt", rows: 4, maxlength: 4000 });
    prompt.value = agent.systemPrompt ?? "";
    const tools = new ToolSettings(agent);
    void tools.load(this.room.listTools());
    const saved = h("span", { class: "saved", role: "status" });
    const save = async (/** @type {Event} */ event) => {
      event.preventDefault();
      /** @type {AgentChanges} */
      const changes = { mode: modes.value(), systemPrompt: prompt.value.trim() || null, ...tools.changes };
      try {
        await this.room.change({ name: title.value.trim(), agent: /** @type {any} */ (changes) });
        saved.textContent = "Saved";
      } catch (error) {
        this.complain(error);
      }
    };
    return h(
      "form",
      { class: "form", onsubmit: save, oninput: () => void (saved.textContent = "") },
      h("h3", {}, "Settings"),
      field("rename", "Name", title),
      modes.element,
      field("prompt", "Instructions for the agent", prompt, `Who it is and how it speaks here. Model: ${agent.modelId}`),
      tools.element,
      h("div", { class: "dialog-buttons" }, saved, h("button", { type: "submit", class: "button primary" }, "Save")),
    );
  }

  /** What those who may not choose can know. */
  #allowed() {
    const { tools = [] } = this.room.channel.agent;
    return (
      tools.length > 0 &&
      h(
        "section",
        { "aria-label": "Tools" },
        h("h3", {}, "The agent may call"),
        h("ul", { class: "tool-names", role: "list" }, ...tools.map((tool) => h("li", {}, h("code", {}, visible(tool))))),
      )
    );
  }

  #endings() {
    const { room } = this;
    const { name } = room.channel;
    const end = async (/** @type {{title: string, text: string, action: string}} */ question, /** @type {() => Promise<void>} */ act) => {
      if (!(await confirm(question))) return;
      await act().then(() => this.dialog.close(), this.complain);
    };
    const leave = () =>
      end({ title: `Leave ${name}?`, text: "An owner can add you again.", action: "Leave" }, () =>
        room.removeMember(room.chat.me.userId),
      );
    const destroy = () =>
      end(
        { title: `Delete ${name}?`, text: "The channel and all its messages are gone, for everybody.", action: "Delete channel" },
        () => room.destroy(),
      );
    return h(
      "section",
      { class: "endings" },
      h("button", { type: "button", class: "button", onclick: leave }, "Leave channel"),
      room.isOwner && h("button", { type: "button", class: "button danger", onclick: destroy }, "Delete channel"),
    );
  }
}
