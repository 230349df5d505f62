from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import InvalidValue, ValueRules, trim

EMAIL, PHONE, FAX, OTHER = ContactMethodType
RULES = ValueRules()
IN_MEXICO = ValueRules(default_region="MX")


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("Juan@Example.COM", "juan@example.com"),
        ("juan+tag@example.com", "juan+tag@example.com"),
        ("juan@bücher.example.com", "juan@xn--bcher-kva.example.com"),
        ("juan@xn--bcher-kva.example.com", "juan@xn--bcher-kva.example.com"),
        ("juan@host.test", "juan@host.test"),
        ("JOSÉ@example.com", "josé@example.com"),
        ("J\u030c@example.com", "\u01f0@example.com"),
    ],
)
def test_emails_are_compared_lower_cased_with_an_ascii_domain(text: str, normalized: str) -> None:
    assert RULES.normalize(EMAIL, text) == normalized


@pytest.mark.parametrize(
    "text",
    [
        *("juan", "juan@", "@elsewhere.org", "juan@localhost", "juan@test", "a b@example.com"),
        # Written as four ideographs each, and as ASCII longer than an address may be.
        "a" * 64 + "@" + ".".join("\u337f" * 11),
    ],
)
def test_what_is_no_email_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        RULES.normalize(EMAIL, text)
    assert text not in str(raised.value)


_awkward = st.sampled_from(
    [*"aZ09.@-_+\"' <>[]()%{}|~é\u030c\uff20\u337f", "a" * 64, "xn--", "bücher", "x" * 30, ".com", ".test", "a@b.co"]
)


@settings(max_examples=500)
@given(st.one_of(st.emails(), st.lists(_awkward, max_size=12).map("".join)))
def test_plain_addresses_are_read_as_the_library_reads_all(text: str) -> None:
    def read(normalize: Callable[[str], str]) -> str | None:
        try:
            return normalize(text)
        except InvalidValue:
            return None

    assert read(lambda text: RULES.normalize(EMAIL, text)) == read(form_by_the_library)


def form_by_the_library(text: str) -> str:
    try:
        address = validate_email(trim(text), check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        raise InvalidValue from error
    if "." not in address.ascii_domain:
        raise InvalidValue
    return unicodedata.normalize("NFC", f"{address.local_part.lower()}@{address.ascii_domain}")


@pytest.mark.parametrize("type_", [PHONE, FAX])
@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("+52 55 1234 5678", "+525512345678"),
        ("+52 1 55 1234 5678", "+525512345678"),
        ("+1 (415) 555-2671 ext. 22", "+14155552671;ext=22"),
        ("+44 20 7946 0958", "+442079460958"),
        ("+1 (415) 555-2671 x\uff12\uff12", "+14155552671;ext=22"),
    ],
)
def test_numbers_are_compared_in_e164(type_: ContactMethodType, text: str, normalized: str) -> None:
    assert RULES.normalize(type_, text) == normalized


def test_national_numbers_need_a_default_region() -> None:
    assert IN_MEXICO.normalize(PHONE, "(55) 1234-5678") == "+525512345678"
    with pytest.raises(InvalidValue, match="no default region"):
        RULES.normalize(PHONE, "(55) 1234-5678")


@pytest.mark.parametrize("text", ["none", "+", "+52 1", "+999 123456789", "123", f"1;phone-context={'a.' * 40}!"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        RULES.normalize(PHONE, text)


def test_other_values_are_composed() -> None:
    assert RULES.normalize(OTHER, "Jose\u0301") == "José"


def test_lenient_rules_keep_the_text_without_a_normal_form() -> None:
    read = ValueRules(lenient=True).read(EMAIL, "ask reception")

    assert (read.text, read.normalized) == ("ask reception", None)


@given(st.sampled_from(ContactMethodType), st.text(min_size=1, max_size=40))
def test_a_normal_form_is_its_own_normal_form(type_: ContactMethodType, text: str) -> None:
    try:
        normalized = IN_MEXICO.normalize(type_, text)
    except InvalidValue:
        return
    assert IN_MEXICO.normalize(type_, normalized) == normalized


@pytest.mark.parametrize(
    ("type_", "text", "normalized"),
    [
        (EMAIL, "\u200bjuan@example.com\u00a0", "juan@example.com"),
        (PHONE, " +52 55 1234 5678\ufeff", "+525512345678"),
        (OTHER, "\u2066@juan\u2069", "@juan"),
    ],
)
def test_values_that_an_older_version_stored_untrimmed_have_the_same_normal_form(
    type_: ContactMethodType, text: str, normalized: str
) -> None:
    assert RULES.normalize(type_, text) == normalized
