"""Content lines of vCard (RFC 6350, section 3.3): unfolded and split on reading, escaped and folded on writing.

No library is used. vobject 0.9.9 and vobjectx 0.6.1 split a line by a regular expression that takes exponential time on
a malformed one (half a minute for 24 commas); icalendar 7.3.2 drops all but the last of repeated parameters, as in
`TYPE=HOME;TYPE=pref`, which every address book of Apple writes; vcard 1.0.0 is under the AGPL.
"""

from __future__ import annotations

import codecs
import quopri
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Final

from contactsvc.transfer.sources import CARRIAGE_RETURNS, UnreadableFile

# Of a longer line only photographs and notes are known; they are skipped.
_MAX_LINE_BYTES: Final = 1 << 16
_MAX_FOLDED_BYTES: Final = 75
_CHARSETS: Final = ("utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252")

# No nested quantifier can match the same text in two ways, so that no line takes more than linear time.
_NAME = re.compile(rb"(?:[A-Za-z0-9_-]+\.)?([A-Za-z0-9_-]+)[ \t]*[;:]")
_LINE = re.compile(
    r"(?:(?P<group>[\w-]+)\.)?(?P<name>[\w-]+)[ \t]*(?P<parameters>(?:;(?:[^\":;]|\"[^\"]*+\")*+)*+):(?P<value>.*+)",
    re.ASCII | re.DOTALL,
)
_PARAMETER = re.compile(r";([^\":;=]*+)(?:=((?:[^\":;]|\"[^\"]*+\")*+))?")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r"[\\,;]")


@dataclass(frozen=True, slots=True)
class ContentLine:
    """A property of a vCard.

    Attributes:
        number: the number of its first line, from 1.
        name: in upper case.
        group: in lower case; empty for none.
        parameters: the values by the name of the parameter, names in upper case. A value without a name, as vCard 2.1
            has them, counts as a TYPE.
        value: as it is in the file, unfolded and decoded, with its escapes.
    """

    number: int
    name: str
    group: str = ""
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    value: str = ""

    @property
    def types(self) -> frozenset[str]:
        """The values of TYPE, in lower case."""
        return frozenset(value.lower() for value in self.parameters.get("TYPE", ()))

    @property
    def text(self) -> str:
        """The value without its escapes."""
        return _ESCAPED.sub(lambda match: "\n" if match[1] in "nN" else match[1], self.value)


@dataclass(slots=True)
class _Unfolding:
    """A property whose lines are still being read."""

    number: int
    name: str
    content: bytearray
    is_wanted: bool
    is_quoted_printable: bool

    def soft_break(self, line: bytes) -> bool:
        """Return whether the property goes on after a line, whatever the next one begins with."""
        return self.is_quoted_printable and line.endswith(b"=")

    def add(self, line: bytes) -> None:
        """Add a line without its end; raise UnreadableFile."""
        if not self.is_wanted:
            return
        if b"\r" in line:
            raise UnreadableFile(CARRIAGE_RETURNS)
        self.content += line.removesuffix(b"=") if self.soft_break(line) else line
        if len(self.content) >= _MAX_LINE_BYTES:
            raise UnreadableFile(f"line {self.number}: {self.name} is longer than {_MAX_LINE_BYTES:,} bytes")

    def line(self) -> ContentLine:
        """Return the property; raise UnreadableFile."""
        if not self.is_wanted:
            return ContentLine(self.number, self.name)
        try:
            match = _LINE.fullmatch(self.content.decode())
        except UnicodeDecodeError:
            raise UnreadableFile(f"line {self.number} is not UTF-8") from None
        if match is None:
            raise UnreadableFile(f"line {self.number}: {self.name} is not a valid vCard property")
        parameters = _parameters(match["parameters"])
        value = match["value"]
        if self.is_quoted_printable:
            value = _decoded(self.number, value, parameters)
        return ContentLine(self.number, self.name, (match["group"] or "").lower(), parameters, value)


def read_content_lines(file: IO[bytes], wanted: Collection[str]) -> Iterator[ContentLine]:
    """Yield the properties of a file; of those whose name is not wanted, the number and the name alone.

    Memory does not grow with the file, nor with properties that are not wanted.

    Raises:
        UnreadableFile: a line belongs to no property, or a wanted property is malformed.
    """
    current: _Unfolding | None = None
    is_continued = False
    for number, line in _lines(file):
        if current is not None and (is_continued or line[:1] in (b" ", b"\t")):
            content = line if is_continued else line[1:]
        elif not line.strip():
            continue
        else:
            if current is not None:
                yield current.line()
            current, content = _unfolding(number, line, wanted), line
        current.add(content)
        is_continued = current.soft_break(content)
    if current is not None:
        yield current.line()


def content_line(name: str, value: str, *, types: Collection[str] = (), group: str = "") -> bytes:
    """Return the lines of a property: with escapes, folded, ended by CRLF."""
    prefix = f"{group}." if group else ""
    parameter = f";TYPE={','.join(types)}" if types else ""
    escaped = _TO_ESCAPE.sub(lambda match: f"\\{match[0]}", value).replace("\n", "\\n")
    return b"\r\n ".join(_pieces(f"{prefix}{name}{parameter}:{escaped}".encode())) + b"\r\n"


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines without their ends; a line too long to be wanted is cut."""
    number = 0
    while line := file.readline(_MAX_LINE_BYTES):
        number += 1
        end = line
        while not end.endswith(b"\n") and (end := file.readline(_MAX_LINE_BYTES)):
            pass
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        yield number, line.rstrip(b"\r\n")


def _unfolding(number: int, line: bytes, wanted: Collection[str]) -> _Unfolding:
    if (match := _NAME.match(line)) is None:
        raise UnreadableFile(f"line {number} is not a vCard property")
    name = match[1].decode().upper()
    head = line.partition(b":")[0].upper()
    return _Unfolding(number, name, bytearray(), name in wanted, b"QUOTED-PRINTABLE" in head)


def _parameters(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for match in _PARAMETER.finditer(text):
        name, values = (match[1].strip().upper(), match[2]) if match[2] is not None else ("TYPE", match[1])
        # Apple and others quote the whole list, which RFC 6350 (errata) reads as a list as well.
        found[name] = (*found.get(name, ()), *(value.strip() for value in values.replace('"', "").split(",")))
    return found


def _decoded(number: int, value: str, parameters: Mapping[str, tuple[str, ...]]) -> str:
    """Return a quoted-printable value as text; raise UnreadableFile."""
    try:
        charset = codecs.lookup(parameters.get("CHARSET", ("utf-8",))[0]).name
        if charset in _CHARSETS:
            return quopri.decodestring(value.encode()).decode(charset)
    except (LookupError, UnicodeDecodeError):
        pass
    raise UnreadableFile(f"line {number} is not quoted-printable text of its CHARSET")


def _pieces(line: bytes) -> Iterator[bytes]:
    """Yield what fits into a line each, without splitting a character."""
    limit = _MAX_FOLDED_BYTES
    while len(line) > limit:
        end = limit
        while line[end] & 0xC0 == 0x80:
            end -= 1
        yield line[:end]
        # The blank of a continuation counts.
        line, limit = line[end:], _MAX_FOLDED_BYTES - 1
    yield line
