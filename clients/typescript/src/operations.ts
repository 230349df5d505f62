/** Operations: the request of each method and the reader of its response. */

import {
  create,
  type DescMethodStreaming,
  type DescMethodUnary,
  type Message,
  type MessageShape,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";

import { type ContactsError, invalid } from "./errors.js";
import type { BatchError } from "./gen/contactsvc/v1/contact_methods_pb.js";
import { errorOfItem } from "./statuses.js";
import type { AtomicBatch, PartialBatch } from "./records.js";

/** One call of an RPC. */
export interface Operation<T> {
  readonly method: DescMethodUnary | DescMethodStreaming;
  /** The message to send. */
  readonly request: Message;
  /** Converts a response; the request id of the call is for errors in it. */
  readonly read: (response: Message, requestId: string) => T;
}

/** Returns an operation; the types of request and response follow from the method. */
export function operation<M extends DescMethodUnary | DescMethodStreaming, T>(
  method: M,
  request: MessageShape<M["input"]>,
  read: (response: MessageShape<M["output"]>, requestId: string) => T,
): Operation<T> {
  return { method, request, read: read as Operation<T>["read"] };
}

/** Returns whether an operation writes. */
export function writes({ method }: Operation<unknown>): boolean {
  return method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

/** Returns whether sending an operation again is safe: it is a read, or a write with a request id. */
export function mayBeRepeated(asked: Operation<unknown>): boolean {
  return !writes(asked) || Boolean((asked.request as { requestId?: string }).requestId);
}

/**
 * Returns a write with this request id.
 *
 * @throws ValidationError if it is not a string.
 */
export function withRequestId<T>(asked: Operation<T>, requestId: unknown): Operation<T> {
  if (typeof requestId !== "string" || !requestId.isWellFormed()) {
    throw invalid("requestId", "must be a string");
  }
  const { method, request } = asked;
  return { ...asked, request: create(method.input, { ...request, requestId } as Message) };
}

interface ItemResult {
  readonly outcome: { readonly case: string | undefined; readonly value?: unknown };
}

/** Returns the reader of a batch response; `readItem` reads each successful result. */
export function batchReader<R extends ItemResult, T>(atomic: boolean, readItem: (result: R) => T) {
  return (response: { results: R[] }, requestId: string): AtomicBatch<T> | PartialBatch<T> => {
    const succeeded: { index: number; data: T }[] = [];
    const failed: { index: number; error: ContactsError }[] = [];
    response.results.forEach((result, index) => {
      if (result.outcome.case === "error") {
        failed.push({ index, error: errorOfItem(result.outcome.value as BatchError, requestId) });
      } else {
        succeeded.push({ index, data: readItem(result) });
      }
    });
    if (!atomic) {
      return { atomic, succeeded, failed };
    }
    if (failed[0] !== undefined) {
      // A repeated request id: the batch succeeded before, and this record has been deleted since.
      throw failed[0].error;
    }
    return { atomic, data: succeeded.map(({ data }) => data) };
  };
}
