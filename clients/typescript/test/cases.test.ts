/** The client against the table of cases that all clients share; tests/cases/client_calls.json describes itself. */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import assert from "node:assert/strict";

import { Server, ServerCredentials } from "@grpc/grpc-js";
import { collectAll, contains, ContactsError, ContactsSDK, oneOf } from "contactsvc-client";

import { contactsvc, makeDataDir, removeDataDir, type Service, startService } from "./service.js";

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Named = Record<string, any>;

interface Step {
  readonly call: string;
  readonly with: Json;
  readonly on?: string;
  readonly as?: string;
  readonly expect?: Json;
  readonly expectTypescript?: Json;
  readonly error?: Json;
  readonly errorTypescript?: Json;
}

const TABLE = join(import.meta.dirname, "../../../../tests/cases/client_calls.json");
const { cases } = JSON.parse(readFileSync(TABLE, "utf8")) as { cases: { name: string; steps: Step[] }[] };

const clients = new Map<string, ContactsSDK>();
let dataDir: string;
let service: Service;
let stranger: Server;

before(async () => {
  dataDir = await makeDataDir();
  const key = (environment: string, allowed: string) =>
    contactsvc(
      "keys",
      "create",
      "--name",
      "cases",
      "--environment",
      environment,
      "--allow",
      allowed,
      "--data-dir",
      dataDir,
    );
  const full = await key("test", "read,write,delete,erase,verify,attest");
  const reader = await key("test", "read");
  const verifier = await key("test", "verify");
  service = await startService(dataDir);
  stranger = new Server();
  const port = await new Promise<number>((resolve, reject) =>
    stranger.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const { target } = service;
  clients.set("default", new ContactsSDK({ target, apiKey: full }));
  clients.set("reader", new ContactsSDK({ target, apiKey: reader }));
  clients.set("verifier", new ContactsSDK({ target, apiKey: verifier }));
  clients.set("anonymous", new ContactsSDK({ target }));
  clients.set("wrongKey", new ContactsSDK({ target, apiKey: "wrong" }));
  clients.set("otherEnvironment", new ContactsSDK({ target, apiKey: full, environment: "live" }));
  clients.set("unreachable", new ContactsSDK({ target: "127.0.0.1:1" }));
  clients.set("stranger", new ContactsSDK({ target: `127.0.0.1:${port}` }));
});

after(async () => {
  clients.forEach((client) => client.close());
  stranger.forceShutdown();
  await service.stop();
  await removeDataDir(dataDir);
});

for (const { name, steps } of cases) {
  test(name, async () => {
    const caseId = `case_${randomUUID()}`;
    const outcomes: Named = {};
    for (const [number, step] of steps.entries()) {
      const at = `step ${number}, ${step.call}`;
      const client = clients.get(step.on ?? "default");
      assert.ok(client, at);
      const expectedError = step.errorTypescript ?? step.error;
      let outcome: unknown;
      try {
        outcome = plain(await call(client, step.call, argumentsOf(step.with, caseId, outcomes) as Named));
      } catch (error) {
        if (!(error instanceof ContactsError) || expectedError === undefined) {
          throw error;
        }
        check(expectedError, plain(error), caseId, outcomes, at);
        continue;
      }
      assert.equal(expectedError, undefined, `${at} succeeded`);
      for (const expected of [step.expect, step.expectTypescript]) {
        if (expected !== undefined) {
          check(expected, outcome, caseId, outcomes, at);
        }
      }
      if (step.as !== undefined) {
        outcomes[step.as] = outcome;
      }
    }
  });
}

/** Calls a method with arguments by name. */
function call(client: ContactsSDK, method: string, named: Named): unknown {
  const sdk = client.contactMethods;
  const { timeoutMs, requestId, ...rest } = named;
  const options = { ...(timeoutMs !== undefined && { timeoutMs }), ...(requestId !== undefined && { requestId }) };
  const { id, clientId, externalId, items, ids, key, value, type, filter, code, verified } = rest as Named;
  const fields = (...names: string[]): any => omit(rest, names);
  const without = (...names: string[]): any => omit({ ...rest, ...options }, names);
  switch (method) {
    case "create":
      return sdk.create(rest as any, options);
    case "update":
      return sdk.update(id, fields("id"), options);
    case "upsertByExternalId":
      return sdk.upsertByExternalId(externalId, fields("externalId"), options);
    case "list":
      return sdk.list(rest, options);
    case "retrieve":
      return sdk.retrieve(id, options);
    case "retrieveByExternalId":
      return sdk.retrieveByExternalId(externalId, options);
    case "retrieveByMetadata":
      return sdk.retrieveByMetadata(key, value, without("key", "value"));
    case "retrieveMany":
    case "deleteMany":
      return sdk[method](ids, without("ids"));
    case "listByClient":
    case "eraseClient":
      return sdk[method](clientId, without("clientId"));
    case "iterate":
      return collectAll(sdk.iterate(filter, without("filter")));
    case "getPrimary":
      return sdk.getPrimary(clientId, type, options);
    case "startVerification":
      return sdk.startVerification(id, without("id"));
    case "checkVerification":
      return sdk.checkVerification(id, code, options);
    case "setVerification":
      return sdk.setVerification(id, verified, without("id", "verified"));
    case "delete":
      return sdk.delete(id, without("id"));
    case "createMany":
    case "updateMany":
    case "upsertManyByExternalId":
      return (sdk[method] as (items: any, options: any) => unknown).call(sdk, items, without("items"));
    case "sync":
      return sdk.sync(clientId, items, without("clientId", "items"));
    default:
      throw new Error(`the table names an unknown method: ${method}`);
  }
}

function omit(named: Named, names: readonly string[]): Named {
  return Object.fromEntries(Object.entries(named).filter(([name]) => !names.includes(name)));
}

/** Returns arguments of the table as this client takes them. */
function argumentsOf(written: Json, caseId: string, outcomes: Named): unknown {
  if (typeof written === "string") {
    return written.replaceAll("{c}", caseId);
  }
  if (Array.isArray(written)) {
    return written.map((entry) => argumentsOf(entry, caseId, outcomes));
  }
  if (typeof written !== "object" || written === null) {
    return written;
  }
  const { $ref, $repeat, $times, $oneOf, $contains, $date, $enum, $wrongCode } = written as Named;
  if ($ref !== undefined) return resolved($ref, outcomes);
  if ($repeat !== undefined) return $repeat[0].repeat($repeat[1]);
  if ($times !== undefined) return Array($times[0]).fill(argumentsOf($times[1], caseId, outcomes));
  if ($oneOf !== undefined) return oneOf(...(argumentsOf($oneOf, caseId, outcomes) as [string]));
  if ($contains !== undefined) return contains($contains);
  if ($date !== undefined) return new Date(argumentsOf($date, caseId, outcomes) as string);
  if ($enum !== undefined) return $enum;
  if ($wrongCode !== undefined) {
    return String((Number(resolved($wrongCode, outcomes)) + 1) % 1_000_000).padStart(6, "0");
  }
  return Object.fromEntries(
    Object.entries(written).map(([name, value]) => [name, argumentsOf(value, caseId, outcomes)]),
  );
}

/** Returns an outcome as the table writes it. */
function plain(outcome: unknown): unknown {
  if (outcome instanceof ContactsError) {
    const { name, code, reason, metadata, issues } = outcome;
    return { class: name, code, reason, metadata, paths: issues.map(({ path }) => path).sort() };
  }
  if (outcome instanceof Date) {
    return outcome.toISOString();
  }
  if (Array.isArray(outcome)) {
    return outcome.map(plain);
  }
  if (typeof outcome === "object" && outcome !== null) {
    return Object.fromEntries(Object.entries(outcome).map(([name, value]) => [name, plain(value)]));
  }
  return outcome;
}

function check(expected: Json, actual: any, caseId: string, outcomes: Named, at: string): void {
  if (Array.isArray(expected)) {
    assert.ok(Array.isArray(actual), `${at} is no list`);
    assert.equal(actual.length, expected.length, `the length of ${at}`);
    expected.forEach((entry, index) => check(entry, actual[index], caseId, outcomes, `${at}[${index}]`));
  } else if (typeof expected === "object" && expected !== null) {
    if ("$ref" in expected) {
      assert.deepEqual(actual, resolved(String(expected["$ref"]), outcomes), at);
    } else if ("$enum" in expected) {
      assert.equal(actual, expected["$enum"], at);
    } else if ("$length" in expected) {
      assert.equal(actual.length, expected["$length"], `the length of ${at}`);
    } else {
      for (const [name, value] of Object.entries(expected)) {
        const part = name === "paths" && Array.isArray(value) ? [...value].sort() : value;
        check(part, actual?.[name], caseId, outcomes, `${at}.${name}`);
      }
    }
  } else {
    assert.equal(actual ?? null, typeof expected === "string" ? expected.replaceAll("{c}", caseId) : expected, at);
  }
}

function resolved(path: string, outcomes: Named): unknown {
  return path.split(".").reduce((found: any, name) => found[name], outcomes);
}
