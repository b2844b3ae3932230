// `node --test` in this folder, after `matterstack plugin build`: it tries what was made of balance.ts.
import assert from "node:assert";
import { test } from "node:test";
import { Attempt } from "matterstack";
import { prepare, submit } from "./balance.js";

test("what the balance does not carry is refused", () => {
  const anvil = Attempt.first({ id: "anvil", input: { grams: 90000 } });
  assert.throws(() => prepare(anvil), { kind: "invalid", code: "grams" });
});

test("a sample is weighed once", () => {
  const given = [];
  const compute = { submit: (...job) => (given.push(job), { handle: 7 }) };
  const attempt = Attempt.first({ id: "salt" }, { prepared: { grams: 12.5 }, compute });
  assert.deepStrictEqual(submit(attempt), { handle: 7 });
  assert.strictEqual(given.length, 1);
  assert.match(given[0][1].command[1], /12\.5/);
});
