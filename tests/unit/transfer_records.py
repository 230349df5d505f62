"""Contact methods for tests of export and import, and files made of them."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.domain.normalization import ValueRules, trim
from contactsvc.transfer.exporter import ExportHeader
from contactsvc.transfer.json_lines import JsonLinesSink

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
RULES = ValueRules()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def record(id_: str = "contact_1", **fields: Any) -> ContactMethod:
    """Return a contact method, an email by default."""
    whole: dict[str, Any] = {
        "id": id_,
        "client_id": "c1",
        "type": ContactMethodType.EMAIL,
        "value": ContactValue("Ana@example.com", "ana@example.com"),
        "label": None,
        "is_primary": False,
        "verified_at": None,
        "external_id": None,
        "metadata": {},
        "created_at": NOON,
        "updated_at": NOON,
        "etag": "",
        **fields,
    }
    return ContactMethod(**whole)


def export_of(*records: ContactMethod, changed_from: datetime = NOON + timedelta(days=1)) -> bytes:
    """Return an export of these records in JSON Lines."""
    file = io.BytesIO()
    sink = JsonLinesSink(file)
    sink.begin(ExportHeader("live", changed_from))
    for one in records:
        sink.put(one)
    sink.end()
    return file.getvalue()


def _single_line(most: int) -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cc", "Cs"])
    return st.text(letters, min_size=1, max_size=most)


_TIMES = st.integers(0, 4_000_000_000_000).map(lambda ms: _EPOCH + timedelta(milliseconds=ms))
# Metadata values may contain line breaks and all other control characters.
_PAIRS = st.dictionaries(
    st.text("abcXYZ09_.:-", min_size=1, max_size=40),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=500),
    max_size=4,
)
_TEXTS = _single_line(512).map(trim).filter(bool)
RECORDS = st.builds(
    record,
    _single_line(128),
    client_id=_single_line(128),
    type=st.sampled_from(ContactMethodType),
    value=st.builds(ContactValue, _TEXTS, st.none() | _TEXTS),
    label=st.none() | _single_line(100),
    is_primary=st.booleans(),
    verified_at=st.none() | _TIMES,
    external_id=st.none() | _single_line(255),
    metadata=_PAIRS,
    created_at=_TIMES,
    updated_at=_TIMES,
)
