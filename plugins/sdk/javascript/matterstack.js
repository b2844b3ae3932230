// Campaigns and operators for MatterStack in JavaScript.
//
// A campaign is two functions, `plan(ctx, state)` and `analyze(ctx, state, results)`; an operator is six. What they get
// and what they answer are plain documents; what stands here only adds names. The same file is in the sandbox and needs
// nothing but an engine of ECMAScript 2022, so that a test under Node calls the functions directly:
//
//     import { Context } from "./matterstack.js";
//     const answer = plan(new Context({ points: 3 }), null);
//
// `matterstack.d.ts` says what each part takes and gives.

const KINDS = ["invalid", "rejected", "transient", "denied", "ambiguous", "other"];
const SHA256 = /^[0-9a-f]{64}$/;
const BATCH = 10_000;

/** An error whose kind says whether a further try can help. Any other error that is thrown is an exception. */
class MatterStackError extends Error {
  constructor(kind, code, message, { retry_after_ms, data } = {}) {
    if (!KINDS.includes(kind)) throw new TypeError(`\`${kind}\` is no kind of error; there are ${KINDS.join(", ")}`);
    super(message);
    this.name = "MatterStackError";
    this.kind = kind;
    this.code = code;
    if (retry_after_ms !== undefined) this.retry_after_ms = retry_after_ms;
    if (data !== undefined) this.data = data;
  }

  /** What crosses the contract. */
  get $matterstack() {
    const { kind, code, message, retry_after_ms, data } = this;
    return { kind, code, message, retry_after_ms, data };
  }
}

export { MatterStackError, MatterStackError as Error };

function given(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

/** A task; `matterstack config schema tasks` says what each key means. */
export function Task(task) {
  return given(task);
}

const BESIDE = ["reason", "cancel", "wake_at_ms", "summary", "known"];

function answer(key, value, state, more = {}) {
  const beside = typeof more === "string" ? { reason: more } : more;
  for (const name of Object.keys(beside)) {
    if (!BESIDE.includes(name)) throw new TypeError(`an answer has no \`${name}\`; there are ${BESIDE.join(", ")}`);
  }
  return given({ [key]: value, state, ...beside });
}

function said(message, more) {
  const { code, data, ...beside } = typeof more === "string" ? { reason: more } : more;
  const detail = code === undefined && data === undefined ? message : given({ code, message, data });
  return [detail, beside];
}

/** Run these tasks. */
export function Run(tasks, state, more) {
  return answer("tasks", [...tasks], state, more);
}

/** The campaign has reached its end, with this result. */
export function Complete(result, state, more) {
  return answer("complete", result ?? null, state, more);
}

/** Plan nothing now. */
export function Wait(state, more) {
  return answer("wait", true, state, more);
}

/** A person must decide: the run is held until `resume`. */
export function Hold(message, state, more = {}) {
  const [detail, beside] = said(message, more);
  return answer("hold", detail, state, beside);
}

/** The campaign gives up: the run is failed. */
export function Fail(message, state, more = {}) {
  const [detail, beside] = said(message, more);
  return answer("fail", detail, state, beside);
}

/** The answer of `analyze` with a summary beside the state. */
export function Folded(state, summary) {
  return { folded: given({ state, summary }) };
}

/** A file that the run has: an output of a task or an input of the campaign. */
export class File {
  #run;

  constructor(file, run) {
    Object.assign(this, file);
    this.#run = run;
  }

  /** Reads the whole file. */
  bytes() {
    if (this.remote) {
      const where = `\`${this.path}\` stayed on backend \`${this.remote.backend}\`, and cannot be read here`;
      throw new MatterStackError("invalid", "file-is-remote", where);
    }
    return this.#run.read(this.sha256, this.size);
  }

  /** Reads the file as text. */
  text() {
    return decode(this.bytes(), this.path);
  }

  /** Reads the file as JSON. */
  json() {
    return parse(this.text(), this.path);
  }
}

/** What became of a task. */
export class Result {
  #run;

  constructor(result, run) {
    Object.assign(this, result);
    this.#run = run;
    this.outputs = (result.outputs ?? []).map((file) => new File(file, run));
    // a large document is in a file
    if (!("data" in result) && result.data_sha256) {
      const get = () => parse(decode(run.read(result.data_sha256, result.data_size), "data"), "data");
      Object.defineProperty(this, "data", { get, enumerable: false });
    }
  }

  /** Makes a result for a test. `outputs` maps paths to what the files hold: text, bytes, or a JSON document. */
  static of(task, outputs = {}, more = {}) {
    const run = new Given();
    const files = Object.entries(outputs).map(([path, held]) => ({ path, ...run.keep(held) }));
    return new Result({ task, outcome: "completed", allow_failure: false, attempts: 1, ...more, outputs: files }, run);
  }

  /** Whether the task completed. */
  get completed() {
    return this.outcome === "completed";
  }

  /** The output file with this path. Throws if there is none and no `otherwise` is given. */
  output(path, otherwise) {
    const found = this.outputs.find((file) => file.path === path);
    if (found !== undefined || arguments.length > 1) return found ?? otherwise;
    const there = this.outputs.map((file) => `\`${file.path}\``).join(", ") || "none";
    const message = `the task \`${this.task}\` has no output \`${path}\`; its outputs: ${there}`;
    throw new MatterStackError("invalid", "no-output", message);
  }
}

/** What a decision may depend on, beside the state. */
export class Context {
  #run;
  #known = new Map();
  #drawn = 0;

  constructor(params = {}, more = {}, run = undefined) {
    const { decision = 1, iteration = 1, now_ms = 0, seed = 0, asked = ["first"], open_tasks = 0 } = more;
    const count = Array.isArray(open_tasks) ? open_tasks.length : open_tasks;
    Object.assign(this, { decision, iteration, now_ms, seed, asked, open_tasks: count });
    this.#run = run ?? new Given({ ...more, params });
  }

  #ask(name, make = (value) => value) {
    if (!this.#known.has(name)) this.#known.set(name, make(this.#run[name]()));
    return this.#known.get(name);
  }

  get params() {
    return this.#ask("params");
  }

  get inputs() {
    const file = ([path, named]) => [path, new File({ path, ...named }, this.#run)];
    return this.#ask("inputs", (inputs) => Object.fromEntries(Object.entries(inputs).map(file)));
  }

  get supplied() {
    return this.#ask("supplied");
  }

  get run_id() {
    return this.#ask("run_id");
  }

  /** Ids of tasks that have not ended, sorted, of those behind `after`. */
  open_tasks_after(after = null, max = BATCH) {
    return this.#run.open_tasks(after, Math.min(max, BATCH));
  }

  /**
   * The next random number from 0 up to but without 1: the first 53 bits of the SHA-256 of the text
   * `SEED DECISION COUNTER`, where the counter begins with 0 in each call. Every SDK gives the same numbers.
   */
  random() {
    const [high, low] = sha256(`${this.seed} ${this.decision} ${this.#drawn++}`);
    return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
  }

  /** Starts a fast random stream of this decision. */
  rng() {
    return new Rng(this.seed, this.decision);
  }

  /** Reads a file: one of a result, the name of an input, or a digest. */
  read(file) {
    return this.#file(file).bytes();
  }

  text(file) {
    return this.#file(file).text();
  }

  json(file) {
    return this.#file(file).json();
  }

  /** Keeps bytes or text in the run; returns the digest by which tasks name it. */
  write(content) {
    return this.#run.write(typeof content === "string" ? encode(content) : content);
  }

  log(message, level = "info") {
    this.#run.log(level, String(message));
  }

  #file(file) {
    if (typeof file !== "string") {
      if (file instanceof File) return file;
      if (typeof file?.sha256 === "string") return new File({ path: file.sha256, ...file }, this.#run);
      throw new TypeError("a file is one of a result, the name of an input, or a digest");
    }
    if (Object.hasOwn(this.inputs, file)) return this.inputs[file];
    if (SHA256.test(file)) return new File({ path: file, sha256: file, size: null }, this.#run);
    throw new MatterStackError("invalid", "no-input", `\`campaign.inputs\` has no \`${file}\``);
  }
}

/** The first `count` primes, of whose roots SHA-256 takes its constants (FIPS 180-4, 4.2.2 and 5.3.3). */
function primes(count) {
  const found = [];
  for (let n = 2; found.length < count; n += 1) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
}

/** The first 32 bits of a root's fraction. */
const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) | 0;
let constants;

/** The SHA-256 (FIPS 180-4) of a short text of ASCII, of at most 55 characters: eight words of 32 bits. */
function sha256(text) {
  constants ??= {
    start: primes(8).map((prime) => fraction(Math.sqrt(prime))),
    rounds: primes(64).map((prime) => fraction(Math.cbrt(prime))),
  };
  const w = new Int32Array(64);
  for (let at = 0; at < text.length; at += 1) w[at >> 2] |= text.charCodeAt(at) << (24 - 8 * (at & 3));
  w[text.length >> 2] |= 0x80 << (24 - 8 * (text.length & 3));
  w[15] = text.length * 8;
  const turned = (x, n) => (x >>> n) | (x << (32 - n));
  for (let t = 16; t < 64; t += 1) {
    const [a, b] = [w[t - 15], w[t - 2]];
    const s0 = turned(a, 7) ^ turned(a, 18) ^ (a >>> 3);
    w[t] = w[t - 16] + s0 + w[t - 7] + (turned(b, 17) ^ turned(b, 19) ^ (b >>> 10));
  }
  let [a, b, c, d, e, f, g, h] = constants.start;
  for (let t = 0; t < 64; t += 1) {
    const choice = (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g));
    const first = (h + choice + constants.rounds[t] + w[t]) | 0;
    const second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    [a, b, c, d, e, f, g, h] = [(first + second) | 0, a, b, c, (d + first) | 0, e, f, g];
  }
  return [a, b, c, d, e, f, g, h].map((word, at) => (word + constants.start[at]) >>> 0);
}

const MASK = (1n << 64n) - 1n;

/** A small random stream that repeats (SplitMix64): the same numbers on every machine and in every SDK. */
export class Rng {
  #at;

  constructor(seed, stream) {
    this.#at = BigInt(seed);
    this.#at = this.next() ^ ((BigInt(stream) * 0xd1342543de82ef95n) & MASK);
  }

  /** 64 random bits as a BigInt. */
  next() {
    this.#at = (this.#at + 0x9e3779b97f4a7c15n) & MASK;
    let z = this.#at;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
    return z ^ (z >> 31n);
  }

  /** A number from 0 up to but without 1, uniformly. */
  uniform() {
    return Number(this.next() >> 11n) / 2 ** 53;
  }

  /** A whole number from 0 up to but without `n`, uniformly; 0 if `n` is 0. */
  below(n) {
    return Number((this.next() * BigInt(n)) >> 64n);
  }

  /** A number from the normal distribution with mean 0 and deviation 1. */
  normal() {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Puts the items in random order. */
  shuffle(items) {
    for (let last = items.length - 1; last > 0; last -= 1) {
      const other = this.below(last + 1);
      [items[last], items[other]] = [items[other], items[last]];
    }
    return items;
  }
}

/** What a test gives in the place of a run. */
class Given {
  #given;
  #kept = new Map();

  constructor(given = {}) {
    this.#given = given;
  }

  /** Keeps what a file holds; its name in the place of a digest, which only a run computes. */
  keep(held) {
    const bytes = held instanceof Uint8Array ? held : encode(typeof held === "string" ? held : JSON.stringify(held));
    const sha256 = (Given.#count += 1).toString(16).padStart(64, "0");
    this.#kept.set(sha256, bytes);
    return { sha256, size: bytes.length };
  }

  static #count = 0;

  params() {
    return this.#given.params;
  }

  inputs() {
    const files = Object.entries(this.#given.files ?? {});
    return Object.fromEntries(files.map(([name, held]) => [name, this.keep(held)]));
  }

  supplied() {
    return this.#given.supplied ?? null;
  }

  run_id() {
    return this.#given.run_id ?? "test";
  }

  open_tasks(after, max) {
    const { open_tasks = [] } = this.#given;
    const ids = Array.isArray(open_tasks) ? [...open_tasks].sort() : [];
    return ids.filter((id) => after === null || id > after).slice(0, max);
  }

  read(sha256) {
    const bytes = this.#kept.get(sha256);
    if (bytes !== undefined) return bytes;
    throw new MatterStackError("denied", "unknown-digest", `no file has the digest \`${sha256}\``);
  }

  write(bytes) {
    return this.keep(bytes).sha256;
  }

  log(level, message) {
    console.log(`${level}: ${message}`);
  }
}

/** One try at a task, as the functions of an operator get it. */
export class Attempt {
  constructor(attempt, { compute, lifecycle, log } = {}) {
    Object.assign(this, attempt);
    const beside = { compute, lifecycle, log: (message, level = "info") => (log ?? printed)(level, String(message)) };
    for (const [name, value] of Object.entries(beside)) Object.defineProperty(this, name, { value });
  }

  /** Makes a first attempt at a task for a test, with what stands for the host. */
  static first(task, { config = {}, prepared = null, handle = null, note = null, ...host } = {}) {
    const attempt = { run_id: "test", attempt_id: "0".repeat(32), number: 1, submit_key: "0".repeat(32) };
    const lifecycle = { time_left_ms: () => 60_000, cancelled: () => false };
    return new Attempt({ ...attempt, task, prepared, handle, note, config }, { lifecycle, ...host });
  }
}

function printed(level, message) {
  console.log(`${level}: ${message}`);
}

function parse(text, path) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`\`${path}\` is no JSON document: ${error.message}`);
  }
}

function encode(text) {
  if (typeof TextEncoder !== "undefined") return new TextEncoder().encode(text);
  const escaped = encodeURIComponent(text);
  const bytes = escaped.replace(/%([0-9A-F]{2})/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
  return Uint8Array.from(bytes, (character) => character.charCodeAt(0));
}

function decode(bytes, path) {
  try {
    if (typeof TextDecoder !== "undefined") return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const digits = (byte) => `%${byte.toString(16).padStart(2, "0")}`;
    return decodeURIComponent(Array.from(bytes, digits).join(""));
  } catch {
    throw new MatterStackError("invalid", "not-utf-8", `\`${path}\` is not UTF-8`);
  }
}
