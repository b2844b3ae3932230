// Weighs: a task says how many grams it takes, and this operator alone knows the command.
import { Error, type Attempt, type Collected, type Found, type Report, type Submitted } from "matterstack";

const BACKEND = "local";

/** What `prepare` leaves for the functions after it. */
interface Prepared {
  grams: number;
}

/** Makes ready and checks; may be called again after a crash. What it refuses with `invalid` is not tried again. A
 * document that it returns is `prepared` from then on. */
export function prepare({ task }: Attempt): Prepared {
  const grams: unknown = task.input?.grams;
  if (typeof grams !== "number" || !(grams > 0 && grams <= 200)) {
    throw new Error("invalid", "grams", `${grams} g do not go on this balance: 0 to 200 do`);
  }
  return { grams };
}

/** Carries it outside. The host calls this once for an attempt, and keeps the handle that it returns. */
export function submit({ compute, prepared }: Attempt): Submitted {
  const { grams }: Prepared = prepared;
  return compute.submit(BACKEND, { command: ["awk", `BEGIN { print ${grams} * 1.0002 }`] });
}

/** Where the answer of `submit` was lost, tells whether it took effect: the outside knows attempts by their key. */
export function reconcile({ compute }: Attempt): Found {
  return compute.find(BACKEND);
}

export function check_status({ compute, handle }: Attempt): Report {
  return compute.status(BACKEND, handle);
}

/** Brings what the job left into the attempt's directory, and returns an output document. */
export function collect_results({ compute, handle }: Attempt): Collected {
  return { output: compute.collect(BACKEND, handle) };
}

export function cancel({ compute, handle }: Attempt): void {
  compute.cancel(BACKEND, handle);
}
