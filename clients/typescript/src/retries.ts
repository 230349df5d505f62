/** When a failed call is repeated, and how long after. */

import { type ContactsError, RateLimitError } from "./errors.js";
import { pushbackMs } from "./statuses.js";

const INITIAL_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 2_000;
const JITTER = 0.2;

/** The retries of one call. */
export class Retries {
  readonly #maxRetries: number;
  readonly #mayBeRepeated: boolean;
  #unavailable = 0;
  #overloaded = 0;

  /**
   * @param maxRetries - how often the call is repeated while the service is unavailable; 0 disables all retries.
   * @param mayBeRepeated - whether the call can be sent again although an unanswered attempt may have been applied.
   */
  constructor(maxRetries: number, mayBeRepeated: boolean) {
    this.#maxRetries = maxRetries;
    this.#mayBeRepeated = mayBeRepeated;
  }

  /** Counts a failure; returns the milliseconds until the next attempt, or undefined if there is none. */
  next(error: ContactsError): number | undefined {
    if (this.#maxRetries === 0) {
      return undefined;
    }
    const pushback = pushbackMs(error.cause);
    if (error instanceof RateLimitError && error.reason === "OVERLOADED") {
      // Nothing was done. The wait also grows: all refused callers return after the same pushback.
      const wait = Math.max(pushback ?? error.retryAfterMs ?? 0, backoffMs(this.#overloaded++));
      return Number.isFinite(wait) ? jittered(wait) : undefined;
    }
    // CANCELLED as well: a server that stops ends the calls that it has received but not begun with it
    // (grpc/grpc#41785). A call that its own caller cancels does not arrive here.
    if (error.code !== "UNAVAILABLE" && error.code !== "CANCELLED") {
      return undefined;
    }
    if (!this.#mayBeRepeated || this.#unavailable >= this.#maxRetries || pushback === Infinity) {
      return undefined;
    }
    const backoff = backoffMs(this.#unavailable++);
    return jittered(pushback ?? backoff);
  }

  /** Restarts the count after progress, such as a page of a stream. */
  reset(): void {
    this.#unavailable = this.#overloaded = 0;
  }
}

function backoffMs(attempt: number): number {
  return Math.min(INITIAL_BACKOFF_MS * 2 ** attempt, MAX_BACKOFF_MS);
}

/** Never less, for a pushback is a lower limit. */
function jittered(milliseconds: number): number {
  return milliseconds * (1 + Math.random() * JITTER);
}
