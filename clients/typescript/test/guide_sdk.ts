/** The client that the snippets of the guide use. */

import { ContactsSDK } from "contactsvc-client";

// Its target is in CONTACTSVC_TARGET, which the test sets before it imports a snippet.
export const sdk = new ContactsSDK();
