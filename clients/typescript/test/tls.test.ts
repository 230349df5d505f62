/** Connections with TLS, with and without client certificates. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ContactsSDK, NetworkError, type TlsOptions } from "contactsvc-client";

import { makeDataDir, removeDataDir, type Service, startService } from "./service.js";

// Made by the Python test that runs these: ca.pem, server.pem, server.key, client.pem, client.key.
const folder = process.env["CONTACTSVC_TEST_CERTIFICATES"];
const skip = folder === undefined && "CONTACTSVC_TEST_CERTIFICATES names no folder; `make test` makes one";
const pem = (name: string) => readFileSync(join(folder ?? "", name));

let dataDir: string;
let service: Service;

before(async () => {
  if (folder === undefined) return;
  dataDir = await makeDataDir();
  service = await startService(
    dataDir,
    ...["--tls-cert", join(folder, "server.pem"), "--tls-key", join(folder, "server.key")],
    ...["--tls-client-ca", join(folder, "ca.pem")],
  );
});

after(async () => {
  if (folder === undefined) return;
  await service.stop();
  await removeDataDir(dataDir);
});

async function primary(tls: boolean | TlsOptions): Promise<unknown> {
  const sdk = new ContactsSDK({ target: service.target, tls, maxRetries: 0 });
  try {
    return await sdk.contactMethods.getPrimary("c", "email");
  } finally {
    sdk.close();
  }
}

test("a client with a certificate that the service requires is served", { skip }, async () => {
  const certificates = { ca: pem("ca.pem"), cert: pem("client.pem"), key: pem("client.key") };

  assert.equal(await primary(certificates), null);
  assert.equal(await primary({ ...certificates, ca: certificates.ca.toString() }), null);
});

test("without a certificate, or an authority that is trusted, a client is not", { skip }, async () => {
  await assert.rejects(primary({ ca: pem("ca.pem") }), NetworkError);
  await assert.rejects(primary(true), NetworkError);
  await assert.rejects(primary(false), NetworkError);
});
