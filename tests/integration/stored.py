"""Documents as they are stored, for tests that write them to the database themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from contactsvc.domain.normalization import written_form
from contactsvc.store import SCHEMA_VERSION, Document

PERSONAL = "somebody"
"""Part of every contact value in these documents, so that tests can check that none is printed."""
PERSONAL_DIGITS = "55557777"
"""Part of every valid phone number in these documents."""
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def document(id_: str, **fields: Any) -> Document:
    """Return a valid contact method, an email by default; fields that are None are left out."""
    text = f"{PERSONAL}.{id_}@example.com"
    whole = {
        "_id": id_,
        "client_id": "client_1",
        "type": "email",
        "value": text,
        "value_key": f"email:{text}",
        "is_primary": False,
        "metadata": ["source=crm"],
        "created_at": NOON,
        "updated_at": NOON,
        "etag": f"etag of {id_}",
        "schema_version": SCHEMA_VERSION,
        **fields,
    }
    if whole["is_primary"] is True:
        whole.setdefault("primary_key", f"{whole['type']}:{whole['client_id']}")
    return {name: value for name, value in whole.items() if value is not None}


def phone(id_: str, text: str, key: str | None, **fields: Any) -> Document:
    """Return a phone with this value and this value_key; without one, it is found by the text as written."""
    written_key = f"phone:{written_form(text)}" if key is None else None
    return document(id_, type="phone", value=text, value_key=key, **{"written_key": written_key, **fields})


def remembered_request(id_: str, forget_at: datetime) -> Document:
    """Return a document that remembers a request until a time, and is not a contact method."""
    request = {"id": f"request of {id_}", "digest": b"d", "at": forget_at - timedelta(days=1), "outcomes": []}
    return {
        "_id": id_,
        "request_ids": [request["id"]],
        "requests": [request],
        "forget_at": forget_at,
        "schema_version": SCHEMA_VERSION,
    }
