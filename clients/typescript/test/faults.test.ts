/** The client while its service is killed, drained or overloaded, and with large batches. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { collectAll, collectUpTo, ContactsSDK, RateLimitError, ValidationError } from "contactsvc-client";

import { makeDataDir, removeDataDir, type Service, startService } from "./service.js";

const WRITERS = 8;
const PER_WRITER = 20;
const PATIENT = { timeoutMs: 60_000, maxRetries: 1_000 };

let dataDir: string;
let service: Service;

before(async () => {
  dataDir = await makeDataDir();
  service = await startService(dataDir);
});

after(async () => {
  await service.stop();
  await removeDataDir(dataDir);
});

/** Starts the service again where it was. */
async function restart(...flags: string[]): Promise<void> {
  service = await startService(dataDir, "--listen", service.target, ...flags);
}

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`writers beside a ${signal} and a restart write every record once`, async () => {
    const sdk = new ContactsSDK({ target: service.target, ...PATIENT });
    const clientId = `client_${signal}`;
    let written = 0;
    let onHalf: () => void;
    const half = new Promise<void>((resolve) => (onHalf = resolve));
    const writers = Array.from({ length: WRITERS }, async (_, writer) => {
      for (let number = 0; number < PER_WRITER; number++) {
        await sdk.contactMethods.create({ clientId, type: "other", value: `${writer}-${number}` });
        if (++written === (WRITERS * PER_WRITER) / 4) onHalf();
      }
    });

    await half;
    await service.stop(signal);
    await restart();
    await Promise.all(writers);

    const values = (await collectAll(sdk.contactMethods.iterate({ clientId }))).map(({ value }) => value);
    assert.equal(values.length, WRITERS * PER_WRITER);
    assert.equal(new Set(values).size, values.length);
    sdk.close();
  });
}

test("250 large records are created, listed and streamed", async () => {
  const sdk = new ContactsSDK({ target: service.target, timeoutMs: 60_000 });
  const clientId = "client_large";
  // The request has 4.0 MB, the response more than the 4 MiB that gRPC receives by default.
  const metadataOf = (pairs: number) =>
    Object.fromEntries(Array.from({ length: pairs }, (_, index) => [`key_${index}`, "v".repeat(500)]));
  const item = { clientId, type: "other", value: "😀".repeat(512), metadata: metadataOf(26) } as const;

  const { data } = await sdk.contactMethods.createMany(Array(250).fill(item));
  const found = await collectAll(sdk.contactMethods.iterate({ clientId }));

  assert.equal(data.length, 250);
  assert.deepEqual(new Set(found.map(({ id }) => id)), new Set(data.map(({ id }) => id)));
  assert.ok(found.every(({ value, metadata: pairs }) => value === item.value && pairs["key_25"]?.length === 500));
  assert.equal((await collectUpTo(sdk.contactMethods.iterate({ clientId }, { pageSize: 10 }), 25)).length, 25);
  const tooLarge = { ...item, metadata: metadataOf(40) };
  await assert.rejects(
    sdk.contactMethods.createMany(Array(250).fill(tooLarge)),
    (error: unknown) => error instanceof ValidationError && /larger than max/.test(error.message),
  );
  sdk.close();
});

test("calls beyond the limit of the service are repeated until they are done", async () => {
  await service.stop();
  await restart("--max-in-flight", "1");
  const clientId = "client_overloaded";
  const patient = new ContactsSDK({ target: service.target, ...PATIENT });
  const hasty = new ContactsSDK({ target: service.target, maxRetries: 0 });
  const create = (sdk: ContactsSDK, value: number) =>
    sdk.contactMethods.create({ clientId, type: "other", value: `${value}` });

  const outcomes = await Promise.allSettled(Array.from({ length: 40 }, (_, value) => create(hasty, value)));
  await Promise.all(Array.from({ length: 40 }, (_, value) => create(patient, 100 + value)));

  const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  assert.ok(refused.length > 0);
  for (const error of refused) {
    assert.ok(error instanceof RateLimitError && error.reason === "OVERLOADED" && Number(error.retryAfterMs) > 0);
  }
  const { length } = await collectAll(patient.contactMethods.iterate({ clientId }));
  assert.equal(length, 80 - refused.length);
  patient.close();
  hasty.close();
});
