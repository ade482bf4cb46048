import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits until something holds, and fails when it does not come to pass.
 *
 * @param {() => boolean} holds
 * @param {number} [seconds]
 */
export async function eventually(holds, seconds = 10) {
  const deadline = performance.now() + seconds * 1000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`It did not come to pass: ${holds}`);
    await sleep(2);
  }
}

/**
 * The next items of a stream.
 *
 * @template Item
 * @param {AsyncIterable<Item>} stream
 * @param {number} count
 * @returns {Promise<Item[]>}
 */
export async function take(stream, count) {
  /** @type {Item[]} */
  const items = [];
  if (count === 0) return items;
  for await (const item of stream) {
    items.push(item);
    if (items.length === count) break;
  }
  return items;
}

/**
 * All items of a stream that ends.
 *
 * @template Item
 * @param {AsyncIterable<Item>} stream
 * @returns {Promise<Item[]>}
 */
export async function collect(stream) {
  /** @type {Item[]} */
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}
