// The shapes of documents are made of the published schemas, and a test holds what is written here against them.
import type * as documents from "./documents.js";
export type { documents };

/** Any document: what JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export type Kind = "invalid" | "rejected" | "transient" | "denied" | "ambiguous" | "other";
export type Level = "debug" | "info" | "warn" | "error";

/** An error whose kind says whether a further try can help. Any other error that is thrown is an exception. */
export class MatterStackError extends globalThis.Error {
  constructor(kind: Kind, code: string, message: string, more?: { retry_after_ms?: number; data?: documents.DetailData });
  kind: Kind;
  code: string;
  retry_after_ms?: number;
  data?: documents.DetailData;
}
export { MatterStackError as Error };

/** Where a file of a task comes from. */
export type Source = documents.FileSource;

/** A task of a plan. */
export interface Task extends documents.Task {}
export function Task(task: Task): Task;

/** How far a campaign has come. */
export interface Summary extends documents.Summary {}

/** A sentence, or a code for programs with it. */
export type Detail = documents.Said;

/** What stands beside what is to happen next. */
export interface Beside extends Pick<documents.Decision, "reason" | "cancel" | "wake_at_ms" | "summary" | "known"> {}

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
  more?: (Beside & { code?: string; data?: documents.DetailData }) | string,
): Answer<State>;
export function Fail<State>(
  message: string,
  state?: State,
  more?: (Beside & { code?: string; data?: documents.DetailData }) | string,
): Answer<State>;

/** The answer of `analyze` with a summary beside the state. */
export function Folded<State>(state: State, summary?: Summary): { folded: { state: State; summary?: Summary } };

/** A file that the run has: an output of a task or an input of the campaign. */
export class File implements documents.Output {
  constructor(file: object, run: unknown);
  path: string;
  sha256: string;
  size: number;
  remote?: documents.Output["remote"];
  bytes(): Uint8Array;
  text(): string;
  // what a file holds is the author's to know
  json(): any;
}

/** What became of a task. */
export class Result implements documents.Result {
  constructor(result: object, run: unknown);
  /** Makes a result for a test. `outputs` maps paths to what the files hold: text, bytes, or a JSON document. */
  static of(task: string, outputs?: { [path: string]: unknown }, more?: object): Result;
  task: string;
  outcome: documents.Outcome;
  code?: documents.Result["code"];
  reason?: documents.Result["reason"];
  attempts: number;
  allow_failure: boolean;
  attempt?: documents.Result["attempt"];
  /** The output document, as the operator gave it. */
  data?: any;
  data_sha256?: documents.Result["data_sha256"];
  data_size?: documents.Result["data_size"];
  outputs: File[];
  supersedes?: documents.Result["supersedes"];
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
export class Context<Params = any> implements documents.Context {
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
  usage?: documents.Usage;
}

/** Compute systems that the host owns; only those in the operator's `grants.compute` answer. */
export interface Compute {
  backends(): string[];
  submit(backend: string, job: documents.Job): Submitted;
  find(backend: string): Found;
  status(backend: string, handle: any): Report;
  collect(backend: string, handle: any): documents.Exit;
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
