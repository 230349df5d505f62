/** The options of a client, checked: target, credentials, headers. */

import { credentials, type ChannelCredentials } from "@grpc/grpc-js";

import { invalid } from "./errors.js";
import { isPlainObject, suggestion } from "./messages.js";

/** Certificates of a TLS connection, in PEM format. */
export interface TlsOptions {
  /** The certificates of the authorities that sign the service's certificate; by default those that Node trusts. */
  readonly ca?: string | Uint8Array;
  /** The client's certificate chain and its private key, for services that require client certificates. */
  readonly cert?: string | Uint8Array;
  readonly key?: string | Uint8Array;
}

export interface ContactsSDKOptions {
  /** The address of the service, such as "localhost:50051"; by default that in CONTACTSVC_TARGET. */
  readonly target?: string;
  /** Sent as a bearer token; by default that in CONTACTSVC_API_KEY. Null sends none. */
  readonly apiKey?: string | null;
  /** By default that of the API key, or `live` if the service has no keys. */
  readonly environment?: "live" | "test";
  /** Connects with TLS; true trusts the authorities that Node trusts. By default the connection is plain text. */
  readonly tls?: boolean | TlsOptions;
  /** Milliseconds that a call may take, retries included; 10,000 by default. */
  readonly timeoutMs?: number;
  /**
   * Retries of a call while the service is unavailable; 3 by default. Calls that the service refuses as overloaded are
   * repeated until the timeout. 0 disables all retries.
   */
  readonly maxRetries?: number;
}

/** Options of a client, checked and with their defaults. */
export interface Settings {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly maxRetries: number;
}

const OPTIONS = ["target", "apiKey", "environment", "tls", "timeoutMs", "maxRetries"];
const TLS_OPTIONS = ["ca", "cert", "key"];

/**
 * Returns the settings of a client.
 *
 * @throws ValidationError for an invalid option.
 */
export function settingsFrom(options: ContactsSDKOptions, env: Readonly<Record<string, string | undefined>>): Settings {
  refuseUnknown("options", options, OPTIONS);
  const { apiKey = env["CONTACTSVC_API_KEY"] || null, environment, timeoutMs = 10_000, maxRetries = 3 } = options;
  if (!Number.isInteger(maxRetries) || maxRetries < 0) {
    throw invalid("maxRetries", "must be an integer that is not negative");
  }
  if (environment !== undefined && environment !== "live" && environment !== "test") {
    throw invalid("environment", "must be live or test; omit it for that of the API key");
  }
  return {
    target: checkedTarget(options.target ?? env["CONTACTSVC_TARGET"]),
    credentials: credentialsFrom(options.tls ?? false),
    headers: {
      ...(apiKey !== null && { authorization: `Bearer ${checkedKey(apiKey)}` }),
      ...(environment !== undefined && { "x-environment": environment }),
    },
    timeoutMs: checkedTimeout(timeoutMs),
    maxRetries,
  };
}

/** Returns a timeout; throws ValidationError unless it is a positive number of milliseconds. */
export function checkedTimeout(timeoutMs: unknown): number {
  if (typeof timeoutMs !== "number" || !(timeoutMs > 0) || !Number.isFinite(timeoutMs)) {
    throw invalid("timeoutMs", "must be a positive number of milliseconds");
  }
  return timeoutMs;
}

function checkedTarget(target: unknown): string {
  if (typeof target !== "string" || target === "") {
    throw invalid("target", "is required, such as localhost:50051; CONTACTSVC_TARGET sets it as well");
  }
  if (/^(dns|ipv4|ipv6|unix):/.test(target)) {
    return target;
  }
  if (target.includes("://")) {
    throw invalid("target", "must be HOST:PORT without a scheme, such as localhost:50051; `tls` selects TLS");
  }
  if (!/^(\[[^\s\]]+\]|[^\s:[\]/]+):\d+$/.test(target)) {
    throw invalid("target", "must be HOST:PORT, such as localhost:50051 or [::1]:50051");
  }
  return target;
}

function checkedKey(apiKey: unknown): string {
  // A key read from a file ends with a line break.
  const key = typeof apiKey === "string" ? apiKey.trim() : "";
  if (!/^[\x20-\x7e]+$/.test(key)) {
    throw invalid("apiKey", "must consist of printable ASCII characters");
  }
  return key;
}

function credentialsFrom(tls: boolean | TlsOptions): ChannelCredentials {
  if (tls === false) {
    return credentials.createInsecure();
  }
  if (tls === true) {
    return credentials.createSsl();
  }
  refuseUnknown("tls", tls, TLS_OPTIONS);
  const { ca, cert, key } = tls;
  if ((cert === undefined) !== (key === undefined)) {
    throw invalid("tls", "cert and key belong together; set both or none");
  }
  try {
    return credentials.createSsl(pem(ca), pem(key), pem(cert));
  } catch (error) {
    throw invalid("tls", `ca, cert and key must be PEM: ${error instanceof Error ? error.message : error}`);
  }
}

function pem(text: string | Uint8Array | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text as string);
}

function refuseUnknown(where: string, options: unknown, known: readonly string[]): void {
  if (!isPlainObject(options)) {
    throw invalid(where, "must be an object");
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw invalid(`${where}.${name}`, `is not an option${suggestion(name, known)}`);
    }
  }
}
