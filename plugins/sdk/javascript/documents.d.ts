// The documents that cross the contract: made of the JSON Schemas that `matterstack config schema` prints, with
// `UPDATE_GOLDEN=1 cargo xtask test documents_have_the_types`.

/** So much of something. */
export interface Amount {
  /** How much. */
  amount: number;
  /** Of which unit, or currency. */
  unit: string;
}

/** What an ended attempt brings. */
export interface Collected {
  /** The output document, if the system gives one. */
  output?: unknown;
  /** What the attempt used. */
  usage?: Usage | null;
}

/** A command: an argument list, or a line for `/bin/sh -c`. */
export type CommandLine = string[] | string;

/** `{"content": …}` */
export interface ContentSource {
  /** The text. */
  content: string;
  /** Whether it can be executed. */
  executable?: boolean | null;
}

/** What a decision may depend on, beside the state. */
export interface Context {
  /** The run's id. */
  run_id: string;
  /** The number of the decision in the run, from 1. */
  decision: number;
  /** For `plan` the iteration that would be planned, from 1; for `analyze` the newest one planned. */
  iteration: number;
  /** Milliseconds since 1970-01-01T00:00:00Z, recorded once per decision. */
  now_ms: number;
  /** `campaign.seed`. */
  seed: number;
  /**
   * Why `plan` is asked, sorted, an open set: `changed`, `first`, `reopened`, `results`, `resumed`, `time`,
   * `waited`.
   */
  asked: string[];
  /** Tasks that are planned and have not ended. */
  open_tasks: number;
  /** `campaign.params`. */
  params: unknown;
  /** The campaign's pinned inputs, by name. */
  inputs: { [key: string]: Input };
  /** What a person supplied with `resume --set`; null if nothing. */
  supplied?: unknown;
}

/** What `plan` decides. It says exactly one of `tasks`, `complete`, `wait`, `hold` and `fail`. */
export interface Decision {
  /** What the campaign remembers: comes back with the next call. Of a script: absent leaves it as it was. */
  state?: unknown;
  /** One sentence on why, for the record. */
  reason?: string | null;
  /** Run these tasks. */
  tasks?: Task[] | null;
  /** The campaign has reached its end, with this result. What is live is cancelled first. */
  complete?: unknown;
  /** Plan nothing now: `true`. */
  wait?: boolean | null;
  /** A person must decide: the run is held until `resume`. */
  hold?: Said | null;
  /** The campaign gives up: the run has failed. What is live is cancelled first. */
  fail?: Said | null;
  /** Tasks that are no longer wanted, by id: those that have not ended are cancelled. */
  cancel?: string[];
  /** Ask again then, though nothing ended: milliseconds since 1970-01-01T00:00:00Z. */
  wake_at_ms?: number | null;
  /** How far the campaign has come. */
  summary?: Summary | null;
  /** What becomes of tasks of the run that are planned again. */
  known?: Known | null;
}

/** A sentence with a code. */
export interface Detail {
  /** A short word for programs. */
  code?: string | null;
  /** One sentence for a person, without a final period. */
  message: string;
  /** More for programs, or for a hold the `form` that a person fills in. */
  data?: DetailData | null;
}

/** `detail.data`: where something went wrong, or what a person fills in. */
export interface DetailData {
  /** Of an exception: its type. */
  type?: string | null;
  /** Of an exception: what it says itself. */
  message?: string | null;
  /** A place in a document, as a JSON pointer. */
  path?: string | null;
  /** A file of the plugin's source. */
  file?: string | null;
  /** A line of that file, from 1. */
  line?: number | null;
  /** The function in which that line is. */
  function?: string | null;
  /** What stands in that line. */
  source?: string | null;
  /** For a hold: the JSON Schema of what `resume --set` is to supply. */
  form?: { [key: string]: unknown } | null;
}

/** `{"digest": …}`, or `{"digest": …, "parts": […]}` */
export interface DigestSource {
  /** SHA-256, 64 hexadecimal digits. */
  digest: string;
  /**
   * The digests of files that the run has, which one after the other are this one: the run need not have it whole.
   * It is put together in the attempt directory, and taken away again when the attempt has completed.
   */
  parts?: string[];
  /** How it is staged; a copy if absent. */
  stage?: Stage | null;
  /** Whether it can be executed; as the file is if absent. */
  executable?: boolean | null;
}

/**
 * How a job ended: `exit.json` in the attempt directory, and what `collect` returns. Readers ignore keys they do not
 * know.
 */
export interface Exit {
  /** The format of this document: 1. */
  format: number;
  /** The attempt the job was run for. */
  attempt: string;
  /** The exit code, if it exited by itself. */
  code?: number | null;
  /** The signal that ended it, if one did. */
  signal?: number | null;
  /** Why it ended. */
  reason: ExitReason;
  /** One sentence for a person. */
  message?: string | null;
  /** When it was handed in, RFC 3339 in UTC. */
  queued_at?: string | null;
  /** When it started, RFC 3339 in UTC. */
  started_at?: string | null;
  /** When it ended, RFC 3339 in UTC. */
  ended_at: string;
  /** The machine it ran on, where that is known. */
  host?: string | null;
  /** What it used of processors, with every process that it waited for, in seconds, where that is known. */
  cpu_s?: number | null;
  /** The most memory that one process of it held, in MiB, where that is known. */
  memory_peak_mb?: number | null;
}

/** Why a job ended. */
export type ExitReason = "exited" | "signal" | "timeout" | "cancelled" | "terminated" | "setup" | "secret" | "not-found" | "not-executable" | "not-started" | "cannot-start" | "log-limit" | "unseen" | "lost";

/** Where a staged file comes from. */
export type FileSource = PathSource | ContentSource | FromSource | OtherSource | DigestSource;

/** What the outside knows of a submit key. */
export type Found = {
  found: "yes";
  /** Comes back as `attempt.handle` with every later call. */
  handle: unknown;
  /** What people over there call it. */
  external_id?: string | null;
} | {
  found: "no";
} | {
  found: "unknown";
  /** Comes back as `attempt.note` with the next call; its `message`, if any, is shown to a person. */
  note?: unknown;
  /** When to ask again, in milliseconds from now. */
  poll_after_ms: number;
};

/** `{"from": …, "output": …}` */
export interface FromSource {
  /** The earlier task. */
  from: TaskId;
  /** The path of its output; a pattern, where the destination ends in `/`. */
  output: string;
  /** How it is staged; a copy if absent. */
  stage?: Stage | null;
  /** Whether it can be executed; as the earlier task left it if absent. */
  executable?: boolean | null;
}

/** A pinned input. */
export interface Input {
  /** SHA-256, 64 hexadecimal digits. */
  sha256: string;
  /** Bytes. */
  size: number;
}

/** What an operator hands to a compute backend. Backends ignore keys they do not know. */
export interface Job {
  /** What to run, in the attempt directory. */
  command: CommandLine;
  /** Environment variables on top of the backend's own: texts, or secrets by name. */
  env?: { [key: string]: Variable };
  /** What the command needs. */
  resources?: Resources;
  /** Patterns of the files to bring back from a backend that is elsewhere. */
  outputs?: OutputPattern[];
  /** What stands before the command, such as `srun`: words, or text for the shell. */
  launcher?: CommandLine | null;
}

/** Where output files are kept. */
export type Keep = "remote";

/** `{"pattern": …, "keep": "remote"}` */
export interface KeptPattern {
  /** The pattern. */
  pattern: string;
  /** Where the files are kept. */
  keep: Keep;
}

/** What becomes of tasks of the run that are planned again. */
export type Known = "skip";

/** `retry.on.oom` */
export interface OomRetry {
  /** The next attempt's memory as a multiple of this one's. */
  memory_factor: number;
}

/** `{"run": …, "from": …, "output": …}` */
export interface OtherSource {
  /** The id of the other run. */
  run: string;
  /** Its task, which has completed. */
  from: TaskId;
  /** The path of that task's output. */
  output: string;
  /** How it is staged; a copy if absent. */
  stage?: Stage | null;
  /** Whether it can be executed; as that task left it if absent. */
  executable?: boolean | null;
}

/** How a task ended. */
export type Outcome = "completed" | "failed" | "cancelled" | "skipped";

/** One output file. */
export interface Output {
  /** Relative to the attempt directory. */
  path: string;
  /** SHA-256, 64 hexadecimal digits; `artifacts.read` takes it. */
  sha256: string;
  /** Bytes. */
  size: number;
  /** Where it is, if it stayed on a cluster; then `artifacts.read` cannot read it. */
  remote?: RemotePlace | null;
}

/** A pattern of output files: text, or with the word where they stay. */
export type OutputPattern = string | KeptPattern;

/** `{"path": …}` */
export interface PathSource {
  /** The path in the workspace; of a folder, where the destination ends in `/`. */
  path: string;
  /** How it is staged; a copy if absent. */
  stage?: Stage | null;
  /** Whether it can be executed; as in the workspace if absent. */
  executable?: boolean | null;
}

/** Where an output file is that stayed on a cluster. */
export interface RemotePlace {
  /** The backend that has it. */
  backend: string;
  /** Its path there. */
  path: string;
}

/** What a command needs. */
export interface Resources {
  /** Processor cores. */
  cores?: number | null;
  /** Memory in MiB. */
  memory_mb?: number | null;
  /** Graphics processors. */
  gpus?: number | null;
  /** Things that the machine's pool counts, such as licences, by name. */
  counts?: { [key: string]: number };
  /** The longest run time, in seconds; at most ten years. */
  walltime_s?: number | null;
  /** Machines of a cluster. */
  nodes?: number | null;
  /** Processes, for a launcher such as `srun`; each has `cores` cores. */
  tasks?: number | null;
  /** How long before the end of its time a job gets the signal USR1, in seconds. */
  signal_before_s?: number | null;
}

/** What `analyze` receives of one task. Readers ignore keys they do not know. */
export interface Result {
  /** The task's id. */
  task: string;
  /** How it ended. */
  outcome: Outcome;
  /** Why, for a program; absent for a completed task. */
  code?: string | null;
  /** Why, for a person. */
  reason?: string | null;
  /** Whether the task said that it may fail. */
  allow_failure: boolean;
  /** The id of its last attempt; absent if it had none. */
  attempt?: string | null;
  /** How many attempts it had. */
  attempts: number;
  /** The output document of the last attempt, as its operator gave it; absent where it has more than 64 KiB. */
  data?: unknown;
  /** SHA-256 of a larger output document, by which `artifacts.read` reads its canonical JSON. */
  data_sha256?: string | null;
  /** Bytes of a larger output document. */
  data_size?: number | null;
  /** The output files of the last attempt. */
  outputs: Output[];
  /**
   * How it had ended when it was delivered before, if it was: that result is taken back, and this one stands in its
   * place.
   */
  supersedes?: Outcome | null;
}

/** What follows a failed attempt. */
export interface Retry {
  /** Attempts in all. */
  max_attempts?: number;
  /** The delay before the second attempt, in seconds; it doubles with each further one, up to an hour. */
  backoff_s?: number;
  /** Exceptions by the cause of the failure. */
  on?: RetryOn;
  /**
   * Patterns of files that the next attempt finds where the one before left them, to go on from where it stopped. On
   * a cluster behind ssh they are copied over there.
   */
  carry?: string[];
}

/** Exceptions by the cause of the failure. */
export interface RetryOn {
  /** After a timeout. */
  timeout?: TimeoutRetry | null;
  /** After running out of memory. */
  oom?: OomRetry | null;
  /** Whether a lost attempt is followed by a new one, which may run the command a second time. */
  lost?: boolean;
}

/** Why a run is held or has failed: a sentence, or one with a code for programs. */
export type Said = string | Detail;

/** `{"secret": NAME}` */
export interface Secret {
  /**
   * The name of a file in `~/.config/matterstack/secrets` on the machine where the job starts, which only its owner
   * may read.
   */
  secret: string;
}

/** How a file comes into the attempt directory. */
export type Stage = "copy" | "link";

/** Where an attempt stands outside. */
export type StatusReport = {
  /** A newer handle, if it changed. */
  handle?: unknown;
  /** When to ask again, in milliseconds from now; absent: at the next tick. */
  poll_after_ms?: number | null;
} & ({
  status: "queued";
} | {
  status: "running";
  /** How far it has come, in the operator's own words. */
  progress?: unknown;
} | {
  status: "waiting";
  /** What it waits for. */
  waiting: Waiting;
} | {
  status: "succeeded";
} | {
  status: "failed";
  /** Why. */
  detail: Said;
} | {
  status: "cancelled";
} | {
  status: "not-started";
  /** Why. */
  detail: Said;
} | {
  status: "lost";
  /** Why. */
  detail: Said;
} | {
  status: "unavailable";
  /** Why. */
  detail: Said;
});

/** A submit that took effect. */
export interface Submitted {
  /** Comes back as `attempt.handle` with every later call. */
  handle: unknown;
  /** What people over there call it: a job number, a sample's label. */
  external_id?: string | null;
}

/** How far a campaign has come, in its own words. */
export interface Summary {
  /** One line for a person. */
  text?: string | null;
  /** How much is done, in whatever the campaign counts. */
  done?: number | null;
  /** How much there is to do, in the same. */
  total?: number | null;
  /** Numbers by name, such as the best value so far. */
  metrics?: { [key: string]: number };
}

/** A logical unit of work. Unknown keys are errors. */
export interface Task {
  /** Unique in the run; any text of 1 to 200 bytes. */
  id: TaskId;
  /** The operator key that carries it outside; may be left out where the configuration has only one. */
  operator?: string;
  /** What to run, for operators that run commands. */
  command?: CommandLine | null;
  /**
   * Files staged into the attempt directory, by their destination. One that ends in `/` takes all pinned files below
   * a folder, or all outputs that a pattern names.
   */
  files?: { [key: string]: FileSource };
  /** Environment variables of the command: texts, or secrets by name. */
  env?: { [key: string]: Variable };
  /** Tasks that must complete first. */
  depends_on?: TaskId[];
  /** Patterns of the files to keep, relative to the attempt directory. */
  outputs?: OutputPattern[];
  /** What the command needs. */
  resources?: Resources | null;
  /** Ready tasks start by it: the larger first. Within ±1 000 000. */
  priority?: number;
  /** What follows a failed attempt. */
  retry?: Retry;
  /** Whether the campaign expects that it may fail. */
  allow_failure?: boolean;
  /** Whether it starts although a dependency did not complete. */
  allow_dependency_failure?: boolean;
  /** A document for the operator. */
  input?: unknown;
}

/** A task: chosen by the campaign, any text of 1 to 200 bytes, unique in its run. */
export type TaskId = string;

/** `retry.on.timeout` */
export interface TimeoutRetry {
  /** The next attempt's walltime as a multiple of this one's. */
  walltime_factor: number;
}

/** `collected.usage`: what an attempt used, by its operator's word. Further keys are kept. */
export interface Usage {
  /** Processor time, in seconds. */
  cpu_s?: number | null;
  /** The most memory it held at once, in MiB. */
  memory_peak_mb?: number | null;
  /** What it cost. */
  cost?: Amount | null;
  /** Material that is gone, by its name. */
  material?: { [key: string]: Amount };
}

/** The value of an environment variable. */
export type Variable = string | Secret;

/** What an attempt waits for outside. */
export interface Waiting {
  /** `person`, `kit`, `instrument`, `scheduler`, `queue`, `machine`, `waiting`, `capacity`, or a word of its own. */
  kind: string;
  /** One sentence for the person who can help. */
  detail: string;
}
