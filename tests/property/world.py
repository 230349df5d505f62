"""The vocabulary of the model: records, predictions, and the choices that the contract leaves open.

A `World` maps ids to records, oldest first. The ids of new records are unknown in advance: they are called `new-0`,
`new-1`, ... and get their real ids from the response. The paths of faults start at the request or at its item.

Where the contract allows several outcomes, either the prediction is made for each of them (`Choices`), or it has
alternatives (`Faults`) or bounds (`Refused`, `Synced`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from contactsvc.v1 import contact_methods_pb2 as pb

T = TypeVar("T")
Slot = tuple[str, int]

EMAIL, PHONE, FAX, OTHER = (
    pb.CONTACT_METHOD_TYPE_EMAIL,
    pb.CONTACT_METHOD_TYPE_PHONE,
    pb.CONTACT_METHOD_TYPE_FAX,
    pb.CONTACT_METHOD_TYPE_OTHER,
)

# Values that are not in the table of a type are invalid for it.
_NUMBERS = {
    "+52 55 1234 5678": "+525512345678",
    "+52 1 55 1234 5678": "+525512345678",
    "+14155550100": "+14155550100",
}
_ADDRESSES = {"ana@example.com": "ana@example.com", "Ana@Example.COM": "ana@example.com", "bo@x.test": "bo@x.test"}
_HANDLES = {"nonsense": "nonsense", "Cafe\u0301": "Caf\u00e9", "Caf\u00e9": "Caf\u00e9"}
NORMALIZED: dict[int, dict[str, str]] = {
    EMAIL: _ADDRESSES,
    PHONE: _NUMBERS,
    FAX: _NUMBERS,
    OTHER: _HANDLES | {text: text for text in (*_ADDRESSES, *_NUMBERS)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The fields of a contact method that callers can write."""

    client_id: str
    type: int
    value: str
    label: str | None
    is_primary: bool
    external_id: str | None
    metadata: dict[str, str]

    @property
    def normalized(self) -> str:
        return NORMALIZED[self.type][self.value]

    @property
    def slot(self) -> Slot:
        return self.client_id, self.type


@dataclass(frozen=True, slots=True)
class Fault:
    """A reason why a write fails; `fields` counts for INVALID_FIELD only."""

    reason: str
    fields: frozenset[str] = frozenset()
    existing_id: str | None = None


Faults = tuple[Fault, ...]
"""The faults of a write; the service may report any one of them."""


@dataclass(frozen=True, slots=True)
class Success:
    """A write that succeeds."""

    id: str
    demoted: tuple[str, ...] = ()
    action: int = pb.UPSERT_ACTION_UNSPECIFIED
    promoted: str | None = None


Result = Success | Faults


@dataclass(frozen=True, slots=True)
class Refused:
    """A batch that has no effect: its error names every item in `at_least` and no item outside `faults`."""

    faults: dict[int, Faults]
    at_least: frozenset[int]


@dataclass(frozen=True, slots=True)
class Synced:
    """A sync that succeeds.

    Attributes:
        created: the new records, in the order of the items.
        matched: the records of the other items, in their order, and whether each one changed.
        deleted: the deleted records.
        missing: the ids of deletions without a record, which the answer may list or not.
        demoted: the demoted records.
    """

    created: list[str]
    matched: list[tuple[str, bool]]
    deleted: set[str]
    missing: set[str]
    demoted: set[str]


@dataclass(frozen=True, slots=True)
class Erased:
    """An erasure."""

    count: int


Expected = Success | Faults | list[Result] | Refused | Synced | Erased


@dataclass
class World:
    """Records by id, oldest first; their etags before the write; and the ids of those that the write has named."""

    records: dict[str, Record] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    made: int = 0

    def copy(self) -> World:
        return World(dict(self.records), self.etags, set(self.touched), self.made)

    def primary(self, slot: Slot) -> str | None:
        return next((id_ for id_, record in self.records.items() if record.is_primary and record.slot == slot), None)

    def holder(self, external_id: str | None) -> str | None:
        if not external_id:
            return None
        return next((id_ for id_, record in self.records.items() if record.external_id == external_id), None)

    def put(self, id_: str, record: Record) -> tuple[str, ...]:
        """Write a record, demote the present primary if it is primary, and return the demoted ids."""
        demoted: tuple[str, ...] = ()
        rival = self.primary(record.slot) if record.is_primary else None
        if rival is not None and rival != id_:
            self.records[rival] = replace(self.records[rival], is_primary=False)
            demoted = (rival,)
        self.records[id_] = record
        self.touched.add(id_)
        return demoted


class Choices:
    """One combination of the choices that the contract leaves open."""

    def __init__(self, script: Sequence[int]) -> None:
        self._script = script
        self.taken: list[tuple[int, int]] = []

    def one_of(self, options: Sequence[T]) -> T:
        position = len(self.taken)
        choice = self._script[position] if position < len(self._script) else 0
        self.taken.append((choice, len(options)))
        return options[choice]


def every_way(predict: Callable[[Choices], T]) -> Iterator[T]:
    """Yield the prediction for each combination of choices."""
    script: list[int] = []
    while True:
        choices = Choices(script)
        yield predict(choices)
        taken = choices.taken
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        script = [choice for choice, _ in taken]
        script[-1] += 1
