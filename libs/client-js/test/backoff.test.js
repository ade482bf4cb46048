import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../src/backoff.js";

test("the waits double up to the cap, each anywhere between nothing and its most", () => {
  const draws = [0.5, 0.5, 0.5, 0.5, 0, 1];
  const backoff = new Backoff({ base: 4, cap: 16, random: () => draws.shift() ?? 0 });

  const waits = Array.from({ length: 6 }, () => backoff.next());

  assert.deepEqual(waits, [2, 4, 8, 8, 0, 16]);
});

test("a wait is at least what the server asked for", () => {
  const backoff = new Backoff({ base: 4, cap: 16, random: () => 0.5 });

  assert.equal(backoff.next(1_000), 1_002);
});

test("after a success the waits begin anew", () => {
  const backoff = new Backoff({ base: 4, cap: 16, random: () => 1 });
  backoff.next();
  backoff.next();

  backoff.reset();

  assert.equal(backoff.next(), 4);
});
