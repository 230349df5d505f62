"""Blank and invisible characters, and the text forms that depend on no type."""

from __future__ import annotations

import unicodedata

# Unicode 17.0.0, DerivedCoreProperties.txt, property Default_Ignorable_Code_Point, which the `unicodedata` module
# lacks. The property reserves unassigned code points too, so the table seldom changes.
_DEFAULT_IGNORABLE_RANGES = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors and vowel separator
    (0x200B, 0x200F),  # zero-width space, joiners, direction marks
    (0x202A, 0x202E),  # direction embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, direction isolates
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xFFF0, 0xFFF8),  # reserved
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D173, 0x1D17A),  # musical format controls
    (0xE0000, 0xE0FFF),  # tags and variation selectors supplement
)
DEFAULT_IGNORABLE = frozenset(chr(code) for first, last in _DEFAULT_IGNORABLE_RANGES for code in range(first, last + 1))
"""Characters that are drawn as nothing (Unicode: Default_Ignorable_Code_Point)."""

# No white space lies above the ideographic space.
BLANKS = frozenset(character for character in map(chr, range(0x3001)) if character.isspace())
"""White space of any kind, no-break spaces and line ends included."""

_TRIMMED = DEFAULT_IGNORABLE | BLANKS


def trim(text: str) -> str:
    """Return the text without blank and invisible characters at its ends."""
    if text.isascii():
        return text.strip()
    # str.strip with thousands of characters prepares a search for them at every call.
    first, end = 0, len(text)
    while first < end and text[first] in _TRIMMED:
        first += 1
    while first < end and text[end - 1] in _TRIMMED:
        end -= 1
    return text[first:end]


def written_form(text: str) -> str:
    """Return the form in which texts are compared as written: trimmed, composed (NFC), letter case folded.

    This is how a value without a normal form is found. Two texts have one written form when they are canonical caseless
    matches (Unicode Standard, definition D145) after trimming.
    """
    trimmed = trim(text)
    if trimmed.isascii():
        return trimmed.lower()
    folded = unicodedata.normalize("NFD", trimmed).casefold()
    return unicodedata.normalize("NFC", folded)


def code_point(character: str) -> str:
    """Return the name of a character that a message can show, such as `U+200B`."""
    return f"U+{ord(character):04X}"
