/**
 * A value as canonical JSON (RFC 8785): its members sorted, nothing between them, numbers and texts
 * as ECMAScript writes them.
 *
 * @param {unknown} value As `JSON.parse` makes it.
 * @returns {string}
 */
export function canonicalJson(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const object = /** @type {Record<string, unknown>} */ (value);
  const members = Object.keys(object)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(object[key])}`);
  return `{${members.join(",")}}`;
}

/**
 * What somebody was shown of a call, as a value that the server compares: SHA-256 of the canonical
 * JSON, in hexadecimal.
 *
 * @param {unknown} shown The call's arguments.
 * @returns {Promise<string | undefined>} Undefined on a page without a secure context (neither https
 *   nor this machine's own), where browsers have no digests.
 */
export async function argumentsDigest(shown) {
  const { subtle } = globalThis.crypto;
  if (subtle === undefined) return undefined;
  const digest = await subtle.digest("SHA-256", new TextEncoder().encode(canonicalJson(shown)));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
