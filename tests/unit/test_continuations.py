"""Queries that continue a listing after a position."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import pytest
from mongomock.filtering import filter_applies

from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.listing import Filter, SortField, SortKey, TimeRange
from contactsvc.store.queries import continuations, filter_query, order

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def at(number: int) -> datetime:
    return NOON + timedelta(milliseconds=number)


# Several documents share each time, in different orders.
DOCUMENTS: list[dict[str, Any]] = [
    {
        "_id": f"id_{number * 7 % 24:02}",
        "client_id": f"client_{number % 3}",
        "type": "email" if number % 2 else "phone",
        "value": f"value {number}",
        "value_key": f"email:{number % 5}@example.com",
        "external_id": f"external_{number}",
        "label": f"label {number % 4}",
        "is_primary": number % 3 == 0,
        "verified_at": at(number) if number % 4 == 0 else None,
        "metadata": [f"a={number % 2}", f"b={number % 3}"],
        "created_at": at(number // 4),
        "updated_at": at(number * 5 % 24 // 3),
    }
    for number in range(24)
]

FILTERS = [
    Filter(),
    Filter(ids=("id_07",)),
    Filter(ids=("id_01", "id_07", "id_13", "nobody")),
    Filter(client_ids=("client_1",)),
    Filter(client_ids=("client_1", "client_2"), types=(ContactMethodType.EMAIL,)),
    Filter(values=((ContactMethodType.EMAIL, "1@example.com"), (ContactMethodType.EMAIL, "2@example.com"))),
    Filter(value_contains="1"),
    Filter(is_primary=True),
    Filter(is_verified=False),
    Filter(external_ids=("external_3", "external_9")),
    Filter(labels=("label 1", "label 2")),
    Filter(metadata={"a": "1"}),
    Filter(metadata={"a": "1", "b": "2"}, ids=("id_01", "id_07")),
    Filter(created=TimeRange(at_or_after=at(1))),
    Filter(created=TimeRange(before=at(4))),
    Filter(created=TimeRange(at_or_after=at(1), before=at(4)), updated=TimeRange(at_or_after=at(2), before=at(7))),
    Filter(updated=TimeRange(at_or_after=at(3)), labels=("label 1",)),
]
CREATED, UPDATED = SortField.CREATED_AT, SortField.UPDATED_AT
SORTS = [
    (SortKey(CREATED, False),),
    (SortKey(CREATED, True),),
    (SortKey(UPDATED, True),),
    (SortKey(CREATED, False), SortKey(UPDATED, True)),
    (SortKey(UPDATED, True), SortKey(CREATED, False)),
]


def in_order(documents: list[dict[str, Any]], keys: list[tuple[str, int]]) -> list[dict[str, Any]]:
    found = list(documents)
    for field, direction in reversed(keys):
        found.sort(key=itemgetter(field), reverse=direction < 0)
    return found


def matching(query: dict[str, Any], keys: list[tuple[str, int]]) -> list[dict[str, Any]]:
    applies: Any = filter_applies
    return in_order([document for document in DOCUMENTS if applies(query, document)], keys)


@pytest.mark.parametrize("sort", SORTS, ids=lambda sort: ",".join(f"{key.field}{'-' * key.descending}" for key in sort))
def test_continuations_are_what_follows_any_position_without_operators_of_their_own(sort: tuple[SortKey, ...]) -> None:
    keys = order(sort)
    everything = in_order(DOCUMENTS, keys)
    for asked in FILTERS:
        query = filter_query(asked)
        own = {name for name in query if name.startswith("$")}
        whole = matching(query, keys)
        for place in (0, 5, 11, 17, 23):
            position = [everything[place][field] for field, _ in keys]

            queries = list(continuations(query, keys, position))

            assert {name for one in queries for name in one if name.startswith("$")} <= own
            following = [one for one in whole if one in everything[place + 1 :]]
            assert [one for part in queries for one in matching(part, keys)] == following
