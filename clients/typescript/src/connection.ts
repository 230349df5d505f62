/** The connection to the service, and the calls on it. */

import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";

import { type CallOptions as GrpcCallOptions, Client, Metadata } from "@grpc/grpc-js";

import { methodDefinition } from "./bridge.js";
import { ConflictError, ContactsError, invalid } from "./errors.js";
import { mayBeRepeated, type Operation, withRequestId, writes } from "./operations.js";
import type { CallOptions, WriteOptions } from "./options.js";
import { Retries } from "./retries.js";
import { checkedTimeout, type Settings } from "./settings.js";
import { errorOfCall, isServiceError } from "./statuses.js";

const REQUEST_ID_HEADER = "x-request-id";

const CHANNEL_OPTIONS = {
  "grpc.service_config": JSON.stringify({
    // Balance over all addresses of the target; by default gRPC uses the first one only.
    loadBalancingConfig: [{ round_robin: {} }],
  }),
  // This client retries by itself: a retry policy of grpc-js cannot tell OVERLOADED from other reasons of
  // RESOURCE_EXHAUSTED. Calls that no server has processed are still repeated by grpc-js.
  "grpc.enable_retries": 1,
  // After an outage, reconnect within 2 s; gRPC's default is up to two minutes.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  // Notice within 80 s of silence that a peer is gone. The service permits pings every 10 s.
  "grpc.keepalive_time_ms": 60_000,
  "grpc.keepalive_timeout_ms": 20_000,
  // One connection per client. gRPC shares them by default: all clients of a process would reach the same worker, and a
  // new client would inherit the reconnect delay of a failed one.
  "grpc.use_local_subchannel_pool": 1,
  // A batch response with much metadata exceeds gRPC's default of 4 MiB.
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
};

/** A connection to the service, opened at the first call. */
export class Connection {
  readonly #settings: Settings;
  #client: Client | undefined;
  #serverSupportsRequestIds = true;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Closes the connection; a later call opens another one. */
  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /**
   * Makes a call and returns its result. A write without a request id gets one, so that it can be retried while the
   * service is unavailable and still be applied once.
   */
  async call<T>(asked: Operation<T>, options: WriteOptions): Promise<T> {
    const deadline = this.deadline(options);
    if (!writes(asked)) {
      return this.#send(asked, deadline, options.signal);
    }
    if (options.requestId !== undefined) {
      return this.#send(withRequestId(asked, options.requestId), deadline, options.signal);
    }
    if (this.#serverSupportsRequestIds) {
      try {
        return await this.#send(withRequestId(asked, newId()), deadline, options.signal);
      } catch (error) {
        if (!(error instanceof ConflictError && error.reason === "TRANSACTIONS_UNSUPPORTED")) {
          throw error;
        }
        // A database without transactions refuses request ids: from now on, writes have none and are not retried.
        this.#serverSupportsRequestIds = false;
      }
    }
    return this.#send(asked, deadline, options.signal);
  }

  /** Makes a streaming call and yields its results. It is not retried here: the caller resumes where it stopped. */
  async *stream<T>(asked: Operation<T>, options: CallOptions): AsyncGenerator<T, void, undefined> {
    const requestId = newId();
    const { path, requestSerialize, responseDeserialize } = methodDefinition(asked.method);
    const { signal } = options;
    signal?.throwIfAborted();
    const call = this.#connected().makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      asked.request,
      this.#metadata(requestId),
      { deadline: this.deadline(options) },
    );
    // Cancelled below, the call ends with an error event for which nothing else listens.
    call.on("error", () => undefined);
    const stopListening = onAbort(signal, () => call.cancel());
    try {
      for await (const response of call) {
        yield asked.read(response, requestId);
      }
    } catch (error) {
      throw translated(error, requestId, signal);
    } finally {
      stopListening();
      call.cancel();
    }
  }

  /** Returns the retries of one call or stream. */
  retries(asked: Operation<unknown>): Retries {
    return new Retries(this.#settings.maxRetries, mayBeRepeated(asked));
  }

  /**
   * Returns when a call that begins now ends at the latest, in milliseconds since the epoch.
   *
   * @throws ValidationError for an invalid option.
   */
  deadline({ timeoutMs, signal }: CallOptions): number {
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw invalid("signal", "must be an AbortSignal");
    }
    return Date.now() + (timeoutMs === undefined ? this.#settings.timeoutMs : checkedTimeout(timeoutMs));
  }

  async #send<T>(asked: Operation<T>, deadline: number, signal: AbortSignal | undefined): Promise<T> {
    const requestId = newId();
    const retries = this.retries(asked);
    for (;;) {
      try {
        return asked.read(await this.#attempt(asked, { deadline }, requestId, signal), requestId);
      } catch (failure) {
        const error = translated(failure, requestId, signal);
        const wait = error instanceof ContactsError ? retries.next(error) : undefined;
        if (wait === undefined || Date.now() + wait >= deadline) {
          throw error;
        }
        await pause(wait, signal);
      }
    }
  }

  #attempt<T>(asked: Operation<T>, options: GrpcCallOptions, requestId: string, signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    const { path, requestSerialize, responseDeserialize } = methodDefinition(asked.method);
    return new Promise<Parameters<typeof asked.read>[0]>((resolve, reject) => {
      const call = this.#connected().makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        asked.request,
        this.#metadata(requestId),
        options,
        (error, response) => {
          stopListening();
          if (response === undefined) {
            reject(error);
          } else {
            resolve(response);
          }
        },
      );
      const stopListening = onAbort(signal, () => call.cancel());
    });
  }

  #metadata(requestId: string): Metadata {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(this.#settings.headers)) {
      metadata.set(name, value);
    }
    metadata.set(REQUEST_ID_HEADER, requestId);
    return metadata;
  }

  #connected(): Client {
    this.#client ??= new Client(this.#settings.target, this.#settings.credentials, CHANNEL_OPTIONS);
    return this.#client;
  }
}

/** Waits; throws the reason of the signal when it is aborted. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(milliseconds, undefined, signal && { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** Calls back when a signal is aborted; returns a function that ends this. */
function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) {
    return () => undefined;
  }
  // One signal may end any number of calls; Node warns of a leak at the eleventh listener.
  setMaxListeners(0, signal);
  signal.addEventListener("abort", callback, { once: true });
  return () => signal.removeEventListener("abort", callback);
}

/** Returns what the caller is to see of a failure: the reason of an aborted signal, or the exception for a status. */
function translated(failure: unknown, requestId: string, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) {
    return signal.reason;
  }
  return isServiceError(failure) ? errorOfCall(failure, requestId) : failure;
}

function newId(): string {
  return randomUUID().replaceAll("-", "");
}
