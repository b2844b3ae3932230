// `node --test` in this folder, after `matterstack plugin build`: it tries what was made of campaign.ts.
import assert from "node:assert";
import { test } from "node:test";
import { Context, Result } from "matterstack";
import { analyze, plan } from "./campaign.js";

const context = (iteration) => new Context({ from: 0, step: 1, iterations: 2 }, { iteration });
// a result as the campaign sees it
const measured = (x) => Result.of(`at-${x}`, { "y.txt": `${x} ${(x - 3) ** 2 + 1}\n` });

test("it begins with five points", () => {
  const ids = plan(context(1), null).tasks.map((task) => task.id);
  assert.deepStrictEqual(ids, ["i1-1", "i1-2", "i1-3", "i1-4", "i1-5"]);
});

test("it goes on from the lowest point", () => {
  const { state } = plan(context(1), null);
  const next = analyze(context(1), state, [-2, -1, 0, 1, 2].map(measured));
  assert.deepStrictEqual(next, { x: 2, y: 2, step: 0.5 });
});

test("it ends after its iterations", () => {
  const answer = plan(context(3), { x: 3, y: 1, step: 0.25 });
  assert.deepStrictEqual(answer.complete, { x: 3, y: 1 });
});
