/** Calls of the client: retries, headers, timeouts, cancellation and streams, against a fake service. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { status } from "@grpc/grpc-js";
import {
  APIError,
  collectAll,
  collectUpTo,
  ConflictError,
  ContactsError,
  ContactsSDK,
  type ContactsSDKOptions,
  getFirst,
  NetworkError,
  RateLimitError,
  ServerError,
  TimeoutError,
} from "contactsvc-client";

import { FakeService, page } from "./fake_service.js";

const NEW = { clientId: "c", type: "email", value: "a@example.com" } as const;
const UNAVAILABLE = { code: status.UNAVAILABLE };
const OVERLOADED = { code: status.RESOURCE_EXHAUSTED, reason: "OVERLOADED", pushbackMs: 1, retryAfterMs: 1 };

let service: FakeService;
let opened: ContactsSDK[];

beforeEach(async () => {
  service = new FakeService();
  opened = [];
  await service.start();
});

afterEach(() => {
  opened.forEach((sdk) => sdk.close());
  service.stop();
});

function sdkWith(options: ContactsSDKOptions = {}) {
  const sdk = new ContactsSDK({ target: service.target, ...options });
  opened.push(sdk);
  return sdk.contactMethods;
}

async function failureOf(call: Promise<unknown>): Promise<any> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("the call succeeded");
}

test("reads are retried while the service is unavailable, and when a stopping server cancels them", async () => {
  service.failures.push(UNAVAILABLE, { code: status.CANCELLED });

  await sdkWith().retrieve("x");

  assert.equal(service.seen.length, 3);
});

test("writes are retried with the request id of the first attempt", async () => {
  service.failures.push(UNAVAILABLE, UNAVAILABLE);
  const sdk = sdkWith();

  await sdk.create(NEW);
  await sdk.create(NEW);
  await sdk.create(NEW, { requestId: "mine" });

  const used = service.requests("create").map(({ requestId }) => requestId);
  assert.equal(used.length, 5);
  assert.deepEqual([used[0], used[0]], [used[1], used[2]]);
  assert.equal(new Set(used).size, 3);
  assert.equal(used[4], "mine");
});

test("all attempts of a call have one id in the log, which its error names", async () => {
  service.failures.push(UNAVAILABLE, { code: status.INTERNAL });

  const error = await failureOf(sdkWith().retrieve("x"));

  const ids = service.seen.map(({ metadata }) => metadata.get("x-request-id")[0]);
  assert.deepEqual(ids, [error.requestId, error.requestId]);
});

test("retries end after maxRetries", async () => {
  service.failures.push(...Array(9).fill(UNAVAILABLE));

  const error = await failureOf(sdkWith({ maxRetries: 1 }).retrieve("x"));

  assert.ok(error instanceof NetworkError);
  assert.equal(service.seen.length, 2);
});

test("maxRetries 0 disables all retries", async () => {
  service.failures.push(UNAVAILABLE, OVERLOADED);
  const sdk = sdkWith({ maxRetries: 0 });

  assert.ok((await failureOf(sdk.retrieve("x"))) instanceof NetworkError);
  assert.ok((await failureOf(sdk.retrieve("x"))) instanceof RateLimitError);
  assert.equal(service.seen.length, 2);
});

test("a service that forbids retries is not called again", async () => {
  service.failures.push({ ...UNAVAILABLE, pushbackMs: -1 });

  assert.ok((await failureOf(sdkWith().retrieve("x"))) instanceof NetworkError);
  assert.equal(service.seen.length, 1);
});

test("other failures are not retried", async () => {
  service.failures.push({ code: status.INTERNAL }, { code: status.RESOURCE_EXHAUSTED, reason: "VERIFICATION_LIMIT" });
  const sdk = sdkWith();

  assert.ok((await failureOf(sdk.create(NEW))) instanceof ServerError);
  assert.ok((await failureOf(sdk.create(NEW))) instanceof RateLimitError);
  assert.equal(service.seen.length, 2);
});

test("calls refused as overloaded are repeated within the timeout, beyond maxRetries", async () => {
  service.failures.push(...Array(4).fill(OVERLOADED));

  await sdkWith({ maxRetries: 1 }).create(NEW);

  assert.equal(service.seen.length, 5);
});

test("a call that remains overloaded is a RateLimitError with the delay that the service asks for", async () => {
  service.failures.push({ ...OVERLOADED, pushbackMs: 60_000, retryAfterMs: 60_000 });

  const error = await failureOf(sdkWith().create(NEW));

  assert.ok(error instanceof RateLimitError);
  assert.deepEqual([error.reason, error.retryAfterMs, error.code], ["OVERLOADED", 60_000, "RESOURCE_EXHAUSTED"]);
  assert.equal(service.seen.length, 1);
});

test("without transactions, writes have no request id and are not retried", async () => {
  service.transactional = false;
  const sdk = sdkWith();

  await sdk.create(NEW);
  service.failures.push(UNAVAILABLE);
  assert.ok((await failureOf(sdk.create(NEW))) instanceof NetworkError);
  assert.ok((await failureOf(sdk.create(NEW, { requestId: "mine" }))) instanceof ConflictError);

  const used = service.requests("create").map(({ requestId }) => requestId);
  assert.deepEqual([used[0] === "", ...used.slice(1)], [false, "", "", "mine"]);
});

test("a service whose database is unavailable is a ServerError after the retries", async () => {
  service.failures.push(...Array(4).fill({ ...UNAVAILABLE, reason: "STORE_UNAVAILABLE" }));

  const error = await failureOf(sdkWith().retrieve("x"));

  assert.ok(error instanceof ServerError);
  assert.deepEqual([error.code, error.reason], ["UNAVAILABLE", "STORE_UNAVAILABLE"]);
});

test("details that cannot be decoded do not hide the status", async () => {
  service.failures.push({ code: status.NOT_FOUND, rawDetails: Buffer.from([255, 1]) });

  const error = await failureOf(sdkWith().retrieve("x"));

  assert.deepEqual([error.name, error.reason, error.message], ["NotFoundError", undefined, "scripted"]);
});

test("every call carries key and environment, and neither is shown", async () => {
  const sdk = new ContactsSDK({ target: service.target, apiKey: " secret\n", environment: "test" });
  opened.push(sdk);

  await sdk.contactMethods.retrieve("x");

  const metadata = service.seen[0]?.metadata;
  assert.deepEqual(metadata?.get("authorization"), ["Bearer secret"]);
  assert.deepEqual(metadata?.get("x-environment"), ["test"]);
  const { inspect } = await import("node:util");
  assert.doesNotMatch(inspect(sdk, { depth: 9, showHidden: true }), /secret/);
});

test("every call has a timeout, of the client or its own", async () => {
  service.silent = true;

  assert.ok((await failureOf(sdkWith({ timeoutMs: 50 }).retrieve("x"))) instanceof TimeoutError);
  assert.ok((await failureOf(sdkWith().retrieve("x", { timeoutMs: 50 }))) instanceof TimeoutError);
  assert.ok((await failureOf(sdkWith({ timeoutMs: 50 }).create(NEW))) instanceof APIError);
});

test("an aborted signal ends a call before it is sent", async () => {
  const reason = new Error("no longer needed");

  assert.equal(await failureOf(sdkWith().create(NEW, { signal: AbortSignal.abort(reason) })), reason);
  assert.equal(await failureOf(collectAll(sdkWith().iterate({}, { signal: AbortSignal.abort(reason) }))), reason);
  assert.equal(service.seen.length, 0);
});

test("a signal ends a call in flight, at the service as well, and it is not retried", async () => {
  service.silent = true;
  const controller = new AbortController();
  const call = failureOf(sdkWith().create(NEW, { signal: controller.signal }));
  await service.received("create", 1);

  controller.abort();

  assert.equal((await call).name, "AbortError");
  await service.cancelled;
  assert.equal(service.seen.length, 1);
});

test("one signal serves many calls without a warning", async () => {
  const warnings: string[] = [];
  const onWarning = ({ name }: Error) => warnings.push(name);
  process.on("warning", onWarning);
  const controller = new AbortController();
  const sdk = sdkWith();

  await Promise.all(Array.from({ length: 30 }, () => sdk.retrieve("x", { signal: controller.signal })));
  // Warnings are emitted in the next tick.
  await new Promise(setImmediate);
  process.off("warning", onWarning);

  assert.deepEqual(warnings, []);
});

test("a signal ends the wait before a retry", async () => {
  service.failures.push({ ...OVERLOADED, pushbackMs: 60_000 });
  const controller = new AbortController();
  const call = failureOf(sdkWith({ timeoutMs: 600_000 }).create(NEW, { signal: controller.signal }));
  await service.received("create", 1);

  controller.abort(new Error("stop"));

  assert.equal((await call).message, "stop");
});

test("a signal ends an iteration", async () => {
  service.pages.push(page("after-a", "a"), "hang");
  const controller = new AbortController();
  const records = sdkWith().iterate({}, { signal: controller.signal });
  assert.equal((await records.next()).value?.id, "a");
  const rest = failureOf(records.next());

  controller.abort(new Error("stop"));

  assert.equal((await rest).message, "stop");
  await service.cancelled;
});

test("an iteration that is left early ends the stream at the service", async () => {
  service.pages.push(page("after-b", "a", "b"), "hang");

  const first = await getFirst(sdkWith().iterate());

  assert.equal(first?.id, "a");
  await service.cancelled;
});

test("a broken stream is resumed where it stopped", async () => {
  service.pages.push(
    page("after-b", "a", "b"),
    UNAVAILABLE,
    page("after-c", "c"),
    { code: status.DEADLINE_EXCEEDED },
    page("", "d"),
  );

  const found = await collectAll(sdkWith().iterate());

  assert.deepEqual(
    found.map(({ id }) => id),
    ["a", "b", "c", "d"],
  );
  assert.deepEqual(
    service.requests("stream").map(({ pageToken }) => pageToken),
    ["start", "after-b", "after-c"],
  );
});

test("a stream that is refused as overloaded is repeated", async () => {
  service.pages.push(OVERLOADED, OVERLOADED, page("", "a"));

  assert.equal((await collectAll(sdkWith().iterate())).length, 1);
});

test("a stream that delivers nothing ends with its error", async () => {
  service.pages.push(page("after-a", "a"), { code: status.DEADLINE_EXCEEDED }, { code: status.DEADLINE_EXCEEDED });

  assert.ok((await failureOf(collectAll(sdkWith().iterate()))) instanceof TimeoutError);
});

test("collectUpTo takes no more than it is asked for", async () => {
  service.pages.push(page("after-c", "a", "b", "c"), "hang");
  const sdk = sdkWith();

  assert.equal((await collectUpTo(sdk.iterate(), 2)).length, 2);
  assert.deepEqual(await collectUpTo(sdk.iterate(), 0), []);
  await assert.rejects(collectUpTo([1], -1), RangeError);
  assert.deepEqual(await collectAll([1, 2]), [1, 2]);
  assert.equal(await getFirst([]), undefined);
});

test("a type of a newer service is read as other", async () => {
  service.record = { ...service.record, type: 99 as never };

  assert.equal((await sdkWith().retrieve("x")).type, "other");
});

test("records are frozen, with absent fields absent", async () => {
  const record = await sdkWith().retrieve("x");

  assert.ok(Object.isFrozen(record) && Object.isFrozen(record.metadata));
  assert.ok(!("label" in record) && !("verifiedAt" in record));
});

test("a closed client opens another connection", async () => {
  const sdk = new ContactsSDK({ target: service.target });
  opened.push(sdk);
  await sdk.contactMethods.retrieve("x");

  sdk.close();
  await sdk.contactMethods.retrieve("x");

  assert.equal(service.seen.length, 2);
});

test("an error is written as JSON without its cause", async () => {
  service.failures.push({ code: status.ABORTED, reason: "ETAG_MISMATCH" });

  const error = await failureOf(sdkWith().create(NEW));

  assert.ok(error instanceof ConflictError && error instanceof APIError && error instanceof ContactsError);
  assert.ok(error.cause instanceof Error);
  assert.deepEqual(JSON.parse(JSON.stringify(error)), {
    name: "ConflictError",
    message: "scripted",
    code: "ABORTED",
    reason: "ETAG_MISMATCH",
    requestId: error.requestId,
    metadata: {},
    issues: [],
  });
});
