/** Every snippet of the guide, unchanged, and those of the READMEs and docs, against a service. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, mock, test } from "node:test";

import { contactsvc, makeDataDir, removeDataDir, type Service, startService } from "./service.js";

// The id that the guide uses for a record that exists. Its client is another than that of the creates, which would
// otherwise take its primary flag.
const GUIDE_ID = "contact_xyz789";
const CLIENT = "client_abc123";
const SNIPPETS = readdirSync(join(import.meta.dirname, "guide"))
  .filter((name) => /^snippet\d+\.js$/.test(name))
  .sort();

let dataDir: string;
let service: Service;

before(async () => {
  dataDir = await makeDataDir();
  service = await startService(dataDir);
  process.env["CONTACTSVC_TARGET"] = service.target;
  await restoreGuideRecord("juan@example.com", true);
});

after(async () => {
  const { sdk } = await import("./guide_sdk.js");
  sdk.close();
  await service.stop();
  await removeDataDir(dataDir);
});

test("every snippet of the guide is run", () => {
  const guide = readFileSync(join(import.meta.dirname, "../guide.md"), "utf8");
  assert.equal(SNIPPETS.length, guide.match(/^```ts$/gm)?.length);
  assert.ok(SNIPPETS.length > 0);
});

for (const name of SNIPPETS) {
  test(`${name} runs unchanged`, async () => {
    const source = readFileSync(join(import.meta.dirname, "../guide", name.replace(/js$/, "ts")), "utf8");
    const log = mock.method(console, "log", () => undefined);
    try {
      await import(`./guide/${name}`);
    } finally {
      log.mock.restore();
    }
    const logged = log.mock.calls.map(({ arguments: [line] }) => line);
    await checkEffect(source, logged);
    if (source.includes(`.delete("${GUIDE_ID}")`)) {
      // The guide updates the record after it has deleted it: from here on, the id belongs to another record.
      await restoreGuideRecord("other@example.com", false);
    }
  });
}

test("the effects of all snippets together", async () => {
  const { sdk } = await import("./guide_sdk.js");

  const { data } = await sdk.contactMethods.listByClient(CLIENT);
  const updated = await sdk.contactMethods.retrieve(GUIDE_ID);

  assert.deepEqual(
    data.map(({ type, value, label, isPrimary }) => [type, value, label, isPrimary]),
    [
      ["email", "juan@example.com", "Personal", true],
      ["phone", "+52 55 1234 5678", "Mobile", false],
      ["email", "work@company.com", "Work", false],
      ["phone", "+52 55 9876 5432", "Work", false],
    ],
  );
  assert.equal(updated.isPrimary, true);
  assert.ok(updated.createdAt instanceof Date && updated.updatedAt instanceof Date);
});

for (const name of ["readme.js", "project_readme.js", "docs.js"]) {
  test(`the examples in ${name} run`, async () => {
    await import(`./guide/${name}`);
  });
}

/** Checks what a snippet printed, or changed, beyond having run. */
async function checkEffect(source: string, logged: unknown[]): Promise<void> {
  const { sdk } = await import("./guide_sdk.js");
  if (source.includes(".retrieve(")) {
    assert.deepEqual(logged, ["email", "juan@example.com", true]);
  } else if (source.includes(".listByClient(")) {
    assert.deepEqual(logged, ["email: juan@example.com", "phone: +52 55 1234 5678"]);
  } else if (source.includes(".getPrimary(")) {
    assert.deepEqual(logged, ["Primary email: juan@example.com"]);
  } else if (source.includes("new.email@example.com")) {
    const changed = await sdk.contactMethods.retrieve(GUIDE_ID);
    assert.deepEqual([changed.value, changed.isPrimary], ["new.email@example.com", true]);
  }
}

/** Restores a record with the id of the guide from a file as `contactsvc export` writes it. */
async function restoreGuideRecord(value: string, isPrimary: boolean): Promise<void> {
  const now = new Date().toISOString();
  const lines = [
    { contactsvc_export: 1, environment: "live", changed_from: now },
    {
      id: GUIDE_ID,
      client_id: "client_of_the_guide",
      type: "email",
      value,
      normalized_value: value,
      is_primary: isPrimary,
      metadata: {},
      created_at: now,
      updated_at: now,
    },
  ];
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  const trailer = { lines: 1, sha256: createHash("sha256").update(text).digest("hex") };
  const file = join(dataDir, "guide.jsonl");
  await writeFile(file, `${text}${JSON.stringify(trailer)}\n`);
  await contactsvc("import", file, "--environment", "live", "--data-dir", dataDir);
}
