/** Records from messages. Apart from records.ts, so that the public declarations do not depend on generated code. */

import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

import {
  type ContactMethod as ContactMethodMessage,
  ContactMethodType as TypeNumber,
  UpsertAction as ActionNumber,
} from "./gen/contactsvc/v1/contact_methods_pb.js";
import { enumName } from "./messages.js";
import type {
  ContactMethod,
  ContactMethodType,
  UpsertAction,
  UpsertedContactMethod,
  WrittenContactMethod,
} from "./records.js";

/** Returns the record of a message. */
export function toRecord(message: ContactMethodMessage | undefined): ContactMethod {
  return Object.freeze(fieldsOf(message));
}

/** Returns the record of a create or an update. */
export function toWritten(
  message: ContactMethodMessage | undefined,
  demotedIds: readonly string[],
): WrittenContactMethod {
  return Object.freeze({ ...fieldsOf(message), demotedIds });
}

/** Returns the record of an upsert. */
export function toUpserted(
  message: ContactMethodMessage | undefined,
  demotedIds: readonly string[],
  action: ActionNumber,
): UpsertedContactMethod {
  return Object.freeze({ ...fieldsOf(message), demotedIds, action: actionOf(action) });
}

function fieldsOf(message: ContactMethodMessage | undefined): ContactMethod {
  if (message === undefined) {
    throw new TypeError("the response has no contact method");
  }
  return {
    id: message.id,
    clientId: message.clientId,
    type: typeOf(message.type),
    value: message.value,
    ...(message.normalizedValue && { normalizedValue: message.normalizedValue }),
    ...(message.label !== undefined && { label: message.label }),
    isPrimary: message.isPrimary,
    isVerified: message.isVerified,
    ...(message.verifiedAt && { verifiedAt: timestampDate(message.verifiedAt) }),
    ...(message.verificationMethod !== undefined && { verificationMethod: message.verificationMethod }),
    ...(message.externalId !== undefined && { externalId: message.externalId }),
    metadata: Object.freeze({ ...message.metadata }),
    createdAt: time(message.createdAt),
    updatedAt: time(message.updatedAt),
    etag: message.etag,
  };
}

function typeOf(number: TypeNumber): ContactMethodType {
  // A newer service may send a type that this client does not know.
  return enumName(TypeNumber[number] ?? "OTHER") as ContactMethodType;
}

function actionOf(number: ActionNumber): UpsertAction {
  return enumName(ActionNumber[number] ?? "UPDATED") as UpsertAction;
}

function time(timestamp: Timestamp | undefined): Date {
  return timestamp ? timestampDate(timestamp) : new Date(0);
}
