/** A service that answers as scripted and records what it receives, for tests of the client. */

import { create, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";

import { serviceDefinition } from "#dist/bridge.js";
import * as pb from "#dist/gen/contactsvc/v1/contact_methods_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "#dist/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#dist/gen/google/rpc/status_pb.js";

export interface Failure {
  readonly code: status;
  readonly reason?: string;
  readonly pushbackMs?: number;
  readonly retryAfterMs?: number;
  readonly rawDetails?: Buffer;
}

export interface Seen {
  readonly rpc: string;
  readonly request: any;
  readonly metadata: Metadata;
}

type Page = MessageInitShape<typeof pb.StreamContactMethodsResponseSchema>;

export class FakeService {
  /** The next answers; the calls after them succeed. */
  readonly failures: Failure[] = [];
  readonly seen: Seen[] = [];
  /** The pages of the next streams; a failure ends a stream, "hang" leaves it open. */
  readonly pages: (Page | Failure | "hang")[] = [];
  /** Whether writes may have a request id. */
  transactional = true;
  /** Calls stay unanswered while it is set. */
  silent = false;
  target = "";
  record: MessageInitShape<typeof pb.ContactMethodSchema> = {
    id: "contact_1",
    type: pb.ContactMethodType.EMAIL,
    createdAt: timestampFromDate(new Date(0)),
    updatedAt: timestampFromDate(new Date(0)),
  };
  readonly #server = new Server();
  readonly #waiting: { rpc: string; count: number; resolve: () => void }[] = [];
  cancelled: Promise<void>;
  #onCancelled: () => void = () => undefined;

  constructor() {
    this.cancelled = new Promise((resolve) => (this.#onCancelled = resolve));
    const unary = (rpc: string, answer: object) => (call: ServerUnaryCall<any, any>, done: sendUnaryData<any>) =>
      this.#answer(rpc, call, done, answer);
    this.#server.addService(serviceDefinition(pb.ContactMethodsService), {
      getContactMethod: (call: ServerUnaryCall<any, any>, done: sendUnaryData<any>) =>
        this.#answer("get", call, done, create(pb.GetContactMethodResponseSchema, { contactMethod: this.record })),
      createContactMethod: (call: ServerUnaryCall<any, any>, done: sendUnaryData<any>) =>
        this.#answer(
          "create",
          call,
          done,
          create(pb.CreateContactMethodResponseSchema, { contactMethod: this.record }),
        ),
      listContactMethods: unary("list", create(pb.ListContactMethodsResponseSchema, { nextPageToken: "start" })),
      streamContactMethods: (call: ServerWritableStream<any, any>) => this.#stream(call),
    });
  }

  async start(): Promise<void> {
    const port = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    this.target = `127.0.0.1:${port}`;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  /** Waits until so many calls of an RPC have arrived. */
  received(rpc: string, count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ rpc, count, resolve });
      this.#notify();
    });
  }

  requests(rpc: string): any[] {
    return this.seen.filter((call) => call.rpc === rpc).map(({ request }) => request);
  }

  #notify(): void {
    for (const { rpc, count, resolve } of this.#waiting) {
      if (this.requests(rpc).length >= count) resolve();
    }
  }

  #answer(rpc: string, call: ServerUnaryCall<any, any>, done: sendUnaryData<any>, answer: object): void {
    this.seen.push({ rpc, request: call.request, metadata: call.metadata });
    this.#notify();
    call.on("cancelled", () => this.#onCancelled());
    if (this.silent) return;
    const failure =
      rpc === "create" && call.request.requestId && !this.transactional
        ? { code: status.FAILED_PRECONDITION, reason: "TRANSACTIONS_UNSUPPORTED" }
        : this.failures.shift();
    if (failure === undefined) {
      done(null, answer);
    } else {
      done({ code: failure.code, details: "scripted", metadata: trailing(failure) });
    }
  }

  async #stream(call: ServerWritableStream<any, any>): Promise<void> {
    this.seen.push({ rpc: "stream", request: call.request, metadata: call.metadata });
    this.#notify();
    call.on("cancelled", () => this.#onCancelled());
    for (;;) {
      const next = this.pages.shift();
      if (next === "hang") return;
      if (next === undefined) return void call.end();
      if ("code" in next) {
        return void call.emit("error", { code: next.code, details: "scripted", metadata: trailing(next) });
      }
      call.write(create(pb.StreamContactMethodsResponseSchema, next));
    }
  }
}

export function page(token: string, ...ids: string[]): MessageShape<typeof pb.StreamContactMethodsResponseSchema> {
  return create(pb.StreamContactMethodsResponseSchema, {
    contactMethods: ids.map((id) => ({ id })),
    nextPageToken: token,
  });
}

function trailing({ code, reason, pushbackMs, retryAfterMs, rawDetails }: Failure): Metadata {
  const metadata = new Metadata();
  const details = [
    ...(reason ? [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: "contactsvc" }))] : []),
    ...(retryAfterMs === undefined
      ? []
      : [anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) }))]),
  ];
  if (details.length > 0 || rawDetails) {
    const packed = toBinary(StatusSchema, create(StatusSchema, { code, details }));
    metadata.set("grpc-status-details-bin", rawDetails ?? Buffer.from(packed));
  }
  if (pushbackMs !== undefined) {
    metadata.set("grpc-retry-pushback-ms", String(pushbackMs));
  }
  return metadata;
}
