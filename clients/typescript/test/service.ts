/** `contactsvc serve` as a process, for tests. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

// Set by the Python test that runs these; by hand, they use the environment of `make test`.
const PYTHON = process.env["CONTACTSVC_TEST_PYTHON"] ?? join(import.meta.dirname, "../../../../.venv/bin/python");

/** A service that accepts calls. */
export interface Service {
  readonly target: string;
  readonly process: ChildProcess;
  /** Sends a signal and waits for the end of the process. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Makes a directory for the embedded database, which the caller removes. */
export async function makeDataDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), "contactsvc-"));
}

export async function removeDataDir(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

/** Starts a service on the embedded database, by default on a free port; resolves when it answers. */
export async function startService(dataDir: string, ...flags: string[]): Promise<Service> {
  const child = spawn(
    PYTHON,
    ["-m", "contactsvc", "serve", "--listen", "127.0.0.1:0", "--workers", "1", "--data-dir", dataDir, ...flags],
    { stdio: ["ignore", "pipe", "pipe"], env: cleanEnv() },
  );
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-10_000);
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  for await (const line of createInterface(child.stdout)) {
    const found = /^contactsvc listening on (\S+)$/.exec(line);
    if (found?.[1] !== undefined) {
      return {
        target: found[1],
        process: child,
        stop: async (signal = "SIGTERM") => {
          child.kill(signal);
          await ended;
        },
      };
    }
  }
  throw new Error(`the service did not start: ${errors}`);
}

/** Runs a command of contactsvc and returns its output. */
export async function contactsvc(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(PYTHON, ["-m", "contactsvc", ...args], { env: cleanEnv() });
  return stdout.trim();
}

function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("CONTACTSVC_")));
}
