// What is alike in components that are campaigns and in those that are operators.
import { MatterStackError } from "./matterstack.js";

const RESULT_TAGS = ["invalid", "rejected", "transient", "denied", "ambiguous", "other"];

/** A document as text; what no document holds is refused with its place. */
export function written(value, name = "answer") {
  const text = JSON.stringify(value, function (key, held) {
    const raw = this[key];
    const wrong =
      (typeof held === "number" && !Number.isFinite(held)) || ["bigint", "function", "symbol"].includes(typeof held);
    if (wrong || raw instanceof Map || raw instanceof Set) {
      const message = `\`${key || name}\` in \`${name}\` is no document: ${String(held)}`;
      throw new MatterStackError("other", "bad-answer", message);
    }
    return held;
  });
  if (text === undefined) throw new MatterStackError("other", "bad-answer", `\`${name}\` is undefined`);
  return text;
}

/** A document as text, or undefined. */
export function maybe(value, name) {
  return value === undefined || value === null ? undefined : written(value, name);
}

export function read(text) {
  return text === undefined || text === null ? null : JSON.parse(text);
}

/** A sentence, or `{code?, message, data?}`, as the contract's detail. */
export function detail(said) {
  if (typeof said === "string") return { code: "program", message: said };
  const { code = "program", message, data } = said;
  return { code, message, data: maybe(data, "data") };
}

/** Refuses keys that nobody knows, and values that are missing. */
export function known(answer, keys, name) {
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw new MatterStackError("other", "bad-answer", `\`${name}\` answers no object`);
  }
  const odd = Object.keys(answer).find((key) => !keys.includes(key));
  if (odd !== undefined) {
    throw new MatterStackError("other", "bad-answer", `\`${name}\` answers \`${odd}\`; there are ${keys.join(", ")}`);
  }
  return answer;
}

/** An error of the contract, of whatever was thrown. */
function refusal(error) {
  if (RESULT_TAGS.includes(error?.tag)) return error;
  if (error instanceof MatterStackError) {
    const told = { code: error.code, message: error.message, data: maybe(error.data, "data") };
    const delay = { detail: told, retryAfterMs: milliseconds(error.retry_after_ms) };
    return { tag: error.kind, val: error.kind === "transient" ? delay : told };
  }
  return { tag: "other", val: { code: "exception", message: String(error), data: undefined } };
}

export function milliseconds(value) {
  return value === undefined || value === null ? undefined : Number(value);
}

/** A function as the component exports it: what it throws is an error of the contract, and no trap. */
export function answered(call, log) {
  return (...values) => {
    try {
      return call(...values);
    } catch (error) {
      if (error?.stack && !(error instanceof MatterStackError)) log.write("error", `${error}\n${error.stack}`);
      throw refusal(error);
    }
  };
}

/** Calls the host; its refusals are errors of this module. */
export function asked(call) {
  try {
    return call();
  } catch (error) {
    const refused = error?.payload ?? error;
    if (!RESULT_TAGS.includes(refused?.tag)) throw error;
    const { tag, val } = refused;
    const told = tag === "transient" ? val.detail : val;
    const more = { data: read(told.data) ?? undefined, retry_after_ms: val.retryAfterMs && Number(val.retryAfterMs) };
    throw new MatterStackError(tag, told.code, told.message, more);
  }
}
