"""Stored documents, for tests that insert them directly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from contactsvc.store import SCHEMA_VERSION, Document

PERSONAL = "somebody"
"""Part of every contact value of these documents; must never be printed."""
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def document(id_: str, **fields: Any) -> Document:
    """Return a readable document, by default of an email. Fields that are None are left out."""
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
