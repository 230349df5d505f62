/** The methods that read contact methods. */

import type { Connection } from "./connection.js";
import { pause } from "./connection.js";
import { APIError } from "./errors.js";
import type { Filter } from "./filters.js";
import {
  BatchGetContactMethodsRequestSchema,
  ContactMethodsService,
  GetContactMethodByExternalIdRequestSchema,
  GetContactMethodByMetadataRequestSchema,
  GetContactMethodRequestSchema,
  GetPrimaryContactMethodRequestSchema,
} from "./gen/contactsvc/v1/contact_methods_pb.js";
import { buildMessage } from "./messages.js";
import { type Operation, operation } from "./operations.js";
import {
  type CallOptions,
  type IterateOptions,
  type ListByClientOptions,
  type ListQuery,
  type MetadataOptions,
  readOptions,
} from "./options.js";
import { clientPageOperation, listOperation, streamOperation } from "./pages.js";
import type { ContactMethod, ContactMethodType, FoundMany, Page } from "./records.js";
import { toRecord } from "./responses.js";

const RPC = ContactMethodsService.method;

/** Methods that read. Each rejects with a ValidationError for an invalid argument, and otherwise with an APIError. */
export class ContactMethodReads {
  protected readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Returns the contact method with an id; rejects with a NotFoundError if there is none. */
  async retrieve(id: string, options: CallOptions = {}): Promise<ContactMethod> {
    readOptions(options);
    const request = buildMessage(GetContactMethodRequestSchema, { id });
    return this.connection.call(
      operation(RPC.getContactMethod, request, (response) => toRecord(response.contactMethod)),
      options,
    );
  }

  /** Returns the contact method with an external id; rejects with a NotFoundError if there is none. */
  async retrieveByExternalId(externalId: string, options: CallOptions = {}): Promise<ContactMethod> {
    readOptions(options);
    const request = buildMessage(GetContactMethodByExternalIdRequestSchema, { externalId });
    return this.connection.call(
      operation(RPC.getContactMethodByExternalId, request, (response) => toRecord(response.contactMethod)),
      options,
    );
  }

  /**
   * Returns the only contact method with a metadata pair, optionally among those of one client. Rejects with a
   * NotFoundError if no contact method has the pair, and with a ConflictError (reason METADATA_AMBIGUOUS) if several
   * do.
   */
  async retrieveByMetadata(key: string, value: string, options: MetadataOptions = {}): Promise<ContactMethod> {
    const { clientId } = readOptions(options, ["clientId"]);
    const request = buildMessage(GetContactMethodByMetadataRequestSchema, { key, value, clientId });
    return this.connection.call(
      operation(RPC.getContactMethodByMetadata, request, (response) => toRecord(response.contactMethod)),
      options,
    );
  }

  /** Returns up to 250 contact methods by id, and the ids that do not exist. */
  async retrieveMany(ids: readonly string[], options: CallOptions = {}): Promise<FoundMany> {
    readOptions(options);
    const request = buildMessage(BatchGetContactMethodsRequestSchema, { ids });
    return this.connection.call(
      operation(RPC.batchGetContactMethods, request, ({ contactMethods, missingIds }) => ({
        data: contactMethods.map(toRecord),
        missingIds,
      })),
      options,
    );
  }

  /** Returns the primary contact method of a client and type, or null if there is none. */
  async getPrimary(
    clientId: string,
    type: ContactMethodType,
    options: CallOptions = {},
  ): Promise<ContactMethod | null> {
    readOptions(options);
    const request = buildMessage(GetPrimaryContactMethodRequestSchema, { clientId, type });
    return this.connection.call(
      operation(RPC.getPrimaryContactMethod, request, ({ contactMethod }) =>
        contactMethod === undefined ? null : toRecord(contactMethod),
      ),
      options,
    );
  }

  /** Returns one page of contact methods. */
  async list(query: ListQuery = {}, options: CallOptions = {}): Promise<Page> {
    readOptions(options);
    return this.connection.call(listOperation(query), options);
  }

  /** Returns one page of a client's contact methods, oldest first, optionally of one type. */
  async listByClient(clientId: string, options: ListByClientOptions = {}): Promise<Page> {
    const query = readOptions(options, ["type", "cursor", "limit"]);
    return this.connection.call(clientPageOperation(clientId, query), options);
  }

  /**
   * Yields all contact methods that match. Each record that is not written during the iteration is yielded exactly
   * once.
   *
   * The first page is a single call; the rest is streamed. A stream that breaks, or outlasts the timeout, within which
   * at least one page must arrive, is resumed after the last page received.
   *
   * @throws ValidationError at once for an invalid argument. The iteration rejects with an APIError if the service is
   *   unavailable or too slow, and no page has arrived since the last attempt.
   */
  iterate(filter?: Filter, options: IterateOptions = {}): AsyncGenerator<ContactMethod, void, undefined> {
    const { sort, pageSize = 200 } = readOptions(options, ["sort", "pageSize"]);
    const first = listOperation({
      limit: pageSize,
      ...(filter !== undefined && { filter }),
      ...(sort !== undefined && { sort }),
    });
    this.connection.deadline(options);
    return this.#records(first, (cursor) => streamOperation(filter, sort, cursor), options);
  }

  async *#records(
    first: Operation<Page>,
    after: (cursor: string) => Operation<Page>,
    options: CallOptions,
  ): AsyncGenerator<ContactMethod, void, undefined> {
    const { data, pagination } = await this.connection.call(first, options);
    yield* data;
    let cursor = pagination.nextCursor;
    const retries = this.connection.retries(first);
    let deadline = this.connection.deadline(options);
    while (cursor !== null) {
      const start: string = cursor;
      try {
        for await (const page of this.connection.stream(after(cursor), options)) {
          yield* page.data;
          cursor = page.pagination.nextCursor;
        }
        return;
      } catch (error) {
        if (cursor === null) {
          return;
        }
        if (!(error instanceof APIError)) {
          throw error;
        }
        if (cursor !== start) {
          retries.reset();
          deadline = this.connection.deadline(options);
          if (error.code === "DEADLINE_EXCEEDED") {
            continue;
          }
        }
        const wait = retries.next(error);
        if (wait === undefined || Date.now() + wait >= deadline) {
          throw error;
        }
        await pause(wait, options.signal);
      }
    }
  }
}
