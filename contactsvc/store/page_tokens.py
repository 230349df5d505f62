"""Page tokens: the position after a page, bound to the listing that made them.

A token is base64url of 8 bytes of fingerprint and a JSON list: the sort values of the last record of the page, in
milliseconds of Unix time, and its id. It holds no contact value. It is not signed: whoever forges one only chooses
another position in a listing that they may read anyway.
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
    """Return what tells listings apart: environment, filter and order."""
    listing = bson.encode({"database": database, "query": query, "keys": [[field, way] for field, way in keys]})
    return hashlib.blake2b(listing, digest_size=_FINGERPRINT_BYTES).digest()


def encode(mark: bytes, keys: Sequence[tuple[str, int]], last: Document) -> str:
    """Return the token of the position after the document `last`."""
    *times, id_ = (last[field] for field, _ in keys)
    position = [*((time - EPOCH) // timedelta(milliseconds=1) for time in times), id_]
    return urlsafe_b64encode(mark + json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(mark: bytes, keys: Sequence[tuple[str, int]], token: str) -> list[Any]:
    """Return the position of a token: its sort values and its id.

    Raises:
        InvalidPageToken: the token is damaged or belongs to another listing.
    """
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        *times, id_ = json.loads(raw[_FINGERPRINT_BYTES:])
        # What is no text at all, such as half a surrogate pair, is found out by encoding it.
        position = [*(EPOCH + timedelta(milliseconds=int(time)) for time in times), str(id_).encode().decode()]
    except (UnicodeError, binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidPageToken from None
    if raw[:_FINGERPRINT_BYTES] != mark or len(position) != len(keys):
        raise InvalidPageToken
    return position
