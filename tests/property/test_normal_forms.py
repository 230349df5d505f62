"""Normal forms for texts that nobody listed: decorated numbers, words beside numbers, texts of any kind."""

from __future__ import annotations

import unicodedata

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import InvalidValue, ValueRules, trim
from contactsvc.domain.normalization.characters import DEFAULT_IGNORABLE

EMAIL, PHONE, _, OTHER = ContactMethodType
ANYWHERE = ValueRules()
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
COUNTRY_CODES = sorted(
    {phonenumbers.country_code_for_region(region) for region in REGIONS}
    | phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS
)

# Valid numbers that are not whole numbers: phonenumbers takes their length for that of a local number.
DIALLED_INSIDE_CANADA_ONLY = "+13101234"


def examples_of(region: str) -> dict[str, phonenumbers.PhoneNumber]:
    """Return the example numbers that phonenumbers has for a region, by their E.164 form."""
    found = (phonenumbers.example_number_for_type(region, type_) for type_ in PhoneNumberType.values())
    return {phonenumbers.format_number(each, PhoneNumberFormat.E164): each for each in found if each is not None}


EXAMPLES = {region: examples_of(region) for region in REGIONS}
NUMBERS = sorted({e164 for examples in EXAMPLES.values() for e164 in examples} - {DIALLED_INSIDE_CANADA_ONLY})
NUMBERS_IN_NATIONAL_FORMAT = [
    (region, e164, phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))
    for region, examples in EXAMPLES.items()
    for e164, number in examples.items()
    if e164 != DIALLED_INSIDE_CANADA_ONLY
]


@pytest.mark.parametrize("region", REGIONS)
def test_every_format_of_every_example_number_agrees(region: str) -> None:
    rules = ValueRules(region)
    read = {
        (e164, text): rules.normalize(PHONE, text)
        for e164, number in EXAMPLES[region].items()
        for text in (phonenumbers.format_number(number, format_) for format_ in range(4))
        if e164 != DIALLED_INSIDE_CANADA_ONLY
    }

    assert {key: got for key, got in read.items() if got != key[0]} == {}


def test_a_number_of_seven_digits_for_canada_only_is_not_a_whole_number() -> None:
    assert DIALLED_INSIDE_CANADA_ONLY in EXAMPLES["CA"]
    with pytest.raises(InvalidValue, match="only inside its area"):
        ANYWHERE.normalize(PHONE, DIALLED_INSIDE_CANADA_ONLY)


invisible = st.sampled_from(sorted(DEFAULT_IGNORABLE))
blank = st.sampled_from(" \u00a0\u2009\u202f\u2007\u3000\u2003")
between_digits = st.one_of(
    st.just(""),
    invisible,
    blank,
    st.sampled_from(["-", ".", "/", " - ", "\u2010", "\u2011", "\u2013", "\u2212", "\uff0d"]),
)
zeros_of_scripts = st.sampled_from("0\uff10\u0660\u06f0\u0966\u09e6\u0be6\u0e50\U0001d7d8")
wrapped = st.sampled_from(
    ["{}", "({})", "[{}]", " {} ", "{}.", "\u202a{}\u202c", "\ufeff{}", "tel:{}", "TEL: {}", "\t{}\n"]
)
mark = st.sampled_from(
    [
        *(
            " ext. {}",
            "ext{}",
            " Ext.: {}",
            ";ext={}",
            " x{}",
            "X {}",
            " extension {}",
            " extensi\u00f3n {}",
            " xtn {}",
        ),
        *(
            " #{}",
            " ~{}",
            " int. {}",
            " anexo {}",
            " \u0434\u043e\u0431. {}",
            ",{}",
            ",,{}",
            "; {}",
            " (ext. {})",
            " - {}#",
        ),
        *(" \uff58{}", " \uff45\uff58\uff54 {}", " {}#"),
    ]
)
extension = st.text("0123456789", min_size=1, max_size=6)


@st.composite
def decorated(draw: st.DrawFn, e164: str) -> str:
    """Write the digits of a number in a script, with something between them, and plus before them."""
    zero = ord(draw(zeros_of_scripts))
    digits = "".join(chr(zero + int(digit)) + draw(between_digits) for digit in e164[1:])
    return draw(wrapped).format(draw(st.sampled_from(["+", "\uff0b", "+ ", "+\u200e"])) + digits)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(NUMBERS))
def test_a_decorated_number_keeps_its_normal_form(data: st.DataObject, e164: str) -> None:
    text = trim(data.draw(decorated(e164)))

    assert ANYWHERE.normalize(PHONE, text) == e164


@settings(max_examples=300)
@given(st.sampled_from(NUMBERS), mark, extension, zeros_of_scripts, invisible)
def test_every_mark_of_an_extension_gives_one_form(
    e164: str, mark: str, extension: str, zero: str, between: str
) -> None:
    in_script = "".join(chr(ord(zero) + int(digit)) for digit in extension)

    normalized = ANYWHERE.normalize(PHONE, trim(e164 + between + mark.format(in_script)))

    assert normalized == f"{e164};ext={extension}"


@settings(max_examples=200)
@given(st.sampled_from(NUMBERS_IN_NATIONAL_FORMAT), blank, invisible)
def test_a_national_number_keeps_its_normal_form_with_other_blanks(
    number: tuple[str, str, str], blank: str, invisible: str
) -> None:
    region, e164, national = number

    assert ValueRules(region).normalize(PHONE, national.replace(" ", blank + invisible)) == e164


# U+30FC is a letter of Japanese, and a dash in numbers.
letters = st.characters(categories=["Lu", "Ll", "Lt", "Lm", "Lo"], exclude_characters=["\u30fc", *DEFAULT_IGNORABLE])
words = st.one_of(
    st.text(letters, min_size=1), st.sampled_from(["HOME", "Eva", "mobil", "x", "ext", "X", "cell", "int"])
)


@settings(max_examples=500)
@given(
    st.sampled_from(NUMBERS),
    words,
    st.sampled_from([" {}", "{}", " ({})", "-{}", ", {}", " / {}", "\u00a0{}", " x1 {}"]),
)
def test_a_word_after_a_number_is_refused(e164: str, word: str, place: str) -> None:
    with pytest.raises(InvalidValue):
        ANYWHERE.normalize(PHONE, e164 + place.format(word))


@settings(max_examples=300)
@given(st.sampled_from(NUMBERS_IN_NATIONAL_FORMAT), words, st.booleans())
def test_a_word_beside_a_national_number_is_refused(number: tuple[str, str, str], word: str, before: bool) -> None:
    region, _, national = number

    with pytest.raises(InvalidValue):
        ValueRules(region).normalize(PHONE, f"{word} {national}" if before else f"{national} {word}")


@settings(max_examples=1_000)
@given(
    st.sampled_from(["", "0", "1", "00", "01", "044", "8", "15", *(f"+{code}" for code in COUNTRY_CODES)]),
    st.text("0123456789", min_size=2, max_size=17),
    st.sampled_from(["", " ext. 12"]),
    st.sampled_from(REGIONS),
    st.sampled_from([None, *REGIONS]),
)
def test_the_normal_form_of_a_number_is_its_own_normal_form_in_every_region(
    prefix: str, digits: str, extension: str, region: str, other_region: str | None
) -> None:
    try:
        normalized = ValueRules(region).normalize(PHONE, prefix + digits + extension)
    except InvalidValue:
        return
    assert ValueRules(other_region).normalize(PHONE, normalized) == normalized


awkward_parts = st.sampled_from(
    [
        *"aZ09.@-_+\"' <>[]()%{}|~\u00e9\u0130\u03a3\u1e9e\u030c\u0345\uff20\u337f\u3164",
        "mailto:",
        "%40",
        "\u00fcber",
        ".com",
    ]
)
addresses = st.one_of(
    st.emails(),
    st.builds("{}@{}".format, st.text(max_size=70), st.sampled_from(["example.com", "B\u00dcCHER.example", "a.test"])),
    st.lists(awkward_parts, max_size=12).map("".join),
)


@settings(max_examples=150)
@given(addresses)
def test_the_normal_form_of_an_email_is_its_own_normal_form(text: str) -> None:
    try:
        normalized = ANYWHERE.normalize(EMAIL, trim(text))
    except InvalidValue:
        return
    assert ANYWHERE.normalize(EMAIL, normalized) == normalized
    assert unicodedata.is_normalized("NFC", normalized)


@settings(max_examples=150)
@given(addresses, st.sampled_from(["mailto:{}", "MAILTO:{}", "\u200b{}\ufeff", "\u00a0{}\t", "\u2066{}\u2069"]))
def test_a_decorated_email_keeps_its_normal_form(text: str, decoration: str) -> None:
    try:
        normalized = ANYWHERE.normalize(EMAIL, trim(text))
    except InvalidValue:
        return
    if "mailto" in decoration.lower() and ("%" in text or "?" in text or ":" in text):
        # In a URI these have a meaning of their own.
        return
    assert ANYWHERE.normalize(EMAIL, trim(decoration.format(text))) == normalized


@settings(max_examples=500)
@given(st.sampled_from(ContactMethodType), st.text(min_size=1, max_size=60), st.sampled_from([None, *REGIONS]))
def test_a_text_of_any_kind_has_a_stable_form_or_a_message_without_it(
    type_: ContactMethodType, text: str, region: str | None
) -> None:
    rules = ValueRules(region)
    try:
        normalized = rules.normalize(type_, text)
    except InvalidValue as error:
        message = str(error)
    else:
        assert rules.normalize(type_, normalized) == normalized
        return
    assert message
    assert len(text) < 6 or text not in message
