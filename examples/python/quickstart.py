"""Creates two contact methods, promotes one, reads the reason of an error, and repeats a write safely.

CONTACTSVC_TARGET is the address of the service (localhost:50051 by default), CONTACTSVC_API_KEY its API key, if any.
"""

from __future__ import annotations

import os
import uuid

from contactsvc_client import ContactsClient, ValidationError


def main() -> None:
    """Make the calls for a new client id."""
    client_id = f"client_{uuid.uuid4().hex[:12]}"
    # While the service is unavailable, the client retries within the timeout: reads, and writes with their request id.
    # It takes the key from CONTACTSVC_API_KEY.
    with ContactsClient(os.environ.get("CONTACTSVC_TARGET", "localhost:50051"), max_retries=4, timeout=5.0) as sdk:
        contacts = sdk.contact_methods

        request_id = str(uuid.uuid4())
        personal = contacts.create(
            client_id=client_id, type="email", value="juan@example.com", is_primary=True, request_id=request_id
        )
        print(f"created {personal.value}, primary: {str(personal.is_primary).lower()}")

        # Promoting one record demotes the other, in the same step.
        work = contacts.create(client_id=client_id, type="email", value="juan@work.example.com")
        contacts.update(work.id, is_primary=True)
        primary = contacts.get_primary(client_id, "email")
        if primary is not None:
            print(f"primary is now {primary.value}")

        try:
            contacts.create(client_id=client_id, type="phone", value="12")
        except ValidationError as error:
            print(f"refused: {error.code} {error.reason}, field {error.issues[0].field}")

        # The client generates a request id for every write. With your own, a repeated write has no further effect.
        again = contacts.create(
            client_id=client_id, type="email", value="juan@example.com", is_primary=True, request_id=request_id
        )
        print(f"repeated: {'the same record' if again.id == personal.id else 'another record'}")


if __name__ == "__main__":
    main()
