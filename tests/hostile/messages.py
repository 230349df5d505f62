"""Hypothesis strategies for plausible and hostile requests, derived from the descriptors of the proto.

Plausible requests pass the checks of single fields often enough to reach the code behind them. Fields that the tables
do not name are filled by type, so that a new field is fuzzed from the start.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf import symbol_database
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from tests.hostile import texts
from tests.hostile.texts import NOWHERE

CLIENTS = ("fuzz_1", "fuzz_2", "c" * 128)
SEEDS = 6


@dataclass(frozen=True)
class Known:
    """What a caller knows of the present records; the number of entries is the same in every example."""

    ids: tuple[str, ...]
    etags: tuple[str, ...]
    external_ids: tuple[str, ...]
    page_tokens: tuple[str, ...]


_flags = st.booleans()
_int32 = st.one_of(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 200, 201]), st.integers(-(2**31), 2**31 - 1))
_int64 = st.one_of(st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
_unsigned = st.integers(0, 2**32 - 1)
_enums = st.one_of(st.integers(0, 6), st.sampled_from([-1, 2**31 - 1, -(2**31), 1000]))
_good_enums = st.sampled_from([1, 2, 1, 2, 1, 2, 0, 3, 4])
_good_types = st.sampled_from([1, 1, 2, 3, 4, 4, 4])
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _int32,
    FieldDescriptor.CPPTYPE_INT64: _int64,
    FieldDescriptor.CPPTYPE_UINT32: _unsigned,
    FieldDescriptor.CPPTYPE_UINT64: _unsigned,
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_BOOL: _flags,
    FieldDescriptor.CPPTYPE_ENUM: _enums,
}
# 0001-01-01 and 10000-01-01.
_seconds = st.one_of(
    st.sampled_from([0, 1, -1, 1_700_000_000, -62_135_596_800, -62_135_596_801, 253_402_300_799, 253_402_300_800]),
    _int64,
)
_nanos = st.sampled_from([0, 1, 999_999_999, 10**9, -1, -999_999_999, 2**31 - 1, -(2**31)])
_good_seconds = st.sampled_from([0, 1_700_000_000, 4_000_000_000])
_moods = st.sampled_from(["plausible"] * 4 + ["flawed"] * 3 + ["wild"])
_item_counts = st.sampled_from([1, 2, 3, 4])
_hostile_counts = st.sampled_from([0, 1, 2, 3, 51, 250, 251, 300])
_few = st.sampled_from([False] * 7 + [True])
_masks = st.integers(0, 2**32 - 1)
_indexes = st.integers(0, 2**16)
_parts = st.lists(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(
            [10**400, "9" * 5000, "\ud800", {"$gt": ""}, ["$ne"], {}, -62_135_596_800_000, 253_402_300_800_000]
        ),
        st.integers(0, 2 * 10**12),
    ),
    max_size=4,
)
_unknown = st.sampled_from(
    [
        b"\xf8\x3f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # field 1023, a varint
        b"\xfa\x3f\x05hello",  # field 1023, bytes
        b"\xfb\x3f" * 20 + b"\xfc\x3f" * 20,  # field 1023, groups in groups
        b"\xf9\x3f12345678",  # field 1023, 64 bits
        b"\xfa\xff\xff\xff\x0f\x01\x00",  # field 536870911, the last there is
    ]
)
# Fields that a request needs to pass the checks of single fields.
_NEEDED = frozenset({"id", "client_id", "type", "value", "key", "requests", "ids", "items", "field"})
# In these messages no field is needed, and a field of those names restricts too much.
_NOT_NEEDED_IN = frozenset(
    {"ContactMethodFilter", "SyncItem", "ListContactMethodsRequest", "StreamContactMethodsRequest"}
)


def class_of(descriptor: Descriptor) -> Any:
    """Return the message class of a descriptor."""
    return symbol_database.Default().GetSymbol(descriptor.full_name)


class _Builder:
    """Builds one request.

    Args:
        draw: draws from a strategy.
        known: what the caller knows of the records.
    """

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any], known: Known) -> None:
        self._draw = draw
        self._known = known
        self._plausible: dict[str, Callable[[], Any]] = {
            "id": self._id,
            "ids": self._id,
            "etag": lambda: self._one_of(known.etags) if self._draw(_few) else "",
            "client_id": lambda: self._one_of(CLIENTS),
            "client_ids": lambda: self._one_of(CLIENTS),
            "external_id": lambda: self._one_of(("", "new", *known.external_ids)),
            "external_ids": lambda: self._one_of(known.external_ids),
            "type": lambda: draw(_good_types),
            "types": lambda: draw(_good_types),
            "value": lambda: draw(texts.good_values),
            "values": lambda: draw(texts.good_values),
            "value_contains": lambda: draw(st.sampled_from(["", "an", "@", "+52", ".", "\u00fc"])),
            "label": lambda: draw(texts.labels),
            "labels": lambda: draw(texts.labels),
            "key": lambda: draw(texts.metadata_keys),
            "remove_metadata_keys": lambda: draw(texts.metadata_keys),
            "request_id": lambda: draw(texts.request_ids),
            "page_token": lambda: self._page_token() if draw(_few) else "",
            "page_size": lambda: draw(st.sampled_from([0, 1, 3, 200, 1000])),
            "offset": lambda: draw(st.sampled_from([0, 0, 0, 1, 1000])),
        }

    def message(self, descriptor: Descriptor) -> Any:
        """Build a message."""
        message = class_of(descriptor)()
        mood = self._draw(_moods)
        if descriptor.full_name == "google.protobuf.Timestamp":
            message.seconds = self._draw(_good_seconds if mood == "plausible" else _seconds)
            message.nanos = 0 if mood == "plausible" else self._draw(_nanos)
            return message
        fields = list(descriptor.fields)
        present = self._draw(_masks)
        spoilt: set[int] = set()
        if mood == "flawed":
            spoilt = {self._draw(_indexes) % len(fields)}
        elif mood == "wild":
            spoilt = set(range(len(fields)))
        needed = frozenset() if descriptor.name in _NOT_NEEDED_IN and self._draw(_flags) else _NEEDED
        for position, field in enumerate(fields):
            hostile = position in spoilt
            # Few conditions: a filter with many matches nothing.
            wanted = (present >> position) & 1 and (field.name != "metadata" or (present >> position + 16) & 1)
            if (hostile and mood == "flawed") or wanted or (field.name in needed and mood != "wild"):
                self._fill(message, field, hostile=hostile)
        if mood == "plausible" and {"type", "value"} <= set(descriptor.fields_by_name) and message.value:
            message.type, message.value = self._draw(texts.fitting)
        if self._draw(_few):
            message.MergeFromString(self._draw(_unknown))
        return message

    def _fill(self, message: Any, field: FieldDescriptor, *, hostile: bool) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._fill_map(getattr(message, field.name), hostile=hostile)
        elif field.is_repeated:
            into = getattr(message, field.name)
            count = self._draw(_hostile_counts if hostile else _item_counts)
            # Repeat three elements: many different ones take long to build and find nothing more.
            made = [self._single(field, hostile=hostile) for _ in range(min(count, 3))]
            if made:
                into.extend(made[position % len(made)] for position in range(count))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(self._single(field, hostile=hostile))
        else:
            setattr(message, field.name, self._single(field, hostile=hostile))

    def _fill_map(self, into: Any, *, hostile: bool) -> None:
        if not hostile:
            for _ in range(self._draw(_item_counts)):
                into[self._draw(texts.metadata_keys)] = self._draw(texts.metadata_values)
            return
        for number in range(self._draw(_hostile_counts)):
            into[str(number) if number > 2 else self._draw(texts.hostile_texts)] = (
                "x" if number > 2 else self._draw(texts.hostile_texts)
            )

    def _single(self, field: FieldDescriptor, *, hostile: bool) -> Any:
        """Build one value of the field, or one element if it is repeated."""
        if field.message_type is not None:
            return self.message(field.message_type)
        if not hostile and field.name in self._plausible:
            return self._plausible[field.name]()
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return self._draw(st.binary(max_size=100))
            if field.name in {"value", "values"}:
                return self._draw(texts.hostile_values)
            return self._page_token() if field.name == "page_token" else self._draw(texts.hostile_texts)
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM and not hostile:
            return self._draw(_good_enums)
        return self._draw(_SCALARS[field.cpp_type])

    def _one_of(self, known: tuple[str, ...]) -> str:
        return known[int(self._draw(_indexes)) % len(known)]

    def _id(self) -> str:
        return NOWHERE if self._draw(_few) else self._one_of(self._known.ids)

    def _page_token(self) -> str:
        return str(self._draw(page_tokens(self._known)))


@st.composite
def requests(draw: Any, descriptor: Descriptor, known: Known) -> Any:
    """Draw a request."""
    return _Builder(draw, known).message(descriptor)


@st.composite
def page_tokens(draw: Any, known: Known) -> str:
    """Draw a page token: real, spliced from two, with a forged position, or nonsense."""

    def token() -> str:
        return known.page_tokens[int(draw(_indexes)) % len(known.page_tokens)]

    match draw(st.sampled_from(["real", "cut", "forged", "forged", "forged raw", "nonsense"])):
        case "real":
            return token()
        case "cut":
            first, second = token(), token()
            return first[: int(draw(st.integers(0, len(first))))] + second[int(draw(st.integers(0, len(second)))) :]
        case "forged":
            raw = urlsafe_b64decode(token() + "==")
            forged = json.dumps(draw(_parts)).encode()
            return urlsafe_b64encode(raw[:8] + forged).decode().rstrip("=")
        case "forged raw":
            raw = urlsafe_b64decode(token() + "==")
            nonsense = draw(st.one_of(st.binary(max_size=40), st.sampled_from([b"[" * 100_000, b"null", b"{}", b"[]"])))
            return urlsafe_b64encode(raw[:8] + nonsense).decode().rstrip("=")
    nonsense_text: str = draw(texts.hostile_texts)
    return nonsense_text


@st.composite
def spoilt_bytes(draw: Any, descriptor: Descriptor, known: Known) -> bytes:
    """Draw a corrupted request, or random bytes."""
    raw: bytes = draw(requests(descriptor, known)).SerializeToString()[:20_000]
    match draw(st.sampled_from(["random", "cut", "flipped", "flipped", "stuffed", "twice"])):
        case "random":
            return bytes(draw(st.binary(max_size=200)))
        case "cut":
            return raw[: draw(_indexes) % (len(raw) + 1)]
        case "stuffed":
            at = draw(_indexes) % (len(raw) + 1)
            return raw[:at] + bytes(draw(st.binary(min_size=1, max_size=8))) + raw[at:]
        case "twice":
            return raw + raw
    flipped = bytearray(raw or b"\x00")
    for _ in range(draw(st.integers(1, 8))):
        place = draw(_indexes)
        flipped[(place >> 3) % len(flipped)] ^= 1 << (place & 7)
    return bytes(flipped)


def as_shown(raw: bytes) -> str:
    """Return bytes as Python source, to reproduce a failing example."""
    return f"bytes.fromhex({binascii.hexlify(raw).decode()!r})"
