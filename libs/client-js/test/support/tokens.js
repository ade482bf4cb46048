/**
 * A JWT as the fake server reads it: unsigned.
 *
 * @param {string} userId
 * @param {{expiresIn?: number}} [options] Seconds.
 */
export function tokenOf(userId, { expiresIn = 3_600 } = {}) {
  const claims = { sub: userId, exp: Math.floor(Date.now() / 1000) + expiresIn };
  return `${encode({ alg: "none" })}.${encode(claims)}.x`;
}

/** @param {unknown} value */
function encode(value) {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/**
 * The user of a token that has not expired.
 *
 * @param {string | undefined} token
 * @returns {{userId: string, expiresAt: number} | undefined}
 */
export function userOf(token) {
  const payload = token?.split(".")[1];
  if (payload === undefined) return undefined;
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  const expiresAt = claims.exp * 1000;
  return expiresAt > Date.now() ? { userId: claims.sub, expiresAt } : undefined;
}
