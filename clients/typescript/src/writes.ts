/** The methods that write one contact method, or the contact methods of one client. */

import {
  ContactMethodsService,
  CreateContactMethodRequestSchema,
  DeleteContactMethodRequestSchema,
  EraseClientContactMethodsRequestSchema,
  SyncClientContactMethodsRequestSchema,
  SyncItemSchema,
  UpdateContactMethodRequestSchema,
  UpsertContactMethodRequestSchema,
} from "./gen/contactsvc/v1/contact_methods_pb.js";
import type { ContactMethodChanges, ContactMethodUpsertFields, NewContactMethod, SyncItem } from "./items.js";
import { buildChange, buildMessage, buildNew, checkedField, listOf } from "./messages.js";
import { operation } from "./operations.js";
import { type DeleteOptions, type SyncOptions, type WriteOptions, writeOptions } from "./options.js";
import { ContactMethodReads } from "./reads.js";
import type { DeleteResult, SyncResult, UpsertedContactMethod, WrittenContactMethod } from "./records.js";
import { toRecord, toUpserted, toWritten } from "./responses.js";

const RPC = ContactMethodsService.method;

/** Methods that write one contact method, or those of one client. Each rejects as the methods that read. */
export class ContactMethodWrites extends ContactMethodReads {
  /**
   * Creates a contact method. As primary, it demotes the present primary of its client and type. Rejects with a
   * ConflictError if the external id is taken, or concurrent writes kept changing the same primary.
   */
  async create(contactMethod: NewContactMethod, options: WriteOptions = {}): Promise<WrittenContactMethod> {
    writeOptions(options);
    const request = buildNew(CreateContactMethodRequestSchema, contactMethod);
    return this.connection.call(
      operation(RPC.createContactMethod, request, (response) => toWritten(response.contactMethod, response.demotedIds)),
      options,
    );
  }

  /**
   * Updates a contact method. An omitted field is left unchanged, and null clears `label` or `externalId`. Rejects with
   * a NotFoundError if the contact method does not exist, and with a ConflictError if the external id is taken, the
   * etag differs, or concurrent writes kept changing the same primary.
   */
  async update(id: string, changes: ContactMethodChanges, options: WriteOptions = {}): Promise<WrittenContactMethod> {
    writeOptions(options);
    const request = buildChange(UpdateContactMethodRequestSchema, changes, { reserved: ["id", "requestId"] });
    request.id = checkedField(UpdateContactMethodRequestSchema, "id", "id", id) as string;
    return this.connection.call(
      operation(RPC.updateContactMethod, request, (response) => toWritten(response.contactMethod, response.demotedIds)),
      options,
    );
  }

  /**
   * Deletes a contact method. Rejects with a NotFoundError if it does not exist, and with a ConflictError if it is
   * primary and `onPrimary` is "reject", or the etag differs.
   */
  async delete(id: string, options: DeleteOptions = {}): Promise<DeleteResult> {
    const fields = writeOptions(options, ["allowMissing", "onPrimary", "etag"]);
    const request = buildMessage(DeleteContactMethodRequestSchema, { ...fields, id });
    return this.connection.call(
      operation(RPC.deleteContactMethod, request, ({ promotedId }) => ({ promotedId: promotedId ?? null })),
      options,
    );
  }

  /**
   * Creates the contact method with an external id, or updates the one that has it. In an update, an omitted field is
   * left unchanged, and null clears `label`. If nothing would change, nothing is written. `action` of the result is
   * "created", "updated" or "unchanged".
   *
   * Rejects with a ConflictError if a contact method of another client has the external id, the etag differs, or
   * concurrent writes kept changing the same primary.
   */
  async upsertByExternalId(
    externalId: string,
    contactMethod: ContactMethodUpsertFields,
    options: WriteOptions = {},
  ): Promise<UpsertedContactMethod> {
    writeOptions(options);
    const request = buildChange(UpsertContactMethodRequestSchema, contactMethod, {
      reserved: ["externalId", "requestId"],
    });
    request.externalId = checkedField(
      UpsertContactMethodRequestSchema,
      "externalId",
      "externalId",
      externalId,
    ) as string;
    return this.connection.call(
      operation(RPC.upsertContactMethod, request, (response) =>
        toUpserted(response.contactMethod, response.demotedIds, response.action),
      ),
      options,
    );
  }

  /**
   * Makes the contact methods of a client match a list of up to 250 items, atomically.
   *
   * An item matches the record with its `id`, else the one with its `externalId`, else one with its type and value. An
   * item that matches no record creates one. Repeating the same sync changes nothing.
   *
   * Rejects with a ValidationError, whose `issues` name each faulty field, such as `items[3].value`; with a
   * NotFoundError if the record that an item names does not exist or belongs to another client; and with a
   * ConflictError if an external id is taken, an etag differs, or concurrent writes kept changing the same primary.
   */
  async sync(clientId: string, items: readonly SyncItem[], options: SyncOptions = {}): Promise<SyncResult> {
    const fields = writeOptions(options, ["replace", "allowEmptyReplace"]);
    const request = buildMessage(SyncClientContactMethodsRequestSchema, { ...fields, clientId });
    request.items = listOf("items", items).map((item, index) =>
      buildChange(SyncItemSchema, item, { where: `items[${index}]` }),
    );
    return this.connection.call(
      operation(RPC.syncClientContactMethods, request, (response) => ({
        created: response.created.map(toRecord),
        updated: response.updated.map(toRecord),
        unchanged: response.unchanged.map(toRecord),
        deletedIds: response.deletedIds,
        demotedIds: response.demotedIds,
      })),
      options,
    );
  }

  /** Deletes all contact methods of a client, for the right to erasure; returns how many were deleted. */
  async eraseClient(clientId: string, options: WriteOptions = {}): Promise<number> {
    writeOptions(options);
    const request = buildMessage(EraseClientContactMethodsRequestSchema, { clientId });
    return this.connection.call(
      operation(RPC.eraseClientContactMethods, request, ({ erasedCount }) => erasedCount),
      options,
    );
  }
}
