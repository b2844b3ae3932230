// The test campaign under Node: it answers recorded calls with the recorded answers.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Context, Result } from "matterstack";
import { analyze, plan } from "./campaign.js";

const [recorded, expected] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));
const kept = new Map();

function keep(bytes) {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  kept.set(sha256, bytes);
  return { sha256, size: bytes.length };
}

const files = Object.entries(recorded.inputs).map(([name, text]) => [name, keep(Buffer.from(text))]);
const inputs = Object.fromEntries(files);

/** A run that keeps what is written under its digest, as the host does. */
function context({ open, supplied = null, ...given }) {
  const run = {
    params: () => recorded.params,
    inputs: () => inputs,
    supplied: () => supplied,
    open_tasks: (after, max) => open.filter((id) => after === null || id > after).slice(0, max),
    read: (sha256) => kept.get(sha256),
    write: (bytes) => keep(bytes).sha256,
    log: () => {},
  };
  return new Context(undefined, { ...given, seed: recorded.seed, open_tasks: open }, run);
}

const result = ({ task, files, ...more }) => Result.of(task, files, more);

let state = null;
recorded.calls.forEach((call, at) => {
  const answer = call.plan
    ? plan(context(call.plan), state)
    : analyze(context(call.analyze), state, call.results.map(result));
  // what crosses is JSON, which has neither -0 nor undefined
  const said = JSON.parse(JSON.stringify(answer));
  assert.deepEqual(said, expected[at], JSON.stringify(call));
  ({ state } = said.folded ?? said);
});
console.log(`${expected.length} answers are as recorded`);
