// Makes a component's export of the two functions of a campaign:
//
//     import { campaign } from "…/campaign.js";
//     import { plan, analyze } from "./app.js";
//     export const campaignCalls = campaign({ plan, analyze });
import artifacts from "matterstack:plugin/artifacts@0.2.0-dev.2";
import log from "matterstack:plugin/log@0.2.0-dev.2";
import run from "matterstack:plugin/run@0.2.0-dev.2";
import { answered, asked, detail, known, maybe, milliseconds, read, written } from "./contract.js";
import { Context, MatterStackError, Result } from "./matterstack.js";

const CHUNK = 4 * 1024 * 1024;
const KEYS = ["tasks", "complete", "wait", "hold", "fail"];
const BESIDE = ["state", "reason", "cancel", "wake_at_ms", "summary", "known"];

const host = {
  params: () => read(run.params()),
  inputs: () => read(run.inputs()),
  supplied: () => read(run.supplied()),
  run_id: () => run.id(),
  open_tasks: (after, max) => run.openTasks(after ?? undefined, max),
  write: (bytes) => asked(() => artifacts.write(bytes)),
  log: (level, message) => log.write(level, message),
  read(sha256, size) {
    const chunks = [];
    for (let at = 0; ; ) {
      const chunk = asked(() => artifacts.read(sha256, at, CHUNK));
      chunks.push(chunk);
      at += chunk.length;
      if (chunk.length === 0 || at === size) return joined(chunks, at);
    }
  },
};

function joined(chunks, length) {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function context(ctx) {
  const { iteration, asked: reasons } = ctx;
  const [decision, now_ms, seed, open_tasks] = [ctx.decision, ctx.nowMs, ctx.seed, ctx.openTasks].map(Number);
  return new Context(undefined, { decision, iteration, now_ms, seed, asked: reasons, open_tasks }, host);
}

function next(answer) {
  const said = KEYS.filter((key) => key in answer);
  if (said.length !== 1) {
    const message = `\`plan\` says ${said.join(" and ") || "nothing"}; it says one of ${KEYS.join(", ")}`;
    throw new MatterStackError("other", "bad-answer", message);
  }
  const [key] = said;
  const value = answer[key];
  if (key === "tasks") return { tag: "workflow", val: written([...value], "tasks") };
  if (key === "complete") return { tag: "complete", val: written(value ?? null, "complete") };
  return key === "wait" ? { tag: "wait" } : { tag: key, val: detail(value) };
}

/** What a component exports as `campaignCalls`. */
export function campaign({ plan, analyze }) {
  return {
    plan: answered((ctx, state) => {
      const answer = known(plan(context(ctx), read(state)), [...KEYS, ...BESIDE], "plan");
      return {
        state: "state" in answer ? written(answer.state ?? null, "state") : (state ?? "null"),
        next: next(answer),
        cancel: answer.cancel ?? [],
        wakeAtMs: milliseconds(answer.wake_at_ms),
        summary: maybe(answer.summary, "summary"),
        reason: answer.reason ?? "",
        more: answer.known === undefined ? undefined : written({ known: answer.known }, "known"),
      };
    }, log),
    analyze: answered((ctx, state, finished) => {
      const results = read(finished).map((result) => new Result(result, host));
      const answer = analyze(context(ctx), read(state), results);
      const alone = Object.keys(answer ?? {}).join() === "folded";
      const folded = alone ? known(answer.folded, ["state", "summary"], "folded") : { state: answer };
      return { state: written(folded.state, "state"), summary: maybe(folded.summary, "summary"), more: undefined };
    }, log),
  };
}
