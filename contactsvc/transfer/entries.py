"""An entry of an address book: one client with several contact methods, as a row of an export or a vCard states it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.validation import Violations
from contactsvc.errors import FieldViolation, InvalidFields
from contactsvc.transfer import fields
from contactsvc.transfer.sources import NumberedRow, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryMethod:
    """A contact method of an entry, as the file has it.

    Attributes:
        line: the line number, from 1.
        type: how the value is read.
        value: the value as written.
        label: empty for none.
        is_marked: whether the file marks it as the preferred one.
        may_be_primary: whether it becomes primary when no other one of its type comes before it.
        external_id: identifies the record when its value changes; None to identify it by client, type and value.
        value_name: what messages call the value.
        label_name: what messages call the label.
    """

    line: int
    type: ContactMethodType
    value: str
    label: str = ""
    is_marked: bool = False
    may_be_primary: bool = True
    external_id: str | None = None
    value_name: str
    label_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A client and its contact methods.

    Attributes:
        client_id: the client.
        client_name: what messages call the client id.
        methods: the contact methods, in the order in which they compete for the primary flag.
        position: the number of bytes read so far.
    """

    client_id: str
    client_name: str
    methods: Sequence[EntryMethod]
    position: int

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[NumberedRow]:
        """Yield the records of the entry; equal values of one type become one record, with the first label of them.

        The primary of a type is the first value that may be it, marked ones before others. A value that cannot be read
        keeps its claim, so that it becomes primary when it is corrected, without a conflict with another one.
        """
        # By type and value; by type and number for what cannot be written.
        kept: dict[tuple[ContactMethodType, str | int], tuple[int, Row | InvalidFields]] = {}
        claimed: set[ContactMethodType] = set()
        for number, method in enumerate(sorted(self.methods, key=lambda method: not method.is_marked)):
            is_primary = method.may_be_primary and method.type not in claimed
            if is_primary:
                claimed.add(method.type)
            try:
                row = self._row(method, is_primary, rules, now)
            except InvalidFields as error:
                renamed = [self._renamed(violation, method) for violation in error.violations]
                kept[method.type, number] = method.line, InvalidFields(renamed)
                continue
            key = row.record.type, row.record.value.normalized or row.record.value.text
            line, first = kept.setdefault(key, (method.line, row))
            if isinstance(first, Row) and first is not row:
                kept[key] = line, _merged(first, row)
        for line, kept_row in kept.values():
            id_ = kept_row.record.id if isinstance(kept_row, Row) else ""
            yield NumberedRow(line, kept_row, self.position, id_)

    def _row(self, method: EntryMethod, is_primary: bool, rules: ValueRules, now: datetime) -> Row:
        """Return the row of a contact method; raise InvalidFields."""
        found = {
            "client_id": self.client_id,
            "type": method.type.value,
            "value": method.value,
            "label": method.label,
            "is_primary": is_primary,
            "external_id": method.external_id or "",
        }
        row = fields.listed_row(Violations(), found, rules, now=now)
        return row if row.refusal is None else replace(row, refusal=self._renamed(row.refusal, method))

    def _renamed(self, violation: FieldViolation, method: EntryMethod) -> FieldViolation:
        """Return the violation with the name that the file has for the field: a row or a card has several values."""
        names = {"client_id": self.client_name, "label": method.label_name}
        return FieldViolation(names.get(violation.field, method.value_name), violation.description)


def _merged(first: Row, other: Row) -> Row:
    """Return the row of a value that stands twice in an entry."""
    record = replace(
        first.record,
        label=first.record.label or other.record.label,
        is_primary=first.record.is_primary or other.record.is_primary,
    )
    return replace(first, record=record)
