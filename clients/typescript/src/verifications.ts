/** The methods that verify the value of a contact method. */

import {
  CheckContactMethodVerificationRequestSchema,
  ContactMethodsService,
  SetContactMethodVerificationRequestSchema,
  StartContactMethodVerificationRequestSchema,
} from "./gen/contactsvc/v1/contact_methods_pb.js";
import { buildMessage } from "./messages.js";
import { operation } from "./operations.js";
import {
  type SetVerificationOptions,
  type StartVerificationOptions,
  type WriteOptions,
  writeOptions,
} from "./options.js";
import type { CheckedVerification, ContactMethod, StartedVerification } from "./records.js";
import { toChecked, toRecord, toStarted } from "./responses.js";
import { ContactMethodWrites } from "./writes.js";

const RPC = ContactMethodsService.method;

/** Methods that verify the value of a contact method. Each rejects as the methods that read. */
export class ContactMethodVerifications extends ContactMethodWrites {
  /**
   * Starts the verification of a value, or returns its code for another send. The service sends nothing itself.
   *
   * Rejects with a NotFoundError if the contact method does not exist, with a ConflictError if its value has no normal
   * form or the etag differs, and with a RateLimitError (reason VERIFICATION_LIMIT) if no sends are left, of the
   * verification or of the day.
   */
  async startVerification(id: string, options: StartVerificationOptions = {}): Promise<StartedVerification> {
    const fields = writeOptions(options, ["etag"]);
    const request = buildMessage(StartContactMethodVerificationRequestSchema, { ...fields, id });
    return this.connection.call(operation(RPC.startContactMethodVerification, request, toStarted), options);
  }

  /**
   * Checks a code that somebody has given. A wrong one is a result, and no error. Ids are no secrets: authenticate the
   * user before this call.
   *
   * Rejects with a ValidationError if the code is not six digits, with a NotFoundError if the contact method does not
   * exist, with a ConflictError (reason VERIFICATION_NOT_STARTED) if no verification is running, and with a
   * RateLimitError (reason VERIFICATION_EXHAUSTED) after five wrong codes.
   */
  async checkVerification(id: string, code: string, options: WriteOptions = {}): Promise<CheckedVerification> {
    writeOptions(options);
    const request = buildMessage(CheckContactMethodVerificationRequestSchema, { id, code });
    return this.connection.call(operation(RPC.checkContactMethodVerification, request, toChecked), options);
  }

  /**
   * Sets or clears the verification of a value on your own word.
   *
   * Rejects with a NotFoundError if the contact method does not exist, and with a ConflictError if it has another value
   * than `options.value` (reason VALUE_CHANGED), or the etag differs.
   */
  async setVerification(id: string, verified: boolean, options: SetVerificationOptions = {}): Promise<ContactMethod> {
    const fields = writeOptions(options, ["value", "verifiedAt", "method", "etag"]);
    const request = buildMessage(SetContactMethodVerificationRequestSchema, { ...fields, id, verified });
    return this.connection.call(
      operation(RPC.setContactMethodVerification, request, ({ contactMethod }) => toRecord(contactMethod)),
      options,
    );
  }
}
