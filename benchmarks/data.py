"""The data: generated contact methods, five of each client, stored as contactsvc stores them.

Record number n is the same in every run, so that requests can be made without reading the database.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue
from contactsvc.store import COLLECTION, Driver, ensure_indexes, to_document

RECORDS_OF_A_CLIENT = 5
_BATCH = 2_000
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_NEW_CLIENT = "new-"
_AFTER_NEW_CLIENTS = "new."


def id_of(number: int) -> str:
    """Return the id of a record, in the layout of contactsvc, with bits derived from its number."""
    milliseconds = int((_BEGINNING + timedelta(milliseconds=number)).timestamp() * 1000)
    bits = milliseconds << 80 | int.from_bytes(blake2b(str(number).encode(), digest_size=10).digest(), "big")
    return "contact_" + "".join(_ALPHABET[bits >> shift & 31] for shift in range(125, -1, -5))


def client_of(number: int) -> str:
    """Return the client of a record."""
    return f"client-{number // RECORDS_OF_A_CLIENT:07d}"


def record(number: int) -> ContactMethod:
    """Return a record: a client has a primary email, a primary phone, an email, a fax, and one of type other."""
    part, client = number % RECORDS_OF_A_CLIENT, number // RECORDS_OF_A_CLIENT
    digits = f"{10_000_000 + number:08d}"
    phone = ContactValue(f"+52 55 {digits[:4]} {digits[4:]}", f"+5255{digits}")
    mail = f"person{number}@example.com"
    type_, value, label = (
        (ContactMethodType.EMAIL, ContactValue(mail, mail), "Personal"),
        (ContactMethodType.PHONE, phone, "Mobile"),
        (ContactMethodType.EMAIL, ContactValue(mail, mail), "Work"),
        (ContactMethodType.FAX, phone, None),
        (ContactMethodType.OTHER, ContactValue(f"@person{number}", f"@person{number}"), None),
    )[part]
    at = _BEGINNING + timedelta(milliseconds=number)
    return ContactMethod(
        id=id_of(number),
        client_id=client_of(number),
        type=type_,
        value=value,
        label=label,
        is_primary=part < 2,
        verified_at=at if part == 0 else None,
        external_id=f"crm-{number}" if part < 2 else None,
        metadata={"source": "crm", "account": f"a-{client}"},
        created_at=at,
        updated_at=at,
        etag=blake2b(b"%d" % number, digest_size=8).hexdigest(),
    )


async def fill(driver: Driver, database: str, records: int, *, start: int = 0) -> None:
    """Fill a database that has the first `start` records up to this many, with the indexes of contactsvc.

    The indexes come first: SecantusDB inserts 1,300 to 1,500 records per second under them, and takes six times as long
    to build them afterwards.
    """
    collection = driver.database(database)[COLLECTION]
    await ensure_indexes(collection)
    for first in range(start, records, _BATCH):
        numbers = range(first, min(first + _BATCH, records))
        await collection.insert_many([to_document(record(number)) for number in numbers], ordered=False)


class Sizes(NamedTuple):
    """The size of a collection on disk, in bytes."""

    documents: int
    indexes: int


async def sizes(driver: Driver, database: str) -> Sizes:
    """Return the size of the records."""
    found = await driver.database(database).command("collStats", COLLECTION)
    return Sizes(int(found["storageSize"]), int(found["totalIndexSize"]))


async def drop(driver: Driver, database: str) -> None:
    """Remove a database."""
    client: Any = driver.database(database).client
    await client.drop_database(database)


def new_client() -> str:
    """Return an unused client id, for records that a measurement creates."""
    return _NEW_CLIENT + os.urandom(8).hex()


async def remove_new(driver: Driver, database: str) -> None:
    """Remove the records that measurements created."""
    collection = driver.database(database)[COLLECTION]
    await collection.delete_many({"client_id": {"$gte": _NEW_CLIENT, "$lt": _AFTER_NEW_CLIENTS}})


def new_email(number: int) -> str:
    """Return the value of a new record, the same for all servers and the bare driver."""
    return f"someone{number}@example.com"


NEW_LABEL = "Work"
NEW_METADATA = {"source": "crm"}


def new_documents(count: int) -> list[dict[str, Any]]:
    """Return the documents that contactsvc makes of a batch of new records, each of a new client."""
    stamp = time.time_ns()
    return [
        {**template, "_id": f"contact_{stamp + index:016x}{os.urandom(5).hex()}", "client_id": new_client()}
        for index, template in enumerate(_templates(count))
    ]


@cache
def _templates(count: int) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        to_document(
            ContactMethod(
                id="",
                client_id="",
                type=ContactMethodType.EMAIL,
                value=ContactValue(new_email(number), new_email(number)),
                label=NEW_LABEL,
                is_primary=False,
                verified_at=None,
                external_id=None,
                metadata=NEW_METADATA,
                created_at=now,
                updated_at=now,
                etag=blake2b(b"%d" % number, digest_size=8).hexdigest(),
            )
        )
        for number in range(count)
    ]
