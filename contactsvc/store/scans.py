"""Long reads of a deployment: their connections, their slots, and the way in which the database is read in slices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from contactsvc.embedded_names import READ_INDEX
from contactsvc.store.drivers import Collection, Document, side_client
from contactsvc.store.listing_reader import ListingReader
from contactsvc.store.mongo_slices import MongoSlices
from contactsvc.store.scan_slots import ScanSlots
from contactsvc.store.slices import INDEX_NOT_FOUND, EmbeddedSlices, SliceSource, Traffic
from contactsvc.store.telemetry import DatabaseTelemetry

# SecantusDB executes Python code, one thread at a time.
_SLOTS_OF_SECANTUS = 1
_SLOTS_OF_MONGODB = 4
# Slices of short reads need no slot.
_MAX_CONNECTIONS = 16

_log = logging.getLogger(__name__)


class Scans:
    """Reads the listings of a deployment, long ones on connections of their own.

    Args:
        client: the connections.
        slots: of long reads.
        slices: returns what reads a collection in slices; None if the database cannot be read so.
        counts_by_index: whether the database counts by an index.
    """

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        slots: ScanSlots,
        slices: Callable[[Collection], SliceSource] | None,
        *,
        counts_by_index: bool,
    ) -> None:
        self._client = client
        self._slots = slots
        self._slices = slices
        self._counts_by_index = counts_by_index

    def reader(self, collection: Collection) -> ListingReader:
        """Return the reader of the listings of a collection."""
        scanned = self.collection(collection.database.name, collection.name)
        return ListingReader(
            collection,
            scans=scanned,
            slices=None if self._slices is None else self._slices(scanned),
            slots=self._slots,
            counts_by_index=self._counts_by_index,
        )

    def collection(self, database: str, name: str) -> Collection:
        """Return a collection by the connections of long reads."""
        return self._client[database][name]

    async def close(self) -> None:
        """Wait for the slices that are being read, and close the connections."""
        await self._slots.close()
        await self._client.close()


async def scans_of(uri: str, build: dict[str, Any], telemetry: DatabaseTelemetry | None) -> Scans:
    """Connect for long reads.

    Args:
        uri: of the deployment.
        build: its answer to `buildInfo`.
        telemetry: receives events of commands and connections.
    """
    client = side_client(uri, "scans", _MAX_CONNECTIONS, telemetry)
    if "secantusVersion" not in build:
        return Scans(client, ScanSlots(_SLOTS_OF_MONGODB), MongoSlices, counts_by_index=True)
    try:
        reads_indexes = await _reads_indexes(client)
    except BaseException:
        await client.close()
        raise
    if reads_indexes:
        traffic = Traffic()
        return Scans(
            client,
            ScanSlots(_SLOTS_OF_SECANTUS),
            lambda collection: EmbeddedSlices(collection, traffic),
            counts_by_index=False,
        )
    _log.warning(
        "this SecantusDB cannot be read in slices: long lists, streams and counts hold up all other calls, and do not "
        "end with their callers; use MongoDB, or the embedded database with SecantusDB 0.7.0b3"
    )
    return Scans(client, ScanSlots(_SLOTS_OF_SECANTUS), None, counts_by_index=False)


async def _reads_indexes(client: AsyncMongoClient[Document]) -> bool:
    """Return whether the database has the command that reads a slice of an index."""
    nothing: Document = {"index": "", "keys": [], "prefixes": [], "entries": 0, "max_bytes": 0}
    command = {READ_INDEX: "", **nothing, "reverse": False, "filter": {}, "count": True, "paced": False}
    try:
        await client["admin"].command(command)
    except OperationFailure as error:
        # It looks for the index first.
        return error.code == INDEX_NOT_FOUND
    return True
