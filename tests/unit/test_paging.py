from __future__ import annotations

from datetime import UTC, datetime

import pytest

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.listing import Filter, Listing
from contactsvc.domain.normalization import ValueRules
from contactsvc.rpc import responses
from contactsvc.store import to_document
from contactsvc.store.paging import Paging

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("metadata", [0, 2_000, 2_750, 20_000])
async def test_a_page_of_the_longest_records_fits_into_a_message(metadata: int) -> None:
    # A character of four bytes, whose NFC form has three characters.
    widest = "\U0001d160"
    whole = ContactMethod(
        id="i" * 34,
        client_id=widest * 128,
        type=ContactMethodType.OTHER,
        value=ValueRules().read(ContactMethodType.OTHER, widest * 512),
        label=widest * 100,
        is_primary=True,
        verified_at=NOON,
        external_id=widest * 255,
        metadata={f"k{i}": widest * 500 for i in range(metadata // 500)} | {"rest": widest * (metadata % 500)},
        created_at=NOON,
        updated_at=NOON,
        etag="e" * 34,
    )
    document = to_document(whole)

    fitting = Paging(Listing(filter=Filter(), page_size=200), "any").fitting([document] * 201)
    page = await Paging(Listing(filter=Filter(), page_size=200), "any").page([document] * fitting, more=False)

    assert 1 < fitting <= 200
    assert (await responses.listed(page)).ByteSize() <= 4 << 20
