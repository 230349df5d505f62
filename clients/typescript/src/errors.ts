/**
 * Exceptions of the client.
 *
 *     ContactsError
 *     ├── ValidationError       the request is invalid; `issues` names the fields
 *     └── APIError
 *         ├── NotFoundError
 *         ├── UnauthorizedError     the API key is missing or invalid
 *         ├── ForbiddenError        the API key lacks the permission
 *         ├── ConflictError         the present state does not permit the call, such as a taken external id
 *         ├── RateLimitError        too many calls in flight, or a limit of verifications
 *         ├── ServerError           the service failed, or its database is unavailable
 *         ├── NetworkError          the service is unreachable
 *         └── TimeoutError          the call timed out
 */

/** The name of a gRPC status code, other than OK. */
export type StatusCode =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

/** A faulty field: its path in the request, such as `requests[3].clientId`, and the rule that it violates. */
export interface Issue {
  readonly path: string;
  readonly message: string;
}

/** What an error carries besides its message. */
export interface ErrorDetails {
  readonly code?: StatusCode;
  readonly reason?: string | undefined;
  readonly issues?: readonly Issue[];
  readonly requestId?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** Base class of all exceptions of this package. A message never quotes a contact value. */
export class ContactsError extends Error {
  /** The gRPC status code, such as "NOT_FOUND". */
  readonly code: StatusCode;
  /** The reason code of the service, such as "EXTERNAL_ID_TAKEN"; undefined if the service sent none. */
  readonly reason: string | undefined;
  /** The id of the call in the log of the service; undefined if nothing was sent. */
  readonly requestId: string | undefined;
  /** Details by the service's own keys, such as `existing_id` for a taken external id. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The faulty fields of an invalid request, and the items of an atomic batch that do not exist; empty otherwise. */
  readonly issues: readonly Issue[];

  static {
    this.prototype.name = "ContactsError";
  }

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code ?? "UNKNOWN";
    this.reason = details.reason;
    this.requestId = details.requestId;
    this.metadata = Object.freeze({ ...details.metadata });
    this.issues = Object.freeze([...(details.issues ?? [])]);
  }

  /** Returns the attributes, without cause and stack, for logs. */
  toJSON(): Record<string, unknown> {
    return {
      name: this.name,
      message: this.message,
      code: this.code,
      reason: this.reason,
      requestId: this.requestId,
      metadata: this.metadata,
      issues: this.issues,
    };
  }
}

/** The request is invalid; repeating it unchanged cannot succeed. `issues` names the faulty fields. */
export class ValidationError extends ContactsError {
  static {
    this.prototype.name = "ValidationError";
  }

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { code: "INVALID_ARGUMENT", ...details });
  }
}

/** The call failed in the service or on the network. */
export class APIError extends ContactsError {
  static {
    this.prototype.name = "APIError";
  }
}

/** The contact method does not exist. */
export class NotFoundError extends APIError {
  static {
    this.prototype.name = "NotFoundError";
  }
}

/** The API key is missing or invalid. */
export class UnauthorizedError extends APIError {
  static {
    this.prototype.name = "UnauthorizedError";
  }
}

/** The API key lacks the permission for this call. */
export class ForbiddenError extends APIError {
  static {
    this.prototype.name = "ForbiddenError";
  }
}

/** The present state does not permit the call; see `reason`, such as EXTERNAL_ID_TAKEN or ETAG_MISMATCH. */
export class ConflictError extends APIError {
  static {
    this.prototype.name = "ConflictError";
  }
}

/**
 * Too many calls were in flight until the timeout (reason OVERLOADED), or a verification has no sends or tries left
 * (VERIFICATION_LIMIT, VERIFICATION_EXHAUSTED). Nothing was done.
 */
export class RateLimitError extends APIError {
  /** Milliseconds to wait before the next attempt; undefined if the service sent none. */
  readonly retryAfterMs: number | undefined;

  static {
    this.prototype.name = "RateLimitError";
  }

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details);
    this.retryAfterMs = details.retryAfterMs;
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), retryAfterMs: this.retryAfterMs };
  }
}

/** The service failed, or its database is unavailable. A write may or may not have been applied. */
export class ServerError extends APIError {
  static {
    this.prototype.name = "ServerError";
  }
}

/** The service is unreachable. A write may or may not have been applied. */
export class NetworkError extends APIError {
  static {
    this.prototype.name = "NetworkError";
  }
}

/** The call timed out. A write may or may not have been applied. */
export class TimeoutError extends APIError {
  static {
    this.prototype.name = "TimeoutError";
  }
}

/** Returns the exception for an invalid argument. */
export function invalid(path: string, message: string): ValidationError {
  return new ValidationError(path ? `${path}: ${message}` : message, {
    reason: "INVALID_FIELD",
    issues: [{ path, message }],
  });
}
