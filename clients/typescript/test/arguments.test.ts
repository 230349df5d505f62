/** Arguments and options that are refused before anything is sent. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ContactsSDK, type ContactsSDKOptions, ValidationError } from "contactsvc-client";

// Nothing listens there: a call that were sent would be a NetworkError.
const sdk = new ContactsSDK({ target: "127.0.0.1:1", maxRetries: 0 }).contactMethods as any;
const NEW = { clientId: "c", type: "email", value: "a@example.com" };

const REFUSED: [name: string, path: string, call: () => unknown][] = [
  ["undefined in a filter", "filter.clientId", () => sdk.list({ filter: { clientId: undefined } })],
  ["null in a filter", "filter.isPrimary", () => sdk.list({ filter: { isPrimary: null } })],
  ["null as a filter", "filter", () => sdk.list({ filter: null })],
  ["undefined in the filter of an iteration", "filter.type", async () => sdk.iterate({ type: undefined })],
  ["a list as a filter", "filter", () => sdk.list({ filter: ["c"] })],
  ["a wrong value in a list of a filter", "filter.id", () => sdk.list({ filter: { id: ["a", 1] } })],
  ["an invalid date", "filter.createdBefore", () => sdk.list({ filter: { createdBefore: new Date("x") } })],
  ["an unknown enum string", "type", () => sdk.create({ ...NEW, type: "EMAIL" })],
  ["an unknown enum string in a batch", "requests[1].type", () => sdk.createMany([NEW, { ...NEW, type: "mail" }])],
  ["a number as type", "type", () => sdk.create({ ...NEW, type: 1 })],
  ["an unknown field", "isVerified", () => sdk.update("id", { isVerified: true })],
  ["a field in snake case", "client_id", () => sdk.create({ ...NEW, client_id: "c" })],
  ["an id among the changes", "id", () => sdk.update("a", { id: "b" })],
  ["null in an etag, which would match any", "etag", () => sdk.update("a", { label: "L", etag: null })],
  ["a missing argument", "", () => sdk.create()],
  ["an id that is no string", "id", () => sdk.update(1, { label: "L" })],
  ["lone surrogates, which would change on the wire", "label", () => sdk.create({ ...NEW, label: "\ud83d" })],
  ["a string as ids", "ids", () => sdk.deleteMany("abc")],
  ["an id in a list that is no string", "ids[1]", () => sdk.retrieveMany(["a", 2])],
  ["an unknown option", "options.timeout", () => sdk.retrieve("id", { timeout: 1 })],
  ["a request id of a read", "options.requestId", () => sdk.retrieve("id", { requestId: "r" })],
  ["a request id among the fields", "requestId", () => sdk.create({ ...NEW, requestId: "r" })],
  ["a request id that is no string", "requestId", () => sdk.create(NEW, { requestId: 1 })],
  ["atomic that is no boolean", "options.atomic", () => sdk.createMany([NEW], { atomic: "no" })],
  ["a timeout of zero", "timeoutMs", () => sdk.retrieve("id", { timeoutMs: 0 })],
  ["an endless timeout", "timeoutMs", () => sdk.retrieve("id", { timeoutMs: Infinity })],
  ["a signal that is none", "signal", () => sdk.retrieve("id", { signal: {} })],
  ["a fraction as limit", "limit", () => sdk.list({ limit: 1.5 })],
  ["a code that is a number", "code", () => sdk.checkVerification("id", 123456)],
  ["a verification that is neither set nor cleared", "verified", () => sdk.setVerification("id", "yes")],
  ["a time as text", "verifiedAt", () => sdk.setVerification("id", true, { verifiedAt: "2026-11-27" })],
  ["a value of a start", "options.value", () => sdk.startVerification("id", { value: "a@example.com" })],
  ["an unknown query field", "query.pageSize", () => sdk.list({ pageSize: 5 })],
];

for (const [name, path, call] of REFUSED) {
  test(`refused: ${name}`, async () => {
    await assert.rejects(
      async () => call(),
      (error: unknown) => {
        assert.ok(error instanceof ValidationError, String(error));
        assert.deepEqual(
          [error.issues[0]?.path, error.code, error.reason, error.requestId],
          [path, "INVALID_ARGUMENT", "INVALID_FIELD", undefined],
        );
        return true;
      },
    );
  });
}

const BAD_OPTIONS: [name: string, path: string, options: object][] = [
  ["no target", "target", {}],
  ["a target without a port", "target", { target: "localhost" }],
  ["a target with a scheme", "target", { target: "https://localhost:50051" }],
  ["a bare IPv6 address", "target", { target: "::1:50051" }],
  ["an unknown environment", "environment", { target: "h:1", environment: "prod" }],
  ["a key that is not ASCII", "apiKey", { target: "h:1", apiKey: "clé" }],
  ["an empty key", "apiKey", { target: "h:1", apiKey: "" }],
  ["a negative number of retries", "maxRetries", { target: "h:1", maxRetries: -1 }],
  ["a timeout of zero", "timeoutMs", { target: "h:1", timeoutMs: 0 }],
  ["a certificate without its key", "tls", { target: "h:1", tls: { cert: "x" } }],
  ["certificates that are no PEM", "tls", { target: "h:1", tls: { ca: "x", cert: "x", key: "x" } }],
  ["an unknown TLS option", "tls.certificate", { target: "h:1", tls: { certificate: "x" } }],
  ["an unknown option", "options.apikey", { target: "h:1", apikey: "k" }],
];

for (const [name, path, options] of BAD_OPTIONS) {
  test(`refused by the client: ${name}`, () => {
    assert.throws(
      () => new ContactsSDK(options as ContactsSDKOptions),
      (error: unknown) => error instanceof ValidationError && error.issues[0]?.path === path,
    );
  });
}

for (const target of ["localhost:50051", "[::1]:50051", "dns:///host:50051", "unix:/tmp/socket"]) {
  test(`accepted as target: ${target}`, () => {
    new ContactsSDK({ target }).close();
  });
}

test("a message never quotes the value", async () => {
  await assert.rejects(sdk.create({ ...NEW, value: { secret: 1 } }), (error: Error) => !/secret/.test(error.message));
});

test("a misspelt name is answered with the right one", async () => {
  await assert.rejects(sdk.create({ ...NEW, client_id: "c" }), /did you mean clientId\?/);
  await assert.rejects(sdk.list({ filter: { clientIds: ["c"] } }), /did you mean clientId\?/);
});
