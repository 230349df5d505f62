// Writes the TypeScript snippets of the documentation as modules into guide/, where they are type-checked and compiled
// with the tests. Each snippet of guide.md is a module of its own, unchanged; nothing precedes it but the import of
// `sdk`. Those of the two READMEs and of docs/typescript.md are one module per file; only the target becomes that of the
// test's service.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const here = new URL("./", import.meta.url);
const folder = new URL("guide/", here);

function snippetsOf(path) {
  return [...readFileSync(new URL(path, here), "utf8").matchAll(/^```ts\n(.*?)^```$/gms)].map(([, snippet]) => snippet);
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
snippetsOf("guide.md").forEach((snippet, index) => {
  const name = `snippet${String(index + 1).padStart(2, "0")}.ts`;
  writeFileSync(new URL(name, folder), `import { sdk } from "../guide_sdk.js";\n${snippet}`);
});
for (const [name, path] of [
  ["readme.ts", "../README.md"],
  ["project_readme.ts", "../../../README.md"],
  ["docs.ts", "../../../docs/typescript.md"],
]) {
  const target = 'process.env["CONTACTSVC_TARGET"]!';
  writeFileSync(new URL(name, folder), snippetsOf(path).join("\n").replace('"localhost:50051"', target));
}
