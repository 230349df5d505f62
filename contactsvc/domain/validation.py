"""The rules of single fields: lengths, characters, counts; the same for every kind of request.

Every function takes the path of the field, adds its violations to `violations`, and returns the parsed field. After a
violation the returned value is not used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from contactsvc.domain.normalization import trim
from contactsvc.domain.verification import CODE_DIGITS
from contactsvc.errors import FieldViolation, InvalidFields

MAX_BATCH_ITEMS = 250
MAX_FILTER_VALUES = 250
MAX_METADATA_PAIRS = 50
MAX_VALUE_LENGTH = 512
# NFC makes at most three characters of one (UAX 15).
MAX_NORMALIZED_LENGTH = 3 * MAX_VALUE_LENGTH
DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 200

_METADATA_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
_METADATA_VALUE_LENGTH = 500


class Violations:
    """Collects the violations of a request, so that one error reports all of them."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []
        self._doubtful: list[FieldViolation] = []

    def add(self, path: str, rule: str) -> None:
        """Add that the field at `path` breaks `rule`."""
        self._violations.append(FieldViolation(path, rule))

    def add_doubtful(self, path: str, rule: str) -> None:
        """Add that the field at `path` breaks `rule` unless a stored record has the value; alone it is no error."""
        self._doubtful.append(FieldViolation(path, rule))

    def has(self, path: str) -> bool:
        """Return whether the field at `path`, or a part of it, breaks a rule."""
        return any(v.field == path or v.field.startswith(f"{path}[") for v in self._violations)

    def adopt(self, others: Violations, path: str) -> None:
        """Add the violations of a part of the request, which is at `path`."""
        for own, adopted in ((self._violations, others._violations), (self._doubtful, others._doubtful)):
            if adopted:
                own += InvalidFields(adopted).below(path).violations

    def error(self) -> InvalidFields | None:
        """Return the error that names all violations; None without any, or with doubtful ones alone."""
        return InvalidFields([*self._violations, *self._doubtful]) if self._violations else None

    def raise_if_any(self) -> None:
        """Raise InvalidFields when there are violations."""
        if (error := self.error()) is not None:
            raise error


def has_control_characters(text: str) -> bool:
    """Return whether the text has a character of Unicode's category Cc (C0, DEL, C1)."""
    return not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text)


def text(violations: Violations, path: str, raw: str, *, at_most: int, at_least: int = 1) -> str:
    """Check a single-line text."""
    if not at_least <= len(raw) <= at_most:
        violations.add(path, f"must have {at_least} to {at_most} characters")
    elif has_control_characters(raw):
        violations.add(path, "must not contain control characters")
    return raw


def contact_method_id(violations: Violations, path: str, raw: str) -> str:
    """Check the id of a record; its form is not checked, since an unknown id is simply not found."""
    return text(violations, path, raw, at_most=128)


def client_id(violations: Violations, path: str, raw: str) -> str:
    """Check the id of a client."""
    return text(violations, path, raw, at_most=128)


def external_id(violations: Violations, path: str, raw: str) -> str:
    """Check the caller's own identifier."""
    return text(violations, path, raw, at_most=255)


def etag(violations: Violations, path: str, raw: str) -> str:
    """Check an etag; empty means no condition."""
    return text(violations, path, raw, at_least=0, at_most=128)


def request_id(violations: Violations, path: str, raw: str) -> str:
    """Check a request_id; empty means none."""
    return text(violations, path, raw, at_least=0, at_most=255)


def label(violations: Violations, path: str, raw: str) -> str | None:
    """Check a label; empty means none."""
    return text(violations, path, raw, at_least=0, at_most=100) or None


def value(violations: Violations, path: str, raw: str) -> str:
    """Trim a contact value of blank and invisible characters, and check what holds for every type."""
    return text(violations, path, trim(raw), at_most=MAX_VALUE_LENGTH)


def verification_code(violations: Violations, path: str, raw: str) -> str:
    """Read a code: six digits of any script, with blanks around or between them."""
    digits = "".join(str(unicodedata.decimal(character)) for character in raw[:100] if character.isdecimal())
    others = [character for character in trim(raw) if not character.isdecimal() and not character.isspace()]
    if len(digits) != CODE_DIGITS or others or len(raw) > 100:
        violations.add(path, f"must be {CODE_DIGITS} digits")
    return digits


def verification_method(violations: Violations, path: str, raw: str) -> str:
    """Check how a value was verified."""
    return text(violations, path, raw, at_most=50)


def metadata_key(violations: Violations, path: str, raw: str) -> str:
    """Check the key of a metadata pair."""
    if not _METADATA_KEY.fullmatch(raw):
        violations.add(path, "a metadata key must have 1 to 40 characters of A-Z a-z 0-9 _ . : -")
    return raw


def metadata_value(violations: Violations, path: str, raw: str) -> str:
    """Check the value of a metadata pair; unlike other texts it may have line breaks."""
    if not 1 <= len(raw) <= _METADATA_VALUE_LENGTH:
        violations.add(path, f"a metadata value must have 1 to {_METADATA_VALUE_LENGTH} characters")
    return raw


def metadata(violations: Violations, path: str, raw: Mapping[str, str]) -> dict[str, str]:
    """Check metadata pairs, in order of their keys, so that equal requests get equal answers."""
    if len(raw) > MAX_METADATA_PAIRS:
        violations.add(path, f"must have at most {MAX_METADATA_PAIRS} pairs")
        return {}
    pairs = {}
    for key in sorted(raw):
        # A bad key is not repeated in the path: it may be as long as the message and hold anything.
        at = f"{path}[{key}]" if _METADATA_KEY.fullmatch(key) else path
        pairs[metadata_key(violations, at, key)] = metadata_value(violations, at, raw[key])
    return pairs


def texts(
    violations: Violations, path: str, raw: Sequence[str], parse: Callable[[Violations, str, str], str]
) -> tuple[str, ...]:
    """Check each element of a repeated field, and how many there are."""
    if not raw:
        return ()
    count(violations, path, raw, at_most=MAX_FILTER_VALUES)
    return tuple(parse(violations, f"{path}[{position}]", element) for position, element in enumerate(raw))


def count(violations: Violations, path: str, items: Sequence[object], *, at_most: int, at_least: int = 0) -> None:
    """Check the number of elements of a repeated field."""
    if not at_least <= len(items) <= at_most:
        violations.add(path, f"must have {at_least} to {at_most} items")


def not_negative(violations: Violations, path: str, raw: int) -> int:
    """Check a number that must not be negative."""
    if raw < 0:
        violations.add(path, "must not be negative")
    return raw


def page_size(violations: Violations, path: str, raw: int) -> int:
    """Check a page size: 0 means the default, and more than the limit is lowered to it (AIP-158)."""
    return min(not_negative(violations, path, raw), MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE
