from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contactsvc.domain.normalization import trim, written_form
from contactsvc.domain.normalization.characters import BLANKS, DEFAULT_IGNORABLE, code_point

ASSIGNED = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) not in ("Cn", "Cs", "Co")
]

# Unicode Standard Annex 44 derives the property from category Cf without these: they are drawn, or carry meaning.
DRAWN_FORMAT_CHARACTERS = {
    *map(chr, range(0x0600, 0x0606)),  # Arabic number signs
    *("\u06dd", "\u070f", "\u0890", "\u0891", "\u08e2", "\U000110bd", "\U000110cd"),  # marks before a number
    *map(chr, range(0xFFF9, 0xFFFC)),  # interlinear annotation
    *map(chr, range(0x13430, 0x13440)),  # Egyptian hieroglyph format controls
}


def test_format_characters_are_ignorable_unless_they_are_drawn() -> None:
    format_characters = {character for character in ASSIGNED if unicodedata.category(character) == "Cf"}

    assert format_characters - DEFAULT_IGNORABLE == format_characters & DRAWN_FORMAT_CHARACTERS
    assert not DEFAULT_IGNORABLE & DRAWN_FORMAT_CHARACTERS


def test_variation_selectors_and_fillers_are_ignorable() -> None:
    named = {
        character
        for character in ASSIGNED
        if "VARIATION SELECTOR" in (name := unicodedata.name(character, ""))
        or name in ("HANGUL FILLER", "HALFWIDTH HANGUL FILLER", "HANGUL CHOSEONG FILLER", "HANGUL JUNGSEONG FILLER")
    }

    assert len(named) == 256 + 4 + 4
    assert named <= DEFAULT_IGNORABLE


def test_no_other_assigned_character_is_ignorable() -> None:
    others = {each for each in DEFAULT_IGNORABLE & set(ASSIGNED) if unicodedata.category(each) != "Cf"}
    names = {unicodedata.name(each) for each in others if "VARIATION SELECTOR" not in unicodedata.name(each)}

    assert names == {
        *("COMBINING GRAPHEME JOINER", "KHMER VOWEL INHERENT AQ", "KHMER VOWEL INHERENT AA"),
        *("HANGUL FILLER", "HALFWIDTH HANGUL FILLER", "HANGUL CHOSEONG FILLER", "HANGUL JUNGSEONG FILLER"),
    }


def test_blanks_are_the_white_space_of_unicode() -> None:
    assert {character for character in ASSIGNED if character.isspace()} == BLANKS
    assert {character for character in ASSIGNED if unicodedata.category(character) in ("Zs", "Zl", "Zp")} <= BLANKS


def test_every_blank_and_invisible_character_is_trimmed_at_both_ends() -> None:
    kept = [each for each in BLANKS | DEFAULT_IGNORABLE if trim(f"{each}{each}a{each}é{each}") != f"a{each}é"]

    assert kept == []


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\ufeff\t\u3164\U000e0fff"])
def test_a_text_of_nothing_visible_is_trimmed_to_nothing(text: str) -> None:
    assert trim(text) == ""


@given(st.text())
def test_trimming_leaves_what_is_between_visible_ends(text: str) -> None:
    assert trim(f"x{text}x") == f"x{text}x"
    assert trim(trim(text)) == trim(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ask Reception", "\u200bask reception\u00a0"),
        ("STRASSE 5", "straße 5"),
        ("Jose\u0301", "JOSÉ"),
        ("ΟΔΟΣ", "οδος"),
        ("\u1fb3", "\u03b1\u0345"),
        ("ΐ", "\u03b9\u0308\u0301"),
    ],
)
def test_texts_that_differ_in_case_and_composition_have_one_written_form(one: str, other: str) -> None:
    assert written_form(one) == written_form(other)


@pytest.mark.parametrize(("one", "other"), [("José", "Jose"), ("a b", "ab"), ("a\u200bb", "ab"), ("①", "1")])
def test_texts_that_differ_otherwise_have_different_written_forms(one: str, other: str) -> None:
    assert written_form(one) != written_form(other)


def test_the_written_form_of_every_character_is_its_own_written_form() -> None:
    assert [each for each in ASSIGNED if written_form(written_form(each)) != written_form(each)] == []


@given(st.text())
def test_a_written_form_is_its_own_written_form(text: str) -> None:
    assert written_form(written_form(text)) == written_form(text)


@pytest.mark.parametrize(("character", "name"), [("\u200b", "U+200B"), (" ", "U+0020"), ("\U000e0001", "U+E0001")])
def test_a_character_is_named_by_its_code_point(character: str, name: str) -> None:
    assert code_point(character) == name
