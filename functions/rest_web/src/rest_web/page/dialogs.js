import { h, iconButton } from "./dom.js";

/** @typedef {"always" | "mention" | "off"} Mode */

/** @type {[Mode, string, string][]} */
const MODES = [
  ["always", "Answers everything", "A reply to each message."],
  ["mention", "Answers when asked", "A reply to messages with @agent."],
  ["off", "Stays out", "People among themselves."],
];

/**
 * A modal dialog, gone when it is closed.
 *
 * @param {object} options
 * @param {string} options.title
 * @param {string} [options.className]
 * @param {(Node | false)[]} options.content
 */
export function openDialog({ title, className = "", content }) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h(
    "dialog",
    { class: `dialog ${className}`, "aria-labelledby": "dialog-title" },
    h(
      "header",
      { class: "dialog-head" },
      heading,
      iconButton("close", "Close", () => dialog.close()),
    ),
    ...content,
  );
  dialog.addEventListener("close", () => dialog.remove());
  // A click on what lies behind.
  dialog.addEventListener("pointerdown", (event) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const { clientX: x, clientY: y, target } = event;
    if (target === dialog && (x < left || x > right || y < top || y > bottom)) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** @param {{title: string, text: string, action: string}} question @returns {Promise<boolean>} */
export function confirm({ title, text, action }) {
  return new Promise((resolve) => {
    const answer = (/** @type {boolean} */ isSure) => {
      resolve(isSure);
      dialog.close();
    };
    const dialog = openDialog({
      title,
      className: "confirm",
      content: [
        h("p", {}, text),
        h(
          "div",
          { class: "dialog-buttons" },
          h("button", { type: "button", class: "button", onclick: () => answer(false), autofocus: true }, "Cancel"),
          h("button", { type: "button", class: "button danger", onclick: () => answer(true) }, action),
        ),
      ],
    });
    dialog.addEventListener("close", () => resolve(false));
  });
}

/**
 * @param {(channel: {name: string, members: string[], mode: Mode}) => Promise<void>} create
 *   Rejects with what is wrong.
 */
export function createChannelDialog(create) {
  const name = h("input", { id: "channel-name", required: true, maxlength: 120, autocomplete: "off", autofocus: true });
  const people = h("input", {
    id: "channel-people",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "bob, carol",
    "aria-describedby": "channel-people-hint",
  });
  const modes = modeChoice("always", "new-mode");
  const problem = h("p", { class: "problem", role: "alert" });
  const button = h("button", { type: "submit", class: "button primary" }, "Create channel");
  const form = h(
    "form",
    {
      class: "form",
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        button.disabled = true;
        problem.textContent = "";
        try {
          await create({ name: name.value.trim(), members: idsIn(people.value), mode: modes.value() });
          dialog.close();
        } catch (error) {
          problem.textContent = error instanceof Error ? error.message : String(error);
        } finally {
          button.disabled = false;
        }
      },
    },
    field("channel-name", "Name", name),
    field("channel-people", "People", people, "User ids, separated by commas. More can be added later."),
    modes.element,
    problem,
    h("div", { class: "dialog-buttons" }, button),
  );
  const dialog = openDialog({ title: "New channel", content: [form] });
}

/**
 * @param {Mode} chosen
 * @param {string} group
 */
export function modeChoice(chosen, group) {
  const element = h(
    "fieldset",
    { class: "modes" },
    h("legend", {}, "The agent"),
    ...MODES.map(([mode, title, text]) =>
      h(
        "label",
        { class: "mode" },
        h("input", { type: "radio", name: group, value: mode, checked: mode === chosen }),
        h("span", {}, h("strong", {}, title), h("small", {}, text)),
      ),
    ),
  );
  const value = () => {
    const checked = /** @type {HTMLInputElement | null} */ (element.querySelector("input:checked"));
    return /** @type {Mode} */ (checked?.value ?? chosen);
  };
  return { element, value };
}

/**
 * @param {string} id
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string} [hint]
 */
export function field(id, label, input, hint) {
  return h(
    "div",
    { class: "form-field" },
    h("label", { for: id }, label),
    input,
    hint !== undefined && h("small", { id: `${id}-hint` }, hint),
  );
}

/** @param {string} text */
export function idsIn(text) {
  return [...new Set(text.split(/[\s,;]+/).filter(Boolean))];
}
