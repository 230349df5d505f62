/** Contact methods as callers write them. Null in `label` or `externalId` clears the field. */

import type { ContactMethodType } from "./records.js";

/** The optional fields that all items share; a new one is added here. */
interface OptionalFields {
  /** A name for people, such as "Work", at most 100 characters. */
  readonly label?: string | null;
  /** True demotes the present primary of the client and type. */
  readonly isPrimary?: boolean;
}

/** The argument of `create`, and an item of `createMany`. */
export interface NewContactMethod extends OptionalFields {
  /** The client that it belongs to, 1-128 characters. */
  readonly clientId: string;
  readonly type: ContactMethodType;
  /** The address or number, 1-512 characters. */
  readonly value: string;
  /** The caller's identifier, unique in the environment, 1-255 characters. */
  readonly externalId?: string | null;
  /** The caller's key-value pairs, at most 50. */
  readonly metadata?: Readonly<Record<string, string>> | null;
}

/** The changes of `update`. An absent field is left unchanged. */
export interface ContactMethodChanges extends OptionalFields {
  readonly type?: ContactMethodType;
  /** A change of the normalized form clears the verification. */
  readonly value?: string;
  readonly externalId?: string | null;
  /** Pairs to merge; a value of null removes its key. Null itself removes all pairs. */
  readonly metadata?: Readonly<Record<string, string | null>> | null;
  readonly removeMetadataKeys?: readonly string[];
  /** Whether `metadata` replaces all pairs instead of being merged. */
  readonly replaceMetadata?: boolean;
  /** The etag that the record must have. */
  readonly etag?: string;
}

/** An item of `updateMany`. */
export interface ContactMethodUpdate extends ContactMethodChanges {
  readonly id: string;
}

/** The argument of `upsertByExternalId`. An absent field of an existing record is left unchanged. */
export interface ContactMethodUpsertFields extends OptionalFields {
  /** The client that it belongs to; an existing contact method must belong to this client. */
  readonly clientId: string;
  readonly type: ContactMethodType;
  readonly value: string;
  /** Pairs to merge; a value of null removes its key. */
  readonly metadata?: Readonly<Record<string, string | null>>;
  /** The etag that the contact method, which then must exist, must have. */
  readonly etag?: string;
}

/** An item of `upsertManyByExternalId`. */
export interface ContactMethodUpsert extends ContactMethodUpsertFields {
  readonly externalId: string;
}

/** What every item of `sync` may have. An absent field of an existing record is left unchanged. */
interface SyncFields extends OptionalFields {
  readonly metadata?: Readonly<Record<string, string | null>>;
  readonly etag?: string;
}

/** An item of `sync` that creates or updates a record. */
export interface SyncWrite extends SyncFields {
  readonly id?: string;
  readonly externalId?: string | null;
  readonly type: ContactMethodType;
  readonly value: string;
  readonly delete?: false;
}

/** An item of `sync` that deletes the record with an id, an external id, or a type and value. */
export interface SyncDelete {
  readonly id?: string;
  readonly externalId?: string;
  readonly type?: ContactMethodType;
  readonly value?: string;
  readonly etag?: string;
  readonly delete: true;
}

export type SyncItem = SyncWrite | SyncDelete;
