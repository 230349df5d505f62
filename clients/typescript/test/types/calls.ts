/** What a strict compiler accepts and refuses: compiled with the tests, never run. */

import {
  type AtomicBatch,
  collectAll,
  type ContactMethod,
  type ContactMethodType,
  contains,
  ContactsSDK,
  getFirst,
  oneOf,
  type PartialBatch,
  type StartedVerification,
  ValidationError,
  type WrittenContactMethod,
} from "contactsvc-client";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function expectType<_ extends true>(): void {}

export async function accepted(sdk: ContactsSDK, type: ContactMethodType): Promise<void> {
  const created = await sdk.contactMethods.create({ clientId: "c", type, value: "v", label: null, externalId: "x" });
  expectType<Equal<typeof created, WrittenContactMethod>>();
  expectType<Equal<ContactMethod["label"], string | undefined>>();
  expectType<Equal<ContactMethod["type"], "email" | "phone" | "fax" | "other">>();
  expectType<Equal<ContactMethod["createdAt"], Date>>();

  const primary = await sdk.contactMethods.getPrimary("c", "email");
  expectType<Equal<typeof primary, ContactMethod | null>>();

  const atomic = await sdk.contactMethods.createMany([]);
  expectType<Equal<typeof atomic, AtomicBatch<WrittenContactMethod>>>();
  const partial = await sdk.contactMethods.createMany([], { atomic: false });
  expectType<Equal<typeof partial, PartialBatch<WrittenContactMethod>>>();
  const either = await sdk.contactMethods.createMany([], { atomic: Math.random() < 2 });
  if (either.atomic) {
    expectType<Equal<typeof either, AtomicBatch<WrittenContactMethod>>>();
  } else {
    either.failed.map(({ index, error }) => [index, error.code]);
  }

  await sdk.contactMethods.update("id", { label: null, metadata: { a: null } }, { requestId: "r", timeoutMs: 1 });
  await sdk.contactMethods.list({
    filter: { type: oneOf("email", "fax"), value: contains("x"), clientId: ["a", "b"] },
  });
  await sdk.contactMethods.list({ sort: ["-createdAt", "updatedAt"] });
  await sdk.contactMethods.sync("c", [
    { type: "email", value: "v" },
    { id: "i", delete: true },
  ]);
  await sdk.contactMethods.delete("id", { onPrimary: "promoteNext", signal: AbortSignal.timeout(1) });
  const started = await sdk.contactMethods.startVerification("id", { etag: "e" });
  expectType<Equal<typeof started, StartedVerification>>();
  expectType<Equal<typeof started.code, string | null>>();
  const checked = await sdk.contactMethods.checkVerification("id", "123456");
  expectType<Equal<typeof checked.result, "verified" | "wrongCode">>();
  const attested = await sdk.contactMethods.setVerification("id", true, { verifiedAt: new Date(), method: "letter" });
  expectType<Equal<typeof attested, ContactMethod>>();
  const all = await collectAll(sdk.contactMethods.iterate({ isPrimary: true }));
  expectType<Equal<typeof all, ContactMethod[]>>();
  const first = await getFirst(sdk.contactMethods.iterate());
  expectType<Equal<typeof first, ContactMethod | undefined>>();
  new ContactsSDK({ target: "h:1", apiKey: "k", environment: "test", tls: { ca: "pem" }, timeoutMs: 1, maxRetries: 0 });
  new ValidationError("m").issues.map(({ path, message }) => path + message);
}

export async function refused(sdk: ContactsSDK, text: string): Promise<void> {
  // @ts-expect-error a wrong type
  await sdk.contactMethods.create({ clientId: "c", type: "emial", value: "v" });
  // @ts-expect-error any text
  await sdk.contactMethods.create({ clientId: "c", type: text, value: "v" });
  // @ts-expect-error no client id
  await sdk.contactMethods.create({ type: "email", value: "v" });
  // @ts-expect-error no value
  await sdk.contactMethods.create({ clientId: "c", type: "email" });
  // @ts-expect-error the service alone verifies
  await sdk.contactMethods.create({ clientId: "c", type: "email", value: "v", isVerified: true });
  // @ts-expect-error the service alone verifies
  await sdk.contactMethods.update("id", { isVerified: true });
  // @ts-expect-error the client of a record never changes
  await sdk.contactMethods.update("id", { clientId: "c" });
  // @ts-expect-error a value cannot be cleared
  await sdk.contactMethods.update("id", { value: null });
  // @ts-expect-error a wrong type in an item
  await sdk.contactMethods.createMany([{ clientId: "c", type: "mail", value: "v" }]);
  // @ts-expect-error no client id in an item
  await sdk.contactMethods.createMany([{ type: "email", value: "v" }]);
  // @ts-expect-error no id in an item
  await sdk.contactMethods.updateMany([{ label: "L" }]);
  // @ts-expect-error null in a filter
  await sdk.contactMethods.list({ filter: { clientId: null } });
  // @ts-expect-error an unknown filter field
  await sdk.contactMethods.list({ filter: { colour: "red" } });
  // @ts-expect-error a wrong type in a filter
  await sdk.contactMethods.list({ filter: { type: "mail" } });
  // @ts-expect-error a wrong type in a list of conditions
  await sdk.contactMethods.list({ filter: { type: oneOf("email", "mail") } });
  // @ts-expect-error no condition
  await sdk.contactMethods.list({ filter: { type: oneOf() } });
  // @ts-expect-error part of a label
  await sdk.contactMethods.list({ filter: { label: contains("x") } });
  // @ts-expect-error an unknown sort field
  await sdk.contactMethods.list({ sort: "value" });
  // @ts-expect-error an unknown policy
  await sdk.contactMethods.delete("id", { onPrimary: "keep" });
  // @ts-expect-error a code is text, since it may begin with zeros
  await sdk.contactMethods.checkVerification("id", 123456);
  // @ts-expect-error a verification is set or cleared
  await sdk.contactMethods.setVerification("id");
  // @ts-expect-error an item that writes needs type and value
  await sdk.contactMethods.sync("c", [{ id: "i" }]);
  // @ts-expect-error an unknown environment
  new ContactsSDK({ environment: "prod" });
  // @ts-expect-error an unknown option
  await sdk.contactMethods.retrieve("id", { timeout: 1 });
  const record = await sdk.contactMethods.retrieve("id");
  // @ts-expect-error records are read only
  record.label = "L";
  // @ts-expect-error so is their metadata
  record.metadata["a"] = "b";
  // @ts-expect-error a primary may be missing
  (await sdk.contactMethods.getPrimary("c", "email")).value;
}
