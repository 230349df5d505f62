"""The text of a phone number, taken apart: international prefix, digits, extension, words.

phonenumbers finds a number *in* a text and drops what it cannot use, letters included. A value must be a number from
end to end, so it is taken apart here, and phonenumbers is given digits only.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from contactsvc.domain.normalization.characters import BLANKS, DEFAULT_IGNORABLE, code_point, trim
from contactsvc.domain.normalization.invalid_value import InvalidValue

_TEL = "tel:"
# National number 17, country code 3, and room for an international prefix with a carrier code.
_MAX_DIGITS = 30

# The punctuation that phonenumbers accepts between digits, reduced to ASCII.
_LOOK_ALIKES = {
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\uff0d",
    ".": "\uff0e",
    "/": "\uff0f",
    "(": "\uff08",
    ")": "\uff09",
    "[": "\uff3b",
    "]": "\uff3d",
    "+": "\uff0b",
    "#": "\uff03",
    "~": "\u2053\u223c\uff5e",
}
_PUNCTUATION = " -./()[]"
_PLAIN = "+0123456789" + _PUNCTUATION
_WITHOUT_PUNCTUATION = dict.fromkeys(map(ord, _PUNCTUATION))


class _PlainCharacters(dict[int, str | None]):
    """Translation to ASCII of the digits of every script (category Nd), blanks and punctuation.

    Ignorable characters are dropped. Digits are looked up when they occur: searching all Unicode at import takes long.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        return str(unicodedata.decimal(character)) if character.isdecimal() else character


_PLAIN_CHARACTERS = _PlainCharacters(
    {ord(blank): " " for blank in BLANKS}
    | {ord(alike): ascii_ for ascii_, alikes in _LOOK_ALIKES.items() for alike in alikes}
    | dict.fromkeys(map(ord, DEFAULT_IGNORABLE))
)

# Nine of ten numbers: ASCII digits with the usual punctuation.
_PLAIN_NUMBER = re.compile(r"(?:[ (]*\+)?[0-9 ().\-/]*")

_DIGIT = re.compile("[0-9]")

# Marks of an extension, as phonenumbers knows them. After a word up to 20 digits are an extension, after a sign 9.
_WORD_MARK = r"(?:e?xt(?:ensi(?:o\u0301?|\u00f3))?n?|\uff45?\uff58\uff54\uff4e?|\u0434\u043e\u0431|anexo)"
_SIGN_MARK = r"(?:[x\uff58#~]|int|\uff49\uff4e\uff54)"
# A letter directly before a mark is part of a word: 1-800-FOX 1234.
_NOT_IN_A_WORD = r"(?<![^\W\d_])"
_EXTENSION = re.compile(
    rf"""(?: ;ext=(?P<parameter>[0-9]{{1,20}})
      | [ ,]*{_NOT_IN_A_WORD}{_WORD_MARK}[:.]{{0,2}}[ ,-]*(?P<word>[0-9]{{1,20}})
      | [ ,]*{_NOT_IN_A_WORD}{_SIGN_MARK}[:.]{{0,2}}[ ,-]*(?P<sign>[0-9]{{1,9}})
      | [ ]?,,[ ,]*(?P<pause>[0-9]{{1,15}})
      | [ ]?[,;][ ]*(?P<separator>[0-9]{{1,9}})
      | [ -]+(?P<american>[0-9]{{1,6}})(?=\#)
    )\#?$""",
    re.IGNORECASE | re.VERBOSE,
)
_MARK_WITHOUT_DIGITS = re.compile(
    rf"(?:;ext=|{_NOT_IN_A_WORD}(?:{_WORD_MARK}|{_SIGN_MARK})|[,;])[:.]{{0,2}}[ ,#-]*$", re.IGNORECASE
)
# Longer than any mark with its extension: searching further back would cost, and find nothing.
_MAX_EXTENSION_LENGTH = 64

# As it is without punctuation.
_PHONE_CONTEXT = ";phonecontext="
# One X in a toll-free word is a letter, three are a mask, and so are the N and X of numbering plans.
_MASK = re.compile(r"X{3}|^[NXYZ]+$|^(.)\1*$")
_MIN_WORD_LETTERS = 3
_MIN_DIGITS_BEFORE_WORD = 3

_DATE = re.compile(r"([0-9]{4})([-./])([0-9]{1,2})\2([0-9]{1,2})|([0-9]{1,2})([-./])([0-9]{1,2})\6([0-9]{4})")
# What a spreadsheet makes of a number that it keeps as one: 525512345678.0
_DECIMAL = re.compile(r"\+?[0-9]{7,}\.0")


class NumberText(NamedTuple):
    """A phone number as written.

    Attributes:
        digits: ASCII digits, after a `+` if the text has one.
        extension: ASCII digits; empty for none.
        may_be_second_number: the extension stands after a comma or semicolon only, which also separate two numbers.
        words: the same as `digits`, with the letters that stand for digits in upper case; None where there are none.
        groups: how the digits of a text that reads as a date are grouped; empty for all other texts.
    """

    digits: str
    extension: str = ""
    may_be_second_number: bool = False
    words: str | None = None
    groups: tuple[str, ...] = ()


def take_apart(text: str) -> NumberText:
    """Return the parts of a number, of which nothing is left out but blanks, punctuation and invisible characters.

    Raises:
        InvalidValue: the text is not a number from end to end.
    """
    if text.startswith("+") and text.isascii() and text[1:].isdigit() and len(text) <= _MAX_DIGITS:
        return NumberText(text)
    if _PLAIN_NUMBER.fullmatch(text):
        return _number(text)
    plain = " ".join(_unwrapped(trim(text)).translate(_PLAIN_CHARACTERS).split()).rstrip(_PUNCTUATION)
    # The mark of an extension ends what a plain number consists of, except for the # behind the extension itself.
    if not plain.endswith("#") and _PLAIN_NUMBER.fullmatch(plain):
        return _number(plain)
    plain_until = 0 if plain.endswith("#") else len(plain) - len(plain.lstrip(_PLAIN))
    end_begins = max(plain_until, len(plain) - _MAX_EXTENSION_LENGTH)
    if found := _EXTENSION.search(plain, end_begins):
        number = _number(plain[: found.start()])
        extension = next(digits for digits in found.groups() if digits is not None)
        return NumberText(number.digits, extension, found.lastgroup == "separator", number.words)
    if _MARK_WITHOUT_DIGITS.search(plain, end_begins) and _DIGIT.search(plain):
        raise InvalidValue(
            "must have digits after the mark of an extension, such as ext. 12; without an extension, remove the mark"
        )
    return _number(plain)


def _unwrapped(text: str) -> str:
    """Return the number of a `tel:` URI (RFC 3966), and any other text as it is."""
    if text[: len(_TEL)].lower() != _TEL:
        return text
    try:
        return unquote_to_bytes(text[len(_TEL) :]).decode()
    except UnicodeDecodeError as error:
        raise InvalidValue("must be a tel: number whose percent-encoded octets are UTF-8") from error


def _number(main: str) -> NumberText:
    body = main.lstrip(_PUNCTUATION)
    national = body.lstrip("+")
    digits = national.translate(_WITHOUT_PUNCTUATION)
    if not (digits.isascii() and digits.isdigit()):
        return NumberText("", words=_with_words(digits, international=national != body))
    if len(digits) > _MAX_DIGITS:
        raise InvalidValue("must be one phone number, such as +52 55 5000 0142: it has too many digits")
    if body.endswith(".0") and _DECIMAL.fullmatch(body):
        raise InvalidValue(
            "must be a phone number, such as +52 55 5000 0142, not a decimal number: remove .0 at its end"
        )
    if national != body:
        return NumberText(f"+{digits}")
    return NumberText(digits, groups=_date_groups(main.strip()))


def _with_words(characters: str, *, international: bool) -> str:
    """Return a number in which words may replace digits; raise InvalidValue when it has other characters, or a mask."""
    if not characters:
        raise InvalidValue("must be a phone number, such as +52 55 5000 0142: it has no digits")
    if ";" in characters:
        if _PHONE_CONTEXT in characters.lower():
            raise InvalidValue("must be a number that can be called from anywhere: ;phone-context= is not accepted")
        raise InvalidValue("must not have parameters or text after ; (only ;ext= with at most 20 digits)")
    if "+" in characters:
        raise InvalidValue("must be one phone number, with + at its beginning only")
    if stray := next((each for each in characters if not (each.isalpha() or each in "0123456789")), None):
        raise InvalidValue(
            f"must have digits and the punctuation of numbers only (blank - . / ( )): {code_point(stray)} is neither"
        )
    upper = characters.upper()
    letters = "".join(letter for letter in upper if letter.isalpha())
    before = next(index for index, each in enumerate(upper) if each.isalpha())
    # Upper case makes ASCII letters of some others.
    if not characters.isascii() or len(letters) < _MIN_WORD_LETTERS or before < _MIN_DIGITS_BEFORE_WORD:
        raise InvalidValue(LETTERS)
    if _MASK.search(letters):
        raise InvalidValue("must have all its digits: letters that mask digits are not accepted")
    if len(upper) > _MAX_DIGITS:
        raise InvalidValue(LETTERS)
    return f"+{upper}" if international else upper


LETTERS = (
    "must not have letters: put names and notes into the label. Allowed are an extension, such as ext. 12, and words "
    "that replace digits of a toll-free or premium number"
)
"""The message for letters in a number."""


def _date_groups(text: str) -> tuple[str, ...]:
    """Return the groups of digits of a text that reads as a day of the years 1900 to 2099."""
    found = _DATE.fullmatch(text)
    if found is None:
        return ()
    year, _, month, day, first, _, second, last = found.groups()
    days = [(year, month, day)] if year else [(last, second, first), (last, first, second)]
    if any(_is_day(*map(int, each)) for each in days):
        return tuple(group for group in found.groups() if group and group.isdigit())
    return ()


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        return 1900 <= date(year, month, day).year <= 2099
    except ValueError:
        return False
