/** All operations on contact methods: the batch writes, and those that are inherited. */

import {
  BatchCreateContactMethodsRequestSchema,
  type BatchCreateContactMethodsResult,
  BatchDeleteContactMethodsRequestSchema,
  BatchUpdateContactMethodsRequestSchema,
  type BatchUpdateContactMethodsResult,
  BatchUpsertContactMethodsRequestSchema,
  type BatchUpsertContactMethodsResult,
  ContactMethodsService,
  CreateContactMethodRequestSchema,
  UpdateContactMethodRequestSchema,
  UpsertContactMethodRequestSchema,
} from "./gen/contactsvc/v1/contact_methods_pb.js";
import { invalid } from "./errors.js";
import type { ContactMethodUpdate, ContactMethodUpsert, NewContactMethod } from "./items.js";
import {
  buildChange,
  buildMessage,
  buildNew,
  type BuildRules,
  enumNumber,
  lenientEnumNumber,
  listOf,
} from "./messages.js";
import { batchReader, operation } from "./operations.js";
import { type BatchOptions, writeOptions } from "./options.js";
import type { AtomicBatch, PartialBatch, UpsertedContactMethod, WrittenContactMethod } from "./records.js";
import { toUpserted, toWritten } from "./responses.js";
import { ContactMethodVerifications } from "./verifications.js";

const RPC = ContactMethodsService.method;

type Atomic = BatchOptions & { readonly atomic?: true };
type Partial = BatchOptions & { readonly atomic: false };
type EitherBatch<T> = AtomicBatch<T> | PartialBatch<T>;

/**
 * The operations on contact methods.
 *
 * A batch has up to 250 items, which are applied in order. If it is atomic, one faulty item fails it: the promise is
 * rejected with a ValidationError, whose `issues` name each faulty field, such as `requests[3].value`, or with the
 * error of an item. Otherwise each item succeeds or fails on its own.
 */
export class ContactMethods extends ContactMethodVerifications {
  /** Creates several contact methods. */
  createMany(items: readonly NewContactMethod[], options?: Atomic): Promise<AtomicBatch<WrittenContactMethod>>;
  createMany(items: readonly NewContactMethod[], options: Partial): Promise<PartialBatch<WrittenContactMethod>>;
  createMany(items: readonly NewContactMethod[], options?: BatchOptions): Promise<EitherBatch<WrittenContactMethod>>;
  async createMany(
    items: readonly NewContactMethod[],
    options: BatchOptions = {},
  ): Promise<EitherBatch<WrittenContactMethod>> {
    const atomic = isAtomic(options);
    const requests = built(items, atomic, (item, rules) => buildNew(CreateContactMethodRequestSchema, item, rules));
    const request = buildMessage(BatchCreateContactMethodsRequestSchema, { requests, partial: !atomic });
    return this.connection.call(
      operation(RPC.batchCreateContactMethods, request, batchReader(atomic, writtenItem)),
      options,
    );
  }

  /** Updates several contact methods. */
  updateMany(items: readonly ContactMethodUpdate[], options?: Atomic): Promise<AtomicBatch<WrittenContactMethod>>;
  updateMany(items: readonly ContactMethodUpdate[], options: Partial): Promise<PartialBatch<WrittenContactMethod>>;
  updateMany(items: readonly ContactMethodUpdate[], options?: BatchOptions): Promise<EitherBatch<WrittenContactMethod>>;
  async updateMany(
    items: readonly ContactMethodUpdate[],
    options: BatchOptions = {},
  ): Promise<EitherBatch<WrittenContactMethod>> {
    const atomic = isAtomic(options);
    const requests = built(items, atomic, (item, rules) => buildChange(UpdateContactMethodRequestSchema, item, rules));
    const request = buildMessage(BatchUpdateContactMethodsRequestSchema, { requests, partial: !atomic });
    return this.connection.call(
      operation(RPC.batchUpdateContactMethods, request, batchReader(atomic, writtenItem)),
      options,
    );
  }

  /** Deletes several contact methods and returns their ids. */
  deleteMany(ids: readonly string[], options?: Atomic): Promise<AtomicBatch<string>>;
  deleteMany(ids: readonly string[], options: Partial): Promise<PartialBatch<string>>;
  deleteMany(ids: readonly string[], options?: BatchOptions): Promise<EitherBatch<string>>;
  async deleteMany(ids: readonly string[], options: BatchOptions = {}): Promise<EitherBatch<string>> {
    const atomic = isAtomic(options);
    const request = buildMessage(BatchDeleteContactMethodsRequestSchema, { ids, partial: !atomic });
    return this.connection.call(
      operation(
        RPC.batchDeleteContactMethods,
        request,
        batchReader(atomic, ({ outcome }) => String(outcome.value)),
      ),
      options,
    );
  }

  /** Upserts several contact methods. */
  upsertManyByExternalId(
    items: readonly ContactMethodUpsert[],
    options?: Atomic,
  ): Promise<AtomicBatch<UpsertedContactMethod>>;
  upsertManyByExternalId(
    items: readonly ContactMethodUpsert[],
    options: Partial,
  ): Promise<PartialBatch<UpsertedContactMethod>>;
  upsertManyByExternalId(
    items: readonly ContactMethodUpsert[],
    options?: BatchOptions,
  ): Promise<EitherBatch<UpsertedContactMethod>>;
  async upsertManyByExternalId(
    items: readonly ContactMethodUpsert[],
    options: BatchOptions = {},
  ): Promise<EitherBatch<UpsertedContactMethod>> {
    const atomic = isAtomic(options);
    const requests = built(items, atomic, (item, rules) => buildChange(UpsertContactMethodRequestSchema, item, rules));
    const request = buildMessage(BatchUpsertContactMethodsRequestSchema, { requests, partial: !atomic });
    return this.connection.call(
      operation(RPC.batchUpsertContactMethods, request, batchReader(atomic, upsertedItem)),
      options,
    );
  }
}

function isAtomic(options: BatchOptions): boolean {
  const { atomic = true } = writeOptions(options, ["atomic"]);
  if (typeof atomic !== "boolean") {
    throw invalid("options.atomic", "must be true or false");
  }
  return atomic;
}

/**
 * Returns the messages of the items of a batch. In a partial batch an unknown type fails its item alone, in the
 * service: it must not keep the others from being sent.
 */
function built<M>(items: unknown, atomic: boolean, build: (item: unknown, rules: BuildRules) => M): M[] {
  const enums = atomic ? enumNumber : lenientEnumNumber;
  return listOf("requests", items).map((item, index) => build(item, { where: `requests[${index}]`, enums }));
}

function writtenItem({ outcome, demotedIds }: BatchCreateContactMethodsResult | BatchUpdateContactMethodsResult) {
  return toWritten(outcome.case === "contactMethod" ? outcome.value : undefined, demotedIds);
}

function upsertedItem({ outcome, demotedIds, action }: BatchUpsertContactMethodsResult) {
  return toUpserted(outcome.case === "contactMethod" ? outcome.value : undefined, demotedIds, action);
}
