/** Any document: what JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export type Kind = "invalid" | "rejected" | "transient" | "denied" | "ambiguous" | "other";
export type Level = "debug" | "info" | "warn" | "error";

/** An error whose kind says whether a further try can help. Any other error that is thrown is an exception. */
export class MatterStackError extends globalThis.Error {
  constructor(kind: Kind, code: string, message: string, more?: { retry_after_ms?: number; data?: object });
  kind: Kind;
  code: string;
  retry_after_ms?: number;
  data?: object;
}
export { MatterStackError as Error };

/** Where a file of a task comes from; `matterstack config schema tasks` says more. */
export type Source =
  | { path: string }
  | { content: string }
  | { digest: string }
  | { from: string; output: string };

/** A task; `matterstack config schema tasks` says what each key means. */
export interface Task {
  id: string;
  operator: string;
  command?: string | string[];
  env?: { [name: string]: string };
  files?: { [path: string]: Source };
  depends_on?: string[];
  outputs?: (string | { [key: string]: unknown })[];
  resources?: { [key: string]: unknown };
  priority?: number;
  retry?: { [key: string]: unknown };
  allow_failure?: boolean;
  allow_dependency_failure?: boolean;
  input?: unknown;
  /** What else the schema knows. */
  [key: string]: unknown;
}
export function Task(task: Task): Task;

export interface Summary {
  text: string;
  done?: number;
  total?: number;
  metrics?: { [name: string]: number };
}

/** A sentence, or a code for programs with it. */
export type Detail = string | { code?: string; message: string; data?: object };

/** What stands beside what is to happen next. */
export interface Beside {
  /** One sentence on why, for the record. */
  reason?: string;
  /** Tasks that are no longer wanted, by id. */
  cancel?: string[];
  /** When to ask again though nothing ended, in milliseconds since 1970. */
  wake_at_ms?: number;
  summary?: Summary;
  /** Pass over tasks of the run that are planned again unchanged. */
  known?: "skip";
}

/** The answer of `plan`, under the schema `decision`. Without `state` the state stays. */
export type Answer<State = unknown> = Beside & { state?: State } & (
    | { tasks: Task[] }
    | { complete: unknown }
    | { wait: true }
    | { hold: Detail }
    | { fail: Detail }
  );

export function Run<State>(tasks: Iterable<Task>, state?: State, more?: Beside | string): Answer<State>;
export function Complete<State>(result?: unknown, state?: State, more?: Beside | string): Answer<State>;
export function Wait<State>(state?: State, more?: Beside | string): Answer<State>;
export function Hold<State>(
  message: string,
  state?: State,
  more?: (Beside & { code?: string; data?: object }) | string,
): Answer<State>;
export function Fail<State>(
  message: string,
  state?: State,
  more?: (Beside & { code?: string; data?: object }) | string,
): Answer<State>;

/** The answer of `analyze` with a summary beside the state. */
export function Folded<State>(state: State, summary?: Summary): { folded: { state: State; summary?: Summary } };

/** A file that the run has: an output of a task or an input of the campaign. */
export class File {
  constructor(file: object, run: unknown);
  path: string;
  sha256: string;
  size: number;
  remote?: { backend: string; path: string };
  bytes(): Uint8Array;
  text(): string;
  // what a file holds is the author's to know
  json(): any;
}

/** What became of a task. */
export class Result {
  constructor(result: object, run: unknown);
  /** Makes a result for a test. `outputs` maps paths to what the files hold: text, bytes, or a JSON document. */
  static of(task: string, outputs?: { [path: string]: unknown }, more?: object): Result;
  task: string;
  outcome: "completed" | "failed" | "cancelled" | "skipped" | "lost";
  code?: string;
  reason?: string;
  attempts: number;
  allow_failure: boolean;
  attempt?: string;
  /** The output document, as the operator gave it. */
  data?: any;
  data_sha256?: string;
  data_size?: number;
  outputs: File[];
  supersedes?: string;
  readonly completed: boolean;
  /** The output file with this path; throws if there is none. */
  output(path: string): File;
  output<T>(path: string, otherwise: T): File | T;
}

/** A small random stream that repeats: the same numbers on every machine and in every SDK. */
export class Rng {
  constructor(seed: number | bigint, stream: number | bigint);
  next(): bigint;
  uniform(): number;
  below(n: number): number;
  normal(): number;
  shuffle<T>(items: T[]): T[];
}

/** What a decision may depend on, beside the state. */
export class Context<Params = any> {
  /** For a test: `files` are inputs by name (text, bytes, or a JSON document), `open_tasks` a number or the ids. */
  constructor(
    params?: Params,
    more?: {
      decision?: number;
      iteration?: number;
      now_ms?: number;
      seed?: number;
      asked?: string[];
      open_tasks?: number | string[];
      supplied?: unknown;
      run_id?: string;
      files?: { [name: string]: unknown };
    },
    run?: unknown,
  );
  /** The number of this decision in the run, from 1. */
  decision: number;
  /** For `plan` the iteration that would be planned, from 1; for `analyze` the newest one planned. */
  iteration: number;
  /** Milliseconds since 1970, recorded once per decision; `Date.now()` says the same. */
  now_ms: number;
  seed: number;
  /** Why `plan` is asked: `first`, `results`, `time`, `changed`, `reopened`, `resumed`, `waited`. */
  asked: string[];
  /** How many tasks are planned and have not ended. */
  open_tasks: number;
  readonly params: Params;
  readonly inputs: { [name: string]: File };
  /** What a person supplied with `resume --set` after a hold; null if nothing. */
  readonly supplied: any;
  readonly run_id: string;
  open_tasks_after(after?: string | null, max?: number): string[];
  /** The next number from 0 up to but without 1, which follows from seed and decision. */
  random(): number;
  rng(): Rng;
  /** Reads a file: one of a result, the name of an input, or a digest. */
  read(file: File | string): Uint8Array;
  text(file: File | string): string;
  json(file: File | string): any;
  /** Keeps bytes or text in the run; returns the digest by which tasks name it. */
  write(content: Uint8Array | string): string;
  log(message: string, level?: Level): void;
}

/** A submit that took effect. */
export interface Submitted {
  handle: Json;
  external_id?: string;
}

/** What the outside knows of a submit key. */
export type Found =
  | ({ found: "yes" } & Submitted)
  | { found: "no" }
  | { found: "unknown"; note: Json; poll_after_ms: number };

/** Where an attempt stands outside. */
export type Report = { handle?: Json; poll_after_ms?: number } & (
  | { status: "queued" | "succeeded" | "cancelled" }
  | { status: "running"; progress?: Json }
  | { status: "waiting"; waiting: { kind: string; detail: string } }
  | { status: "failed" | "not-started" | "lost" | "unavailable"; detail: Detail }
);

export interface Collected {
  output?: unknown;
  usage?: object;
}

/** Compute systems that the host owns; only those in the operator's `grants.compute` answer. */
export interface Compute {
  backends(): string[];
  submit(backend: string, job: object): Submitted;
  find(backend: string): Found;
  status(backend: string, handle: any): Report;
  collect(backend: string, handle: any): any;
  cancel(backend: string, handle: any): void;
}

/** One try at a task, as the functions of an operator get it. */
export class Attempt {
  constructor(attempt: object, host?: object);
  /** Makes a first attempt at a task for a test, with what stands for the host. */
  static first(
    task: Task | object,
    more?: {
      config?: object;
      prepared?: unknown;
      handle?: unknown;
      note?: unknown;
      compute?: Partial<Compute>;
      log?: (level: Level, message: string) => void;
    },
  ): Attempt;
  run_id: string;
  attempt_id: string;
  number: number;
  task: any;
  submit_key: string;
  prepared: any;
  handle: any;
  note: any;
  config: any;
  readonly compute: Compute;
  readonly lifecycle: { time_left_ms(): number; cancelled(): boolean };
  log(message: string, level?: Level): void;
}
