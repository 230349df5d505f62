/** The package as it is published. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const MAX_BYTES = 60_000;

let folder: string;
let packed: string;
let files: string[];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "contactsvc-package-"));
  // dist is fresh: it was built together with these tests.
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
    cwd: ROOT,
  });
  const [report] = Object.values(JSON.parse(stdout)) as { filename: string; files: { path: string }[] }[];
  assert.ok(report);
  packed = join(folder, report.filename);
  files = report.files.map(({ path }) => path);
});

after(() => rm(folder, { recursive: true, force: true }));

test("it is small and holds what callers need", async () => {
  assert.ok((await stat(packed)).size < MAX_BYTES);
  assert.ok(files.includes("dist/index.js") && files.includes("dist/index.d.ts") && files.includes("README.md"));
  assert.deepEqual(
    files.filter((path) => !/^(dist\/|README\.md$|LICENSE$|package\.json$)/.test(path)),
    [],
  );
});

test("it is licensed, and needs two packages at run time", async () => {
  const { license, dependencies, engines, type } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));

  assert.deepEqual(Object.keys(dependencies), ["@bufbuild/protobuf", "@grpc/grpc-js"]);
  assert.deepEqual([license, engines.node, type], ["MIT", ">=20", "module"]);
});

test("the lock file names no registry", async () => {
  const { packages } = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8"));

  const entries = Object.values(packages) as { resolved?: string }[];
  assert.ok(entries.length > 10);
  assert.ok(entries.every(({ resolved }) => resolved === undefined));
});

test("its declarations are complete", async () => {
  const pending = ["dist/index.d.ts"];
  for (const path of pending) {
    assert.ok(files.includes(path), `${path} is not in the package`);
    const text = await readFile(join(ROOT, path), "utf8");
    for (const [, imported] of text.matchAll(/from "(\.[^"]+)\.js"/g)) {
      const next = join(path, "..", `${imported}.d.ts`);
      if (!pending.includes(next)) {
        pending.push(next);
      }
    }
  }
  assert.ok(pending.length > 5);
});

test("installed elsewhere, it compiles strictly and runs", async () => {
  const caller = join(folder, "caller");
  const installed = join(caller, "node_modules/contactsvc-client");
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", packed, "-C", installed, "--strip-components", "1"]);
  for (const name of await readdir(join(ROOT, "node_modules"))) {
    await symlink(join(ROOT, "node_modules", name), join(caller, "node_modules", name));
  }
  await writeFile(join(caller, "package.json"), '{ "type": "module" }');
  await writeFile(
    join(caller, "caller.ts"),
    `import { ContactsSDK, ValidationError } from "contactsvc-client";
     const sdk = new ContactsSDK({ target: "127.0.0.1:1" });
     const label: string | undefined = await sdk.contactMethods
       .list({ filter: { clientId: [] } })
       .then(({ data }) => data[0]?.label, (error) => (error instanceof ValidationError ? "refused" : "sent"));
     console.log(label);`,
  );
  const options = [
    "--strict",
    "--target",
    "es2022",
    "--module",
    "nodenext",
    "--skipLibCheck",
    "--exactOptionalPropertyTypes",
  ];

  await run(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), ...options, "caller.ts"], {
    cwd: caller,
  });
  const { stdout } = await run(process.execPath, ["caller.js"], { cwd: caller });

  assert.equal(stdout.trim(), "refused");
});
