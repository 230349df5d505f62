"""The text of a CSV file: its encoding, its separator, and its rows with their line numbers.

Spreadsheets save UTF-8 with and without a byte order mark, UTF-16, and, depending on the language of the system,
semicolons or tabs instead of commas. These are recognized. An 8-bit encoding such as Windows-1252 is refused: its
characters cannot be distinguished from those of another one.
"""

from __future__ import annotations

import codecs
import csv
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Final, NamedTuple

from contactsvc.domain.normalization import trim
from contactsvc.transfer.sources import CARRIAGE_RETURNS, MAX_LINE_BYTES, UnreadableFile, read_lines

NumberedCells = tuple[int, list[str]]
"""The cells of a row, and the number of its first line."""

_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
# Excel reads the separator from such a line, and hides the line.
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE | re.DOTALL)
_MAX_NAMED_LINES = 20
_CHUNK_BYTES = 1 << 16
_BYTE_ORDER_MARK = "\ufeff"
_SAVE_AS_UTF_8: Final = (
    "save the file as UTF-8 (Excel: Save As, CSV UTF-8), or convert it, for example with iconv -f WINDOWS-1252 -t UTF-8"
)


class _Encoding(NamedTuple):
    """An encoding.

    Attributes:
        codec: its name in Python.
        title: its name in messages.
    """

    codec: str
    title: str


_UTF_8: Final = _Encoding("utf-8", "UTF-8")
_MARKED: Final = {
    codecs.BOM_UTF8: _Encoding("utf-8", "UTF-8 with a byte order mark"),
    codecs.BOM_UTF16_LE: _Encoding("utf-16-le", "UTF-16 (little-endian)"),
    codecs.BOM_UTF16_BE: _Encoding("utf-16-be", "UTF-16 (big-endian)"),
}


class CsvText:
    """The rows of a CSV file.

    Args:
        file: a regular file, which the caller closes.
        is_header: returns whether cells are those of a first row; decides about the separator.

    Attributes:
        notes: remarks for the user: an encoding other than UTF-8, a separator other than the comma.

    Raises:
        UnreadableFile: the file is empty, is not text, or its first line is unreadable.
        OSError: reading failed.
    """

    def __init__(self, file: IO[bytes], is_header: Callable[[Sequence[str]], bool]) -> None:
        self._file = file
        self._encoding = _encoding_of(file)
        first = next(self._lines(), "")
        if not first:
            raise UnreadableFile("the file is empty; the first row of a list must name the columns")
        declared = _SEPARATOR_LINE.fullmatch(first)
        self._skipped_lines = 0 if declared is None else 1
        self._separator = self._found_separator(is_header) if declared is None else _declared(declared[1])
        self.notes = list(self._notes())

    def rows(self) -> Iterator[NumberedCells]:
        """Yield the rows that are not blank; raise UnreadableFile at the first line that cannot be read."""
        return self._rows(self._separator)

    def check(self, width: int) -> None:
        """Read the whole file, and raise UnreadableFile with everything that is wrong with its lines.

        Args:
            width: the number of cells that each row must have; empty cells may follow them.
        """
        undecodable: list[int] = []
        misshapen: list[int] = []
        problems: list[str] = []
        try:
            for line, cells in self._rows(self._separator, undecodable.append):
                if len(cells) < width or not _is_blank(cells[width:]):
                    misshapen.append(line)
        except UnreadableFile as error:
            problems.append(str(error))
        if undecodable:
            problems.append(f"not UTF-8: {_named(undecodable)}; {_SAVE_AS_UTF_8}")
        if misshapen:
            problems.append(f"another number of cells than the first row, which has {width}: {_named(misshapen)}")
        if problems:
            raise UnreadableFile("; ".join(problems))

    def _rows(self, separator: str, on_undecodable: Callable[[int], None] | None = None) -> Iterator[NumberedCells]:
        line = ""

        def lines() -> Iterator[str]:
            # Kept for the message when the row is malformed.
            nonlocal line
            for number, line in enumerate(self._lines(on_undecodable), 1):
                if "\0" in line:
                    raise UnreadableFile(f"line {number} contains a NUL character; the file is damaged, or not text")
                if number > self._skipped_lines:
                    yield line

        csv.field_size_limit(min(MAX_LINE_BYTES, sys.maxsize))
        reader: Any = csv.reader(lines(), delimiter=separator, strict=True)
        first = self._skipped_lines + 1
        try:
            for cells in reader:
                if not _is_blank(cells):
                    yield first, cells
                first = self._skipped_lines + reader.line_num + 1
        except csv.Error:
            if "\r" in line.rstrip("\r\n"):
                raise UnreadableFile(CARRIAGE_RETURNS) from None
            last = self._skipped_lines + reader.line_num
            where = f"line {first}" if first >= last else f"the row in lines {first} to {last}"
            raise UnreadableFile(f"{where} is not valid CSV: unbalanced quotes") from None

    def _lines(self, on_undecodable: Callable[[int], None] | None = None) -> Iterator[str]:
        """Yield the lines with their ends.

        Args:
            on_undecodable: called with the number of each line that is not UTF-8, instead of raising UnreadableFile.
        """
        self._file.seek(0)
        lines = self._utf_8_lines(on_undecodable) if self._encoding.codec == "utf-8" else self._utf_16_lines()
        # Programs that join files leave several marks.
        yield next(lines, "").lstrip(_BYTE_ORDER_MARK)
        yield from lines

    def _utf_8_lines(self, on_undecodable: Callable[[int], None] | None) -> Iterator[str]:
        for number, line in enumerate(read_lines(self._file), 1):
            try:
                yield line.decode()
            except UnicodeDecodeError:
                if on_undecodable is None:
                    raise UnreadableFile(f"line {number} is not UTF-8; {_SAVE_AS_UTF_8}") from None
                on_undecodable(number)
                yield line.decode(errors="replace")

    def _utf_16_lines(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self._encoding.codec)()
        text, number = "", 1
        while True:
            chunk = self._file.read(_CHUNK_BYTES)
            try:
                text += decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                before = text + error.object[: error.start].decode(self._encoding.codec, "replace")
                number += before.count("\n")
                raise UnreadableFile(f"line {number} is not {self._encoding.title}: a character is cut") from None
            *lines, text = re.split(r"(?<=\n)", text)
            yield from lines
            number += len(lines)
            if len(text) >= MAX_LINE_BYTES:
                raise UnreadableFile(
                    CARRIAGE_RETURNS if "\r" in text else f"line {number} is longer than {MAX_LINE_BYTES:,} characters"
                )
            if not chunk:
                if text:
                    yield text
                return

    def _found_separator(self, is_header: Callable[[Sequence[str]], bool]) -> str:
        """Return the separator with which the first row names columns; the comma when none does."""
        for separator in _SEPARATORS:
            try:
                _, cells = next(self._rows(separator), (0, []))
            except UnreadableFile:
                # Raised again with the comma, unless another one fits.
                continue
            if is_header(cells):
                return separator
        return ","

    def _notes(self) -> Iterator[str]:
        if self._encoding is not _UTF_8 or self._separator != ",":
            yield (
                f"the list is read as {self._encoding.title}, separated by "
                f"{_SEPARATORS.get(self._separator, repr(self._separator))}"
            )


def _encoding_of(file: IO[bytes]) -> _Encoding:
    """Return the encoding of a file by its first bytes; raise UnreadableFile for UTF-32."""
    file.seek(0)
    start = file.read(4)
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise UnreadableFile("the file is UTF-32; save it as UTF-8")
    for mark, encoding in _MARKED.items():
        if start.startswith(mark):
            return encoding
    # The name of a column begins with an ASCII character, whose other byte is 0 in UTF-16.
    if len(start) >= 2 and (start[0] == 0) != (start[1] == 0):
        return _MARKED[codecs.BOM_UTF16_BE if start[0] == 0 else codecs.BOM_UTF16_LE]
    return _UTF_8


def _is_blank(cells: Sequence[str]) -> bool:
    return not any(cell and trim(cell) for cell in cells)


def _declared(separator: str) -> str:
    if separator.isalnum() or separator in '"\r\n ':
        raise UnreadableFile("the first line declares a separator that cannot be one; use sep=, or sep=;")
    return separator


def _named(lines: Sequence[int]) -> str:
    """Return the first lines as text, and the number of the others."""
    noun = "line" if len(lines) == 1 else "lines"
    more = len(lines) - _MAX_NAMED_LINES
    return f"{noun} {', '.join(map(str, lines[:_MAX_NAMED_LINES]))}" + (f" and {more} more" if more > 0 else "")
