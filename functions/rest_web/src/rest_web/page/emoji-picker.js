import { h } from "./dom.js";

const COMMON = ["👍", "❤️", "😂", "🎉", "🙏", "👀", "🔥", "✅", "🚀", "💡", "🤔", "😮"];
const MOST_CODE_POINTS = 32;

/**
 * Offers emoji beside an element; any other can be typed.
 *
 * @param {HTMLElement} anchor
 * @param {(emoji: string) => void} picked
 */
export function pickEmoji(anchor, picked) {
  const choose = (/** @type {string} */ emoji) => {
    picker.hidePopover();
    picked(emoji);
  };
  const other = h("input", {
    type: "text",
    placeholder: "Another emoji",
    "aria-label": "Another emoji",
    autocomplete: "off",
  });
  const form = h("form", {
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      const emoji = other.value.trim();
      if (emoji !== "" && [...emoji].length <= MOST_CODE_POINTS) choose(emoji);
    },
  });
  form.append(other);
  const buttons = COMMON.map((emoji) =>
    h("button", { type: "button", "aria-label": `React with ${emoji}`, onclick: () => choose(emoji) }, emoji),
  );
  const picker = h(
    "div",
    { class: "emoji-picker", popover: "auto", role: "dialog", "aria-label": "Add a reaction" },
    h("div", { class: "emoji-grid" }, ...buttons),
    form,
  );
  picker.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "closed") return;
    picker.remove();
    if (document.activeElement === document.body) anchor.focus({ preventScroll: true });
  });
  document.body.append(picker);
  picker.showPopover();
  place(picker, anchor);
  buttons[0].focus();
}

/**
 * Above the anchor where there is room, else below; never off the screen.
 *
 * @param {HTMLElement} picker
 * @param {HTMLElement} anchor
 */
function place(picker, anchor) {
  const gap = 8;
  const { top, bottom, right } = anchor.getBoundingClientRect();
  const { width, height } = picker.getBoundingClientRect();
  const above = top - height - gap;
  picker.style.top = `${above > gap ? above : Math.min(bottom + gap, innerHeight - height - gap)}px`;
  picker.style.left = `${Math.max(gap, Math.min(right - width, innerWidth - width - gap))}px`;
}
