/** gRPC statuses and the errors of batch items -> exceptions, by one table. */

import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import { Metadata, type ServiceError } from "@grpc/grpc-js";

import {
  ConflictError,
  type ContactsError,
  type ErrorDetails,
  ForbiddenError,
  type Issue,
  NetworkError,
  NotFoundError,
  RateLimitError,
  ServerError,
  type StatusCode,
  TimeoutError,
  UnauthorizedError,
  ValidationError,
} from "./errors.js";
import type { BatchError } from "./gen/contactsvc/v1/contact_methods_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

const DETAILS_HEADER = "grpc-status-details-bin";
const PUSHBACK_HEADER = "grpc-retry-pushback-ms";

type ErrorClass = new (message: string, details: ErrorDetails) => ContactsError;

// By the number of the status code; 0 is OK.
const CODES: readonly [StatusCode, ErrorClass][] = [
  ["UNKNOWN", ServerError],
  ["CANCELLED", NetworkError],
  ["UNKNOWN", ServerError],
  ["INVALID_ARGUMENT", ValidationError],
  ["DEADLINE_EXCEEDED", TimeoutError],
  ["NOT_FOUND", NotFoundError],
  ["ALREADY_EXISTS", ConflictError],
  ["PERMISSION_DENIED", ForbiddenError],
  ["RESOURCE_EXHAUSTED", RateLimitError],
  ["FAILED_PRECONDITION", ConflictError],
  ["ABORTED", ConflictError],
  ["OUT_OF_RANGE", ValidationError],
  ["UNIMPLEMENTED", ServerError],
  ["INTERNAL", ServerError],
  ["UNAVAILABLE", NetworkError],
  ["DATA_LOSS", ServerError],
  ["UNAUTHENTICATED", UnauthorizedError],
];

/** Returns the exception for a failed call with this request id. */
export function errorOfCall(failure: ServiceError, requestId: string): ContactsError {
  const details: { -readonly [K in keyof ErrorDetails]: ErrorDetails[K] } = { requestId, cause: failure };
  let violations: readonly Violation[] = [];
  try {
    for (const packed of statusDetails(failure.metadata)) {
      const info = anyUnpack(packed, ErrorInfoSchema);
      if (info !== undefined) {
        details.reason = info.reason || undefined;
        details.metadata = info.metadata;
      }
      violations = anyUnpack(packed, BadRequestSchema)?.fieldViolations ?? violations;
      const delay = anyUnpack(packed, RetryInfoSchema)?.retryDelay;
      details.retryAfterMs ??= delay && durationMs(delay);
    }
  } catch {
    // Details that cannot be decoded, of a proxy perhaps, must not hide the status.
  }
  return makeError(failure.code, failure.details, violations, details);
}

/** Returns the exception for a failed item of a batch. */
export function errorOfItem(error: BatchError, requestId: string): ContactsError {
  return makeError(error.code, error.message, error.fieldViolations, {
    reason: error.reason || undefined,
    metadata: error.metadata,
    requestId,
  });
}

/** Returns whether an error is the status of a call. */
export function isServiceError(failure: unknown): failure is ServiceError {
  return failure instanceof Error && "metadata" in failure && failure.metadata instanceof Metadata;
}

/**
 * Returns the milliseconds after which the service asks for a retry (gRFC A6); undefined if it does not ask for one,
 * and Infinity if it forbids one.
 */
export function pushbackMs(failure: unknown): number | undefined {
  const [sent] = isServiceError(failure) ? failure.metadata.get(PUSHBACK_HEADER) : [];
  if (sent === undefined) {
    return undefined;
  }
  const milliseconds = Number(sent);
  return Number.isInteger(milliseconds) && milliseconds >= 0 ? milliseconds : Infinity;
}

/** Returns a path of the service, such as `requests[3].client_id`, in camel case. Metadata keys in it are kept. */
export function camelCasePath(path: string): string {
  return path.replace(/\[[^\]]*\]|_([a-z0-9])/g, (found, letter?: string) => letter?.toUpperCase() ?? found);
}

interface Violation {
  readonly field: string;
  readonly description: string;
}

function makeError(
  number: number,
  text: string,
  violations: readonly Violation[],
  details: ErrorDetails,
): ContactsError {
  let [code, kind] = CODES[number] ?? ["UNKNOWN", ServerError];
  if (kind === RateLimitError && details.reason === undefined && text.includes("larger than max")) {
    // From gRPC itself: the request or the response exceeds the message size limit, now and on every retry.
    kind = ValidationError;
  }
  if (kind === NetworkError && details.reason !== undefined) {
    // The service answered: its database is unavailable.
    kind = ServerError;
  }
  const issues = violations.map(({ field, description }): Issue => ({
    path: camelCasePath(field),
    message: description,
  }));
  // The message begins with the path of the first violation.
  const [first] = violations;
  const message =
    first && text.startsWith(`${first.field}:`) ? camelCasePath(first.field) + text.slice(first.field.length) : text;
  return new kind(message, { ...details, code, issues });
}

function statusDetails(metadata: Metadata) {
  const [sent] = metadata.get(DETAILS_HEADER);
  return Buffer.isBuffer(sent) ? fromBinary(StatusSchema, sent).details : [];
}
