/** Records from messages. Apart from records.ts, so that the public declarations do not depend on generated code. */

import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

import {
  type ContactMethod as ContactMethodMessage,
  ContactMethodType as TypeNumber,
  type CheckContactMethodVerificationResponse,
  type StartContactMethodVerificationResponse,
  UpsertAction as ActionNumber,
  VerificationResult as ResultNumber,
} from "./gen/contactsvc/v1/contact_methods_pb.js";
import { enumName } from "./messages.js";
import type {
  CheckedVerification,
  ContactMethod,
  ContactMethodType,
  StartedVerification,
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

/** Returns the result of the start of a verification. */
export function toStarted(response: StartContactMethodVerificationResponse): StartedVerification {
  return Object.freeze({
    code: response.code || null,
    value: response.value,
    type: typeOf(response.type),
    expiresAt: response.expiresAt ? timestampDate(response.expiresAt) : null,
    attemptsLeft: response.attemptsLeft,
    sendsLeft: response.sendsLeft,
    contactMethod: response.contactMethod ? toRecord(response.contactMethod) : null,
  });
}

/** Returns the result of the check of a code. */
export function toChecked(response: CheckContactMethodVerificationResponse): CheckedVerification {
  return Object.freeze({
    // Only what is surely right counts as verified.
    result: response.result === ResultNumber.VERIFIED ? "verified" : "wrongCode",
    attemptsLeft: response.attemptsLeft,
    contactMethod: toRecord(response.contactMethod),
  });
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
