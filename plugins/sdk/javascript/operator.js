// Makes a component's export of the functions of an operator, for the world `compute-operator`:
//
//     import { operator } from "…/operator.js";
//     import * as robot from "./robot.js";
//     export const operatorCalls = operator(robot);
import compute from "matterstack:plugin/compute@0.2.0-dev.2";
import lifecycle from "matterstack:plugin/lifecycle@0.2.0-dev.2";
import log from "matterstack:plugin/log@0.2.0-dev.2";
import { answered, asked, detail, known, maybe, milliseconds, read, written } from "./contract.js";
import { Attempt, MatterStackError } from "./matterstack.js";

const TOLD = ["failed", "not-started", "lost", "unavailable"];
const PLAIN = ["queued", "succeeded", "cancelled"];

function submitted(answer, name) {
  const { handle, external_id } = known(answer, ["handle", "external_id"], name);
  return { handle: written(handle, "handle"), externalId: external_id ?? undefined, more: undefined };
}

function found(answer) {
  const { found: tag, ...rest } = answer ?? {};
  if (tag === "yes") return { tag, val: submitted(rest, "reconcile") };
  if (tag === "no") return { tag };
  if (tag !== "unknown") throw new MatterStackError("other", "bad-answer", `\`${tag}\` is no \`found\``);
  const { note, poll_after_ms } = known(rest, ["note", "poll_after_ms"], "reconcile");
  return { tag, val: { note: written(note, "note"), pollAfterMs: Number(poll_after_ms) } };
}

function status({ status: tag, progress, waiting, detail: told }) {
  if (PLAIN.includes(tag)) return { tag };
  if (tag === "running") return { tag, val: maybe(progress, "progress") };
  if (tag === "waiting") return { tag, val: { ...known(waiting, ["kind", "detail"], "waiting"), more: undefined } };
  if (TOLD.includes(tag)) return { tag, val: detail(told) };
  throw new MatterStackError("other", "bad-answer", `\`${tag}\` is no status`);
}

function report(answer) {
  known(answer, ["status", "progress", "waiting", "detail", "handle", "poll_after_ms"], "check_status");
  const { handle, poll_after_ms } = answer;
  const pollAfterMs = milliseconds(poll_after_ms);
  return { status: status(answer), handle: maybe(handle, "handle"), pollAfterMs, more: undefined };
}

const told = ({ code, message, data }) => given({ code, message, data: read(data) ?? undefined });
const given = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
const number = (value) => (value === undefined || value === null ? undefined : Number(value));

function ofSubmitted({ handle, externalId }) {
  return given({ handle: read(handle), external_id: externalId ?? undefined });
}

function ofFound({ tag, val }) {
  if (tag === "yes") return { found: tag, ...ofSubmitted(val) };
  return tag === "no" ? { found: tag } : { found: tag, note: read(val.note), poll_after_ms: Number(val.pollAfterMs) };
}

function ofReport({ status: { tag, val }, handle, pollAfterMs }) {
  const more = { handle: read(handle) ?? undefined, poll_after_ms: number(pollAfterMs) };
  if (tag === "running") return given({ status: tag, progress: read(val) ?? undefined, ...more });
  if (tag === "waiting") return given({ status: tag, waiting: { kind: val.kind, detail: val.detail }, ...more });
  return given({ status: tag, detail: TOLD.includes(tag) ? told(val) : undefined, ...more });
}

const host = {
  compute: {
    backends: () => compute.backends(),
    submit: (backend, job) => ofSubmitted(asked(() => compute.submit(backend, written(job, "job")))),
    find: (backend) => ofFound(asked(() => compute.find(backend))),
    status: (backend, handle) => ofReport(asked(() => compute.status(backend, written(handle, "handle")))),
    collect: (backend, handle) => read(asked(() => compute.collect(backend, written(handle, "handle")))),
    cancel: (backend, handle) => asked(() => compute.cancel(backend, written(handle, "handle"))),
  },
  lifecycle: { time_left_ms: () => Number(lifecycle.timeLeftMs()), cancelled: () => lifecycle.cancelled() },
  log: (level, message) => log.write(level, message),
};

function attempt(from) {
  const documents = ["task", "prepared", "handle", "note", "config"];
  const [task, prepared, handle, note, config] = documents.map((key) => read(from[key]));
  const { runId: run_id, attemptId: attempt_id, number: count, submitKey: submit_key } = from;
  return new Attempt({ run_id, attempt_id, number: count, submit_key, task, prepared, handle, note, config }, host);
}

/** What a component exports as `operatorCalls`. `prepare`, `collect_results` and `cancel` may be left out. */
export function operator({ prepare, submit, reconcile, check_status, collect_results, cancel }) {
  const call = (work) => answered((from) => work(attempt(from)), log);
  return {
    prepare: call((a) => maybe(prepare?.(a), "prepared")),
    submit: call((a) => submitted(submit(a), "submit")),
    reconcile: call((a) => found(reconcile(a))),
    checkStatus: call((a) => report(check_status(a))),
    collectResults: call((a) => {
      const { output, usage } = known(collect_results?.(a) ?? {}, ["output", "usage"], "collect_results");
      return { output: maybe(output, "output"), usage: maybe(usage, "usage"), more: undefined };
    }),
    cancel: call((a) => {
      cancel?.(a);
    }),
  };
}
