"""Calls that strict type checkers accept; test_python_types.py checks them. They are never run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from contactsvc_client import (
    AnyContactMethodType,
    AsyncContactsClient,
    AtomicBatch,
    ContactMethod,
    ContactMethodType,
    ContactsClient,
    Filter,
    NewContactMethod,
    PartialBatch,
    RateLimitError,
    WrittenContactMethod,
    collect_all,
    contains,
    get_first,
    one_of,
)


async def with_every_kind_of_argument(chosen: AnyContactMethodType, atomic: bool, ids: Sequence[str]) -> None:
    async with AsyncContactsClient("localhost:50051", environment="test", tls={"ca": Path("ca.crt")}) as sdk:
        do = sdk.contact_methods
        made: WrittenContactMethod = await do.create(client_id="c", type="email", value="a@example.com")
        demoted: tuple[str, ...] = made.demoted_ids
        record: ContactMethod = await do.update(made.id, type=ContactMethodType.FAX, label=None)
        await do.create(client_id="c", type=chosen, value=demoted[0], metadata={"k": "v"})
        await do.create(client_id="c", type=ContactMethodType(os.environ["TYPE"]), value=record.value)
        await do.upsert_by_external_id("x", client_id="c", type=record.type, value="v", metadata={"k": None})
        page = await do.list(
            filter={
                "client_id": ids,
                "type": one_of("email", "phone"),
                "value": contains("@"),
                "created_before": datetime.now(UTC),
            },
            sort=["-created_at", "updated_at"],
        )
        texts = [contact.value for contact in page] + [str(len(page))]
        mixed: Filter = {"type": ["email", ContactMethodType.FAX], "id": one_of(*texts)}
        found = await collect_all(do.iterate(mixed))
        first: ContactMethod | None = await get_first(do.iterate({"type": one_of(*ContactMethodType)}))
        items: list[NewContactMethod] = [
            {"client_id": contact.client_id, "type": "fax", "value": "1"} for contact in found
        ]
        all_or_nothing: AtomicBatch[WrittenContactMethod] = await do.create_many(items)
        one_by_one: PartialBatch[WrittenContactMethod] = await do.create_many(items, atomic=False)
        either = await do.create_many(items, atomic=atomic)
        if either.atomic:
            all_or_nothing = either
        else:
            one_by_one = either
        for (index, error), written in zip(one_by_one.failed, all_or_nothing.data, strict=True):
            print(items[index], error.to_dict(), written.demoted_ids, first)  # noqa: T201 - an example
        await do.update_many([{"id": "x", "type": "phone", "metadata": {"k": None}}])
        await do.sync("c", [{"id": "x", "delete": True}, {"type": "other", "value": "@x", "is_primary": True}])


def blocking() -> float | None:
    with ContactsClient(api_key=None, tls=True, max_retries=0) as sdk:
        try:
            sdk.contact_methods.get_primary("c", "email")
        except RateLimitError as error:
            return error.retry_after
    return None
