"""CSV exports of Google Contacts, Outlook and HubSpot: a row is a client, and becomes several contact methods.

Names of persons are not stored. docs/imports.md has the rules for users.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, Final

from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import ValueRules, trim
from contactsvc.errors import FieldViolation, InvalidFields
from contactsvc.transfer.csv_text import CsvText, NumberedCells
from contactsvc.transfer.entries import Entry, EntryMethod
from contactsvc.transfer.preset_columns import (
    CLIENT_ID_COLUMNS,
    Preset,
    ValueColumn,
    expected_names,
    folded,
    recognized,
    value_columns,
)
from contactsvc.transfer.sources import NumberedRow, UnreadableFile

_MAX_NAMED_COLUMNS: Final = 30
_MAX_NAME_LENGTH: Final = 40
_DIGEST_BYTES: Final = 16
_IS_FAX: Final = re.compile(r"\bfax\b", re.IGNORECASE)


def preset_of(file: IO[bytes]) -> Preset | None:
    """Return the preset for a file, by the names of its columns; raise UnreadableFile."""
    text = CsvText(file, lambda cells: recognized(_names_of(cells)) is not None)
    return recognized(_names_of(_header(text.rows())))


class PresetSource:
    """Reads an export of another address book.

    Args:
        file: a regular file, which the caller closes.
        preset: the address book.
        client_id_column: the name of the column with the id of the client. By default that of the preset; a file
            without it gets client ids that are digests of the rows.

    Raises:
        UnreadableFile: the columns are not those of such an export, or the encoding, the quotes or the number of cells
            of a row is wrong.
        OSError: reading failed.
    """

    environment: str | None = None

    def __init__(self, file: IO[bytes], preset: Preset, *, client_id_column: str | None = None) -> None:
        self._file = file
        self._preset = preset
        self._text = CsvText(file, lambda cells: bool(value_columns(preset, _names_of(cells))))
        self.notes = list(self._text.notes)
        self._names = _names_of(_header(self._text.rows()))
        self._columns = value_columns(preset, self._names)
        self._check_columns()
        self._text.check(len(self._names))
        self._client_index = self._find_client_column(client_id_column)
        self._client_name = "" if self._client_index is None else _column(self._names[self._client_index])
        self._note_rows()

    def rows(self, rules: ValueRules, now: datetime) -> Iterator[NumberedRow]:
        """Yield the contact methods of the rows."""
        rows = self._text.rows()
        _header(rows)
        seen: set[bytes] = set()
        first_lines: dict[str, int] = {}
        for line, cells in rows:
            if not self._has_value(cells) or self._repeats(cells, seen):
                continue
            client_id = self._client_id(cells)
            first = first_lines.setdefault(client_id, line)
            if client_id and first != line:
                violation = FieldViolation(
                    self._client_name, f"repeats the client id of line {first}; a row is a client"
                )
                yield NumberedRow(line, InvalidFields([violation]), self._file.tell(), "")
                continue
            entry = Entry(
                client_id=client_id,
                client_name=self._client_name,
                methods=[method for column in self._columns for method in self._methods(line, column, cells)],
                position=self._file.tell(),
            )
            yield from entry.rows(rules, now)

    def _check_columns(self) -> None:
        """Raise UnreadableFile when no column has contact values, or two have one name."""
        if not self._columns:
            other = recognized(self._names)
            advice = "" if other is None else f". It looks like an export of {other.product}: --preset {other}"
            raise UnreadableFile(
                f"the first row names no column with contact values of an export of {self._preset.product}, such as "
                f"{expected_names(self._preset)}{advice}"
            )
        names = [folded(name) for name in self._names]
        if twice := [column.name for column in self._columns if names.count(folded(column.name)) > 1]:
            raise UnreadableFile(f"two columns have the same name: {', '.join(twice)}")

    def _find_client_column(self, wanted: str | None) -> int | None:
        """Return the index of the column with the id of the client; None when it is derived from the row."""
        name = wanted if wanted is not None else CLIENT_ID_COLUMNS.get(self._preset)
        found = [] if name is None else [i for i, one in enumerate(self._names) if folded(one) == folded(name)]
        if len(found) > 1:
            raise UnreadableFile(f"two columns have the name of the client ids: {name}")
        if found:
            return found[0]
        if wanted is not None:
            raise UnreadableFile(f"the first row does not name the column {wanted!r} (--client-id-column)")
        self.notes.append(
            "the client id of each row is a digest of its cells: the same row is the same client, and a row with any "
            "other cell becomes a new one; if a column identifies the client, name it with --client-id-column"
        )
        return None

    def _note_rows(self) -> None:
        """Read all rows, and note what is left out."""
        rows = self._text.rows()
        _header(rows)
        filled: set[int] = set()
        without_value = repeated = 0
        seen: set[bytes] = set()
        for _, cells in rows:
            filled.update(index for index, cell in enumerate(cells) if cell)
            if not self._has_value(cells):
                without_value += 1
            elif self._repeats(cells, seen):
                repeated += 1
        self._note_ignored_columns(filled)
        if without_value:
            self.notes.append(f"rows without a contact value, left out: {without_value}")
        if repeated:
            self.notes.append(f"rows that repeat another row, left out: {repeated}")

    def _note_ignored_columns(self, filled: set[int]) -> None:
        used = {self._client_index, *(column.index for column in self._columns)}
        used |= {column.label_index for column in self._columns}
        ignored = [_printable(name) for i, name in enumerate(self._names) if i in filled and i not in used]
        if ignored:
            more = len(ignored) - _MAX_NAMED_COLUMNS
            end = f" and {more} more" if more > 0 else ""
            self.notes.append(f"columns ignored: {', '.join(ignored[:_MAX_NAMED_COLUMNS])}{end}")

    def _has_value(self, cells: Sequence[str]) -> bool:
        return any(trim(cells[column.index]) for column in self._columns)

    def _repeats(self, cells: Sequence[str], seen: set[bytes]) -> bool:
        """Return whether a row equals one before it; rows whose client has an id are left to the import."""
        if self._client_index is not None:
            return False
        digest = self._digest(cells)
        if digest in seen:
            return True
        seen.add(digest)
        return False

    def _digest(self, cells: Sequence[str]) -> bytes:
        """Return the digest of a row: of its filled cells by name, since exports add columns as they need them."""
        pairs = sorted([folded(name), trim(cell)] for name, cell in zip(self._names, cells, strict=False) if trim(cell))
        return hashlib.sha256(json.dumps(pairs).encode()).digest()[:_DIGEST_BYTES]

    def _client_id(self, cells: Sequence[str]) -> str:
        if self._client_index is None:
            return f"{self._preset}_{self._digest(cells).hex()}"
        return trim(cells[self._client_index])

    def _methods(self, line: int, column: ValueColumn, cells: Sequence[str]) -> Iterator[EntryMethod]:
        """Yield the contact methods of a cell."""
        texts = cells[column.index].split(column.separator) if column.separator else [cells[column.index]]
        label, is_marked, label_name = column.label, False, ""
        if column.label_index is not None:
            label_name = _column(self._names[column.label_index])
            cell = trim(cells[column.label_index])
            # Google marks the preferred value of each kind.
            is_marked = cell.startswith("*")
            label = trim(cell.removeprefix("*"))
        is_fax = column.type is ContactMethodType.PHONE and _IS_FAX.search(label) is not None
        for place, text in enumerate(texts, 1):
            if not trim(text):
                continue
            yield EntryMethod(
                line=line,
                type=ContactMethodType.FAX if is_fax else column.type,
                value=text,
                label=label,
                is_marked=is_marked and place == 1,
                may_be_primary=column.may_be_primary,
                external_id=self._external_id(column, place, cells),
                value_name=_column(column.name) if len(texts) == 1 else f"{_column(column.name)}, value {place},",
                label_name=label_name or _column(column.name),
            )

    def _external_id(self, column: ValueColumn, place: int, cells: Sequence[str]) -> str | None:
        """Return what identifies a contact method while its value changes: client, column and place in the cell.

        None when the client id depends on the values themselves.
        """
        if self._client_index is None or not (client_id := self._client_id(cells)):
            return None
        return f"{self._preset}:{client_id}:{column.name}" + (f":{place}" if column.separator else "")


def _header(rows: Iterator[NumberedCells]) -> list[str]:
    return next(rows, (0, []))[1]


def _names_of(cells: Sequence[str]) -> list[str]:
    """Return the names of the columns, without the empty ones that spreadsheets append."""
    names = [trim(cell) for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _column(name: str) -> str:
    return f"column '{_printable(name)}'"


def _printable(name: str) -> str:
    """Return a name from a file without what may disturb a terminal."""
    return "".join(character if character.isprintable() else "?" for character in name)[:_MAX_NAME_LENGTH]
