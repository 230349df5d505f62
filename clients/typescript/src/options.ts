/** The options of the methods, and the query of `list`. */

import { invalid } from "./errors.js";
import type { Filter, Sort } from "./filters.js";
import { isPlainObject, suggestion } from "./messages.js";
import type { ContactMethodType } from "./records.js";

/** Options of every call. */
export interface CallOptions {
  /** Milliseconds that the call may take, retries included, instead of the timeout of the client. */
  readonly timeoutMs?: number;
  /**
   * Ends the call when it is aborted; the promise is rejected with the reason of the signal. A write may or may not
   * have been applied.
   */
  readonly signal?: AbortSignal;
}

/** Options of every write. */
export interface WriteOptions extends CallOptions {
  /**
   * The caller's name for this request: repeated with the same arguments within 24 hours, the request is applied once.
   * By default the client generates one and keeps it for its own retries.
   */
  readonly requestId?: string;
}

export interface DeleteOptions extends WriteOptions {
  /** Whether an id that does not exist counts as deleted. */
  readonly allowMissing?: boolean;
  /** What happens if it is primary: by default none remains; promote the next contact method, or refuse the delete. */
  readonly onPrimary?: "promoteNext" | "reject";
  /** The etag that the record must have. */
  readonly etag?: string;
}

export interface StartVerificationOptions extends WriteOptions {
  /** The etag that the record must have. */
  readonly etag?: string;
}

export interface SetVerificationOptions extends WriteOptions {
  /** The value that you mean: the call fails if the record has another. By default the one that it has. */
  readonly value?: string;
  /** When it was verified; by default now, or, if it is verified already, as it is. */
  readonly verifiedAt?: Date;
  /** How, at most 50 characters; by default "attested", or, if it is verified already, as it is. */
  readonly method?: string;
  /** The etag that the record must have. */
  readonly etag?: string;
}

export interface BatchOptions extends WriteOptions {
  /** Whether one faulty item fails the whole batch (the default); otherwise each item succeeds or fails on its own. */
  readonly atomic?: boolean;
}

export interface SyncOptions extends WriteOptions {
  /** Whether to delete the client's records that no item matches. */
  readonly replace?: boolean;
  /** Must be set for `replace` without items, which deletes everything. */
  readonly allowEmptyReplace?: boolean;
}

export interface MetadataOptions extends CallOptions {
  /** Restricts the lookup to one client. */
  readonly clientId?: string;
}

/** The argument of `list`. */
export interface ListQuery {
  /** Conditions, such as `{ clientId: "c1", type: oneOf("email", "phone") }`; by default all records match. */
  readonly filter?: Filter;
  /** `createdAt` by default. */
  readonly sort?: Sort;
  /** `pagination.nextCursor` of the previous page; valid only with the same filter and sort. */
  readonly cursor?: string;
  /** How many records to skip, for numbered pages; not together with a cursor. */
  readonly offset?: number;
  /** The maximum page size, 1-200; 20 by default. */
  readonly limit?: number;
  /** Whether to count all matching records. */
  readonly includeTotalCount?: boolean;
}

export interface ListByClientOptions extends CallOptions {
  readonly type?: ContactMethodType;
  readonly cursor?: string;
  readonly limit?: number;
}

export interface IterateOptions extends CallOptions {
  readonly sort?: Sort;
  /** The maximum size of the first page; the others are streamed. 200 by default. */
  readonly pageSize?: number;
}

const CALL = ["timeoutMs", "signal"] as const;
const WRITE = [...CALL, "requestId"] as const;

/**
 * Checks the options of a read and returns those of its request, without the ones that concern the call.
 *
 * @throws ValidationError for an unknown option.
 */
export function readOptions<T extends CallOptions>(options: T, names: readonly string[] = []) {
  return split(options, CALL, names) as Omit<T, (typeof CALL)[number]>;
}

/** As `readOptions`, for a write. */
export function writeOptions<T extends WriteOptions>(options: T, names: readonly string[] = []) {
  return split(options, WRITE, names) as Omit<T, (typeof WRITE)[number]>;
}

function split(options: unknown, ofCall: readonly string[], ofRequest: readonly string[]): Record<string, unknown> {
  if (!isPlainObject(options)) {
    throw invalid("options", "must be an object");
  }
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (ofRequest.includes(name)) {
      found[name] = value;
    } else if (!ofCall.includes(name)) {
      throw invalid(`options.${name}`, `is not an option here${suggestion(name, [...ofCall, ...ofRequest])}`);
    }
  }
  return found;
}
