import { h, icon } from "./dom.js";
import { avatar } from "./message-view.js";

/** @import { SignIn } from "./sign-in.js" */

/**
 * The ways to sign in that there are here.
 *
 * @param {SignIn} signIn
 * @param {object} options
 * @param {string} [options.problem] Why nobody is signed in.
 * @param {() => void} options.signedIn
 */
export function signInView(signIn, { problem = "", signedIn }) {
  const { demoSignInUrl, hostedSignIn } = signIn.settings;
  const trouble = h("p", { class: "problem", role: "alert" }, problem);
  const attempt = async (/** @type {() => Promise<unknown> | void} */ act) => {
    trouble.textContent = "";
    try {
      await act();
      return true;
    } catch (error) {
      trouble.textContent = error instanceof Error ? error.message : String(error);
      return false;
    }
  };
  const demo = h("div", { class: "demo-users" });
  if (demoSignInUrl !== undefined) {
    void attempt(async () => {
      const users = await signIn.demoUsers();
      demo.replaceChildren(...users.map((user) => demoButton(user)));
    });
  }

  /** @param {string} user */
  function demoButton(user) {
    const name = user[0].toUpperCase() + user.slice(1);
    return h(
      "button",
      {
        type: "button",
        class: "demo-user",
        onclick: async () => {
          if (await attempt(() => signIn.withDemoUser(user))) signedIn();
        },
      },
      avatar(user, user, false),
      h("span", {}, `Continue as ${name}`),
    );
  }

  const token = h("textarea", { id: "token", rows: 3, autocomplete: "off", spellcheck: "false", placeholder: "eyJhbGciOi…" });
  const withToken = h(
    "form",
    {
      class: "form",
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        if (await attempt(() => signIn.withToken(token.value))) signedIn();
      },
    },
    h("div", { class: "form-field" }, h("label", { for: "token" }, "Token"), token),
    h("button", { type: "submit", class: "button" }, "Sign in with it"),
  );
  const isOnlyWay = demoSignInUrl === undefined && hostedSignIn === undefined;
  return h(
    "main",
    { class: "sign-in" },
    h(
      "div",
      { class: "sign-in-card" },
      h("div", { class: "sign-in-mark", "aria-hidden": "true" }, icon("spark")),
      h("h1", {}, "Chat"),
      h("p", { class: "lead" }, "Talk with your team, and with an agent that is in the room."),
      hostedSignIn !== undefined &&
        h(
          "button",
          { type: "button", class: "button primary wide", onclick: () => attempt(() => signIn.begin()) },
          "Sign in",
        ),
      demo,
      demoSignInUrl !== undefined &&
        h("p", { class: "aside" }, "Demo users of this machine. Open a second window as the other one."),
      trouble,
      isOnlyWay ? withToken : h("details", { class: "with-token" }, h("summary", {}, "Use a token"), withToken),
    ),
  );
}
