/**
 * Creates two contact methods, promotes one, reads the reason of an error, and repeats a write safely.
 *
 * CONTACTSVC_TARGET is the address of the service (localhost:50051 by default), CONTACTSVC_API_KEY its API key, if any.
 */

import { randomUUID } from "node:crypto";

import { ContactsSDK, ValidationError } from "contactsvc-client";

const sdk = new ContactsSDK({
  target: process.env["CONTACTSVC_TARGET"] ?? "localhost:50051",
  // While the service is unavailable, the client retries within the timeout: reads, and writes with their request id.
  maxRetries: 5,
  timeoutMs: 5_000,
});
const contacts = sdk.contactMethods;

// A new client id in each run.
const clientId = `client_${randomUUID().slice(0, 8)}`;
const requestId = randomUUID();
const contactMethod = { clientId, type: "email", value: "juan@example.com", isPrimary: true } as const;

const personal = await contacts.create(contactMethod, { requestId });
console.log(`created ${personal.value}, primary: ${personal.isPrimary}`);

// Promoting one record demotes the other, in the same step.
const work = await contacts.create({ clientId, type: "email", value: "juan@work.example.com" });
await contacts.update(work.id, { isPrimary: true });
const primary = await contacts.getPrimary(clientId, "email");
console.log(`primary is now ${primary?.value}`);

try {
  await contacts.create({ clientId, type: "phone", value: "12" });
} catch (error) {
  if (!(error instanceof ValidationError)) {
    throw error;
  }
  console.log(`refused: ${error.code} ${error.reason}, field ${error.issues[0]?.path}`);
}

// The client generates a request id for every write. With your own, a repeated write has no further effect.
const again = await contacts.create(contactMethod, { requestId });
console.log(`repeated: ${again.id === personal.id ? "the same record" : "another record"}`);

sdk.close();
