"""Page tokens: the position after a page, bound to its listing.

A token is the base64url form of an 8-byte fingerprint of the listing and a JSON list: the sort values of the page's
last record, in milliseconds of Unix time, and its id. It contains no contact value. It is not signed: a forged token
only selects another position in a listing that its caller may read anyway.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import bson

from contactsvc.domain.clock import EPOCH
from contactsvc.errors import InvalidPageToken
from contactsvc.store.drivers import Document

_FINGERPRINT_BYTES = 8


def fingerprint(database: str, query: Document, keys: Sequence[tuple[str, int]]) -> bytes:
    """Return the fingerprint of a listing: a hash of environment, filter and order."""
    encoded = bson.encode({"database": database, "query": query, "keys": [[field, way] for field, way in keys]})
    return hashlib.blake2b(encoded, digest_size=_FINGERPRINT_BYTES).digest()


def encode(listing: bytes, keys: Sequence[tuple[str, int]], last: Document) -> str:
    """Return the token for the position after the document `last` of the listing with this fingerprint."""
    *times, id_ = (last[field] for field, _ in keys)
    position = [*((time - EPOCH) // timedelta(milliseconds=1) for time in times), id_]
    return urlsafe_b64encode(listing + json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(listing: bytes, keys: Sequence[tuple[str, int]], token: str) -> list[Any]:
    """Return the position in a token: its sort values and its id.

    Raises:
        InvalidPageToken: the token is damaged or belongs to another listing.
    """
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        *times, id_ = json.loads(raw[_FINGERPRINT_BYTES:])
        # Encoding finds strings that are not valid text, such as half a surrogate pair.
        position = [*(EPOCH + timedelta(milliseconds=int(time)) for time in times), str(id_).encode().decode()]
    except (UnicodeError, binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidPageToken from None
    if raw[:_FINGERPRINT_BYTES] != listing or len(position) != len(keys):
        raise InvalidPageToken
    return position
