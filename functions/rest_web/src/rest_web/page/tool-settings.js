import { h } from "./dom.js";
import { strictness } from "./tool-calls.js";
import { visible } from "./tool-view.js";

/** @import { Agent, AgentChanges, ApprovalRule, Tool } from "./wire.js" */

/** @type {[ApprovalRule, string][]} */
const RULES = [
  ["none", "Nobody has to approve"],
  ["anyone", "Any member approves"],
  ["requester", "Who asked approves"],
  ["owner", "An owner approves"],
];

/** Which tools a channel's agent may call, and who approves: for an owner to choose. */
export class ToolSettings {
  /** @type {Tool[]} */
  #tools = [];
  #isLoaded = false;

  /** @param {Agent} agent As the channel has it. */
  constructor(agent) {
    this.agent = agent;
    this.body = h("div", { class: "tool-servers" }, h("small", {}, "Loading…"));
    this.element = h("fieldset", { class: "tool-settings" }, h("legend", {}, "Tools of the agent"), this.body);
  }

  /** @param {Promise<Tool[]>} offered */
  async load(offered) {
    try {
      this.#tools = await offered;
      this.#isLoaded = true;
      this.#show();
    } catch {
      this.body.replaceChildren(h("small", {}, "What there is could not be read. Open this again to choose."));
    }
  }

  /** What is to be changed; nothing where the choice was not offered. @returns {Pick<AgentChanges, "tools" | "approval">} */
  get changes() {
    if (!this.#isLoaded) return {};
    const checked = [...this.body.querySelectorAll("input:checked")];
    const tools = checked.map((input) => /** @type {HTMLInputElement} */ (input).value);
    /** @type {Record<string, ApprovalRule>} */
    const approval = {};
    for (const { name, approval: least } of this.#tools) {
      const select = /** @type {HTMLSelectElement | null} */ (this.body.querySelector(`select[name="${CSS.escape(name)}"]`));
      if (select && select.value !== least) approval[name] = /** @type {ApprovalRule} */ (select.value);
    }
    const every = new Set(tools.filter((each) => each.endsWith(".*")).map(serverOf));
    const named = tools.filter((each) => each.endsWith(".*") || !every.has(serverOf(each)));
    return { tools: named.length > 0 ? named : null, approval: Object.keys(approval).length > 0 ? approval : null };
  }

  #show() {
    const servers = [...new Set(this.#tools.map(({ name }) => serverOf(name)))];
    const known = new Set([...this.#tools.map(({ name }) => name), ...servers.map((server) => `${server}.*`)]);
    const gone = (this.agent.tools ?? []).filter((each) => !known.has(each));
    this.body.replaceChildren(
      ...servers.map((server) => this.#server(server)),
      ...(servers.length === 0 ? [h("small", {}, "This deployment offers none.")] : []),
      ...(gone.length > 0 ? [h("small", {}, `No longer offered: ${gone.map(visible).join(", ")}.`)] : []),
    );
  }

  /** @param {string} server */
  #server(server) {
    const tools = this.#tools.filter(({ name }) => serverOf(name) === server);
    const every = `${server}.*`;
    const all = this.#check(every, this.agent.tools?.includes(every) ?? false);
    const rows = tools.map((tool) => this.#tool(tool));
    const follow = () => {
      for (const { check } of rows) {
        check.disabled = all.checked;
        if (all.checked) check.checked = true;
      }
      for (const row of rows) row.follow();
    };
    all.addEventListener("change", follow);
    follow();
    return h(
      "section",
      { class: "tool-server", "aria-label": `Tools of ${server}` },
      h(
        "label",
        { class: "tool-row tool-all" },
        all,
        h("span", {}, h("strong", {}, `Everything of ${visible(server)}`), h("small", {}, "Also what is added later.")),
      ),
      ...rows.map(({ element }) => element),
    );
  }

  /** @param {Tool} tool */
  #tool(tool) {
    const { name, title, description = "", readOnly, approval: least } = tool;
    const check = this.#check(name, this.agent.tools?.includes(name) ?? false);
    const chosen = this.agent.approval?.[name] ?? least;
    const rules = RULES.filter(([rule]) => strictness(rule) >= strictness(least));
    const rule = h(
      "select",
      { name, "aria-label": `Who approves ${name}` },
      ...rules.map(([value, label]) => h("option", { value, selected: value === chosen }, label)),
    );
    const follow = () => void (rule.hidden = !check.checked);
    check.addEventListener("change", follow);
    const element = h(
      "div",
      { class: "tool" },
      h(
        "label",
        { class: "tool-row" },
        check,
        h(
          "span",
          {},
          h("strong", {}, visible(title ?? nameOf(name))),
          " ",
          h("code", {}, visible(name)),
          readOnly && h("span", { class: "remark" }, " only reads"),
          description && h("small", { class: "tool-description" }, visible(description)),
        ),
      ),
      rule,
    );
    return { element, check, follow };
  }

  /** @param {string} value @param {boolean} checked */
  #check(value, checked) {
    return h("input", { type: "checkbox", value, checked });
  }
}

/** @param {string} name */
function serverOf(name) {
  return name.slice(0, name.indexOf("."));
}

/** @param {string} name */
function nameOf(name) {
  return name.slice(name.indexOf(".") + 1);
}
