// What stands between a script and the contract. `native` is made in native.rs.
import * as matterstack from "matterstack";

const { Attempt, Context, MatterStackError, Result, Rng } = matterstack;

const CAMPAIGN = ["plan", "analyze"];
const OPERATOR = ["prepare", "submit", "reconcile", "check_status", "collect_results", "cancel"];
const LEVELS = ["debug", "info", "warn", "error"];
// what stands at the end of every script gives its functions to this, exported or not
export const names = [...CAMPAIGN, ...OPERATOR].join(" ");

let native;
let declared = {};

globalThis[Symbol.for("matterstack:runner")] = (functions) => {
  declared = functions;
};

function given(value) {
  const refusal = value?.refusal;
  if (refusal === undefined) return value;
  const { kind, code, message, retry_after_ms, data } = refusal;
  throw new MatterStackError(kind, code, message, {
    retry_after_ms: retry_after_ms ?? undefined,
    data: data ?? undefined,
  });
}

function log(level, message) {
  if (!LEVELS.includes(level)) throw new TypeError(`\`${level}\` is no level; there are ${LEVELS.join(", ")}`);
  native.log(level, message);
}

const run = {
  params: () => native.params(),
  inputs: () => native.inputs(),
  supplied: () => native.supplied(),
  run_id: () => native.run_id(),
  open_tasks: (after, max) => native.open_tasks(after ?? undefined, max),
  read: (sha256, size) => given(native.read(sha256, size ?? 0)),
  write: (bytes) => given(native.write(bytes)),
  log,
};

const compute = {
  backends: () => native.backends(),
  submit: (backend, job) => given(native.submit(backend, job)),
  find: (backend) => given(native.find(backend)),
  status: (backend, handle) => given(native.status(backend, handle)),
  collect: (backend, handle) => given(native.collect(backend, handle)),
  cancel: (backend, handle) => {
    given(native.cancel(backend, handle));
  },
};

const lifecycle = { time_left_ms: () => native.time_left_ms(), cancelled: () => native.cancelled() };

export function begin(functions) {
  native = functions;
  const say =
    (level) =>
    (...values) =>
      log(level, values.map(shown).join(" "));
  const [debug, info, warn, error] = LEVELS.map(say);
  globalThis.console = { debug, log: info, info, warn, error };
  globalThis.TextEncoder = class TextEncoder {
    encode(text = "") {
      return native.encode(String(text));
    }
  };
  globalThis.TextDecoder = class TextDecoder {
    decode(bytes = new Uint8Array()) {
      const text = native.decode(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer ?? bytes));
      if (typeof text !== "string") throw new TypeError("the bytes are not UTF-8");
      return text;
    }
  };
}

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack ?? ""}`.trimEnd();
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

/** The functions of a module: those that it exports, and else those that it has. */
export function found(namespace) {
  const whole = namespace.default;
  return { ...declared, ...(typeof whole === "object" ? whole : {}), ...namespace };
}

const required = new Map();

/** What a file exports that is no module, and how it gets what it requires. */
function required_of(path, body) {
  const module = { exports: {} };
  required.set(path, module);
  const require = (name) => {
    if (name === "matterstack") return matterstack;
    const file = native.load(path, name);
    if (required.has(file.path)) return required.get(file.path).exports;
    return "json" in file ? file.json : required_of(file.path, file.body);
  };
  body.call(module.exports, module.exports, require, module);
  return module.exports;
}

/** The functions of a script that is no module. */
export function common(path, body) {
  const exported = required_of(path, body);
  return { ...declared, ...exported };
}

function needed(script, name) {
  if (typeof script[name] === "function") return script[name];
  const there = [...CAMPAIGN, ...OPERATOR].filter((other) => typeof script[other] === "function");
  const has = there.length === 0 ? "it has none of those that are asked" : `it has \`${there.join("`, `")}\``;
  throw new MatterStackError("invalid", "no-function", `the script has no function \`${name}\`; ${has}`);
}

function context(document) {
  // a stream of its own, so that a library that throws dice changes none of `ctx.random()`
  const dice = new Rng(document.seed, 2 ** 53 - document.decision);
  Math.random = () => dice.uniform();
  return new Context(undefined, document, run);
}

export function plan(script, document, state) {
  return needed(script, "plan")(context(document), state);
}

export function analyze(script, document, state, results) {
  return needed(script, "analyze")(
    context(document),
    state,
    results.map((result) => new Result(result, run)),
  );
}

const operate = (name, otherwise) => (script, document) => {
  const attempt = new Attempt(document, { compute, lifecycle, log });
  return otherwise !== undefined && script[name] === undefined ? otherwise : needed(script, name)(attempt);
};

export const prepare = operate("prepare", null);
export const submit = operate("submit");
export const reconcile = operate("reconcile");
export const check_status = operate("check_status");
export const collect_results = operate("collect_results", null);
export const cancel = operate("cancel", null);
