// Writes each TypeScript snippet of guide.md, unchanged, as a module of its own into guide/, where it is type-checked and
// compiled with the tests. Nothing precedes a snippet but the import of `sdk`.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const here = new URL("./", import.meta.url);
const folder = new URL("guide/", here);
const snippets = [...readFileSync(new URL("guide.md", here), "utf8").matchAll(/^```ts\n(.*?)^```$/gms)];

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
snippets.forEach(([, snippet], index) => {
  const name = `snippet${String(index + 1).padStart(2, "0")}.ts`;
  writeFileSync(new URL(name, folder), `import { sdk } from "../guide_sdk.js";\n${snippet}`);
});
