"""Reading documents that are not as the service writes them."""

from __future__ import annotations

from typing import Any

import pytest

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.store import SCHEMA_VERSION, UnreadableDocument, from_document, to_document
from contactsvc.store.documents import invalid_fields
from contactsvc.store.layouts import UnknownLayout
from tests.integration.stored import PERSONAL, document

REQUIRED = ["client_id", "type", "value", "is_primary", "metadata", "created_at", "updated_at", "etag"]
OPTIONAL = ["value_key", "label", "verified_at", "external_id", "requests"]


def test_the_record_has_no_checks_of_its_own_that_reading_would_skip() -> None:
    # Reading sets the attributes without calling the constructor.
    assert not hasattr(ContactMethod, "__post_init__")


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_reads_like_an_absent_field(name: str) -> None:
    absent = {field: value for field, value in document("r1").items() if field != name}

    assert from_document({**absent, name: None}) == from_document(absent)
    assert invalid_fields({**absent, name: None}) == ()


def test_an_empty_mapping_reads_like_no_metadata() -> None:
    assert from_document(document("r1", metadata={})).metadata == {}


def test_unknown_fields_are_ignored() -> None:
    assert from_document(document("r1", hobby="chess")) == from_document(document("r1"))


def test_a_record_without_normalized_value_is_read() -> None:
    record = from_document(document("r1", value_key=None))

    assert record.value.normalized is None
    assert "value_key" not in to_document(record)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, None) for name in REQUIRED if name != "client_id"),
        *((name, 7) for name in [*REQUIRED, *OPTIONAL]),
        ("type", "pigeon"),
        ("type", ["email"]),
        ("metadata", ["no pair"]),
        ("metadata", [7]),
        ("requests", [{}]),
    ],
)
def test_an_invalid_field_is_named_and_never_quoted(name: str, value: Any) -> None:
    broken = document(PERSONAL, **{name: value})

    with pytest.raises(UnreadableDocument) as raised:
        from_document(broken)

    assert invalid_fields(broken) == (name,)
    assert type(raised.value) is UnreadableDocument
    assert PERSONAL not in raised.value.for_the_log
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("fields", [{}, {"value": 7}, {"requests": 7}])
def test_a_document_of_a_newer_layout_is_refused_as_such(fields: dict[str, Any]) -> None:
    with pytest.raises(UnknownLayout, match=f"has layout {SCHEMA_VERSION + 1}"):
        from_document(document("r1", schema_version=SCHEMA_VERSION + 1, **fields))
