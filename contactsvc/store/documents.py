"""Contact methods as MongoDB documents, one each, and back.

_id            the id
client_id      the client
type           "email", "phone", "fax", "other"
value          as people write it
value_key      "<type>:<normalized value>"; absent when the value could not be parsed. One string, so that one index
               answers a lookup that means a phone but no other record of the same text
label          absent when there is none
is_primary     always there, since the partial unique index looks at it
verified_at    absent when unverified
external_id    absent when there is none, since the sparse unique index looks at its presence
metadata       ["key=value", ...]; no key has a "=". Strings, because every pair is found by one plain index
created_at, updated_at, etag
schema_version of this layout, for later migrations
"""

from __future__ import annotations

from contactsvc.domain.contact_method import ContactMethod, ContactMethodType, ContactValue
from contactsvc.store.drivers import Document

SCHEMA_VERSION = 1


def value_key(type_: ContactMethodType, normalized: str) -> str:
    """Return the indexed form of a type and a normalized value."""
    return f"{type_.value}:{normalized}"


def metadata_pair(key: str, value: str) -> str:
    """Return the indexed form of a metadata pair."""
    return f"{key}={value}"


def to_document(record: ContactMethod) -> Document:
    """Return the document of a record."""
    document: Document = {
        "_id": record.id,
        "client_id": record.client_id,
        "type": record.type.value,
        "value": record.value.text,
        "is_primary": record.is_primary,
        "metadata": [metadata_pair(key, value) for key, value in record.metadata.items()],
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "etag": record.etag,
        "schema_version": SCHEMA_VERSION,
    }
    if record.value.normalized is not None:
        document["value_key"] = value_key(record.type, record.value.normalized)
    for name, value in (
        ("label", record.label),
        ("external_id", record.external_id),
        ("verified_at", record.verified_at),
    ):
        if value is not None:
            document[name] = value
    return document


def from_document(document: Document) -> ContactMethod:
    """Return the record of a document."""
    key = document.get("value_key")
    return ContactMethod(
        id=document["_id"],
        client_id=document["client_id"],
        type=ContactMethodType(document["type"]),
        value=ContactValue(document["value"], None if key is None else key.partition(":")[2]),
        label=document.get("label"),
        is_primary=document["is_primary"],
        verified_at=document.get("verified_at"),
        external_id=document.get("external_id"),
        metadata=dict(pair.split("=", 1) for pair in document["metadata"]),
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        etag=document["etag"],
    )
