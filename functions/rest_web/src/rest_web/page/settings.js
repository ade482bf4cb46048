/**
 * What the page was told by the function that serves it.
 *
 * @typedef {object} PageSettings
 * @property {string} pageUrl Without query and fragment; with a slash at its end.
 * @property {string} restUrl Without that slash.
 * @property {string} websocketUrl
 * @property {{url: string, clientId: string}} [hostedSignIn]
 * @property {string} [demoSignInUrl]
 */

/** @returns {PageSettings} */
export function pageSettings() {
  const meta = document.querySelector('meta[name="chat-settings"]');
  const { basePath, ...told } = JSON.parse(meta?.getAttribute("content") ?? "{}");
  const pageUrl = new URL(basePath ?? "/", location.origin).href;
  return { ...told, pageUrl, restUrl: pageUrl.replace(/\/$/, "") };
}
