/** The client. */

import { Connection } from "./connection.js";
import { ContactMethods } from "./contact_methods.js";
import { type ContactsSDKOptions, settingsFrom } from "./settings.js";

/**
 * A client of contactsvc. It connects at the first call, and reconnects on its own.
 *
 * The methods are under `contactMethods`. The last argument of each takes `timeoutMs` and `signal`, that of a write
 * `requestId` as well.
 */
export class ContactsSDK {
  readonly contactMethods: ContactMethods;
  readonly #connection: Connection;

  /** @throws ValidationError for an invalid option. */
  constructor(options: ContactsSDKOptions = {}) {
    this.#connection = new Connection(settingsFrom(options, process.env));
    this.contactMethods = new ContactMethods(this.#connection);
  }

  /** Closes the connection; a later call opens another one. */
  close(): void {
    this.#connection.close();
  }
}
