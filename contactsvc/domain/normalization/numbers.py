"""Phone and fax numbers in E.164, by the numbering plans that phonenumbers carries (Google's libphonenumber)."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import CountryCodeSource, NumberParseException, PhoneNumber, PhoneNumberType, ValidationResult

from contactsvc.domain.normalization.invalid_value import InvalidValue
from contactsvc.domain.normalization.number_text import LETTERS, NumberText, take_apart
from contactsvc.domain.normalization.numbering_plans import CHANGED_PLANS, present_number

# A number that no caller sends: a message must not quote a value, not even by chance.
_EXAMPLE = "such as +52 55 5000 0142"
_NO_REGION = (
    f"must be a number with + and country code, {_EXAMPLE}; this server has no default region for national numbers"
)
_LOCAL_ONLY = f"must be a whole phone number, {_EXAMPLE}: this one can be dialled only inside its area"
_TOO_SHORT = f"must be a whole phone number, {_EXAMPLE}: this one has too few digits for its country"
_TOO_LONG = f"must be a phone number, {_EXAMPLE}: this one has too many digits for its country"
# Besides the results that phonenumbers has.
_LOCAL_UNLESS_VALID = -1
_NOT_POSSIBLE = {
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: _LOCAL_ONLY,
    _LOCAL_UNLESS_VALID: _LOCAL_ONLY,
    ValidationResult.TOO_SHORT: _TOO_SHORT,
    ValidationResult.TOO_LONG: _TOO_LONG,
}
_LENGTH = f"must be a possible phone number, {_EXAMPLE}: its length fits no number of its country"
_NOT_PARSED = {
    NumberParseException.TOO_SHORT_AFTER_IDD: _TOO_SHORT,
    NumberParseException.TOO_SHORT_NSN: _TOO_SHORT,
    NumberParseException.TOO_LONG: _TOO_LONG,
}
_REPLACED_BY_WORDS = (PhoneNumberType.TOLL_FREE, PhoneNumberType.PREMIUM_RATE)
# After a comma or semicolon, fewer digits than those of a local number are an extension.
_MIN_SECOND_NUMBER_LENGTH = 7
# A trunk prefix is seldom written twice, and never three times.
_MAX_READINGS = 4


def normalize_number(text: str, default_region: str | None) -> str:
    """Return the number in E.164, followed by `;ext=` where there is an extension.

    Args:
        text: the number as written.
        default_region: where numbers without `+` are read; None refuses them.

    Raises:
        InvalidValue: it is not a whole number, or has more than a number in it.
    """
    written = take_apart(text)
    if written.words is not None:
        country_code, national = _read_words(written.words, default_region)
    elif written.groups:
        country_code, national = _read_unless_date(written, default_region)
    else:
        country_code, national = _read(written.digits, default_region)
    if not written.extension:
        return f"+{country_code}{national}"
    if written.may_be_second_number:
        _refuse_second_number(written.extension, country_code)
    return f"+{country_code}{national};ext={written.extension}"


def _read(digits: str, default_region: str | None) -> tuple[int, str]:
    """Return country code and national number of a possible, whole number in its present form."""
    for _ in range(_MAX_READINGS):
        country_code, national = _parsed(digits, default_region)
        trunk_prefix = _trunk_prefix_of(country_code)
        if trunk_prefix is None or not trunk_prefix.match(national):
            break
        # Another trunk prefix is dropped as well: the normal form must be its own normal form.
        again, default_region = f"+{country_code}{national}", None
        if again == digits:
            break
        digits = again
    else:
        raise InvalidValue(_LENGTH)
    reason = _possibility(country_code, len(national))
    if reason != ValidationResult.IS_POSSIBLE and not (
        reason == _LOCAL_UNLESS_VALID and phonenumbers.is_valid_number(phonenumbers.parse(f"+{country_code}{national}"))
    ):
        raise InvalidValue(_NOT_POSSIBLE.get(reason, _LENGTH))
    return country_code, national


def _parsed(digits: str, default_region: str | None) -> tuple[int, str]:
    """Return country code and national number, without judging them."""
    try:
        number = phonenumbers.parse(digits, default_region, keep_raw_input=True)
    except NumberParseException as error:
        raise InvalidValue(_fault_in(digits, default_region, error)) from error
    # A parsed number has a country code.
    country_code = number.country_code or 0
    national = str(number.national_number)
    if number.italian_leading_zero:
        national = phonenumbers.national_significant_number(number)
    if country_code in CHANGED_PLANS:
        from_abroad = number.country_code_source != CountryCodeSource.FROM_DEFAULT_COUNTRY
        national = present_number(country_code, national, from_abroad=from_abroad)
    return country_code, national


def _fault_in(digits: str, default_region: str | None, error: NumberParseException) -> str:
    if error.error_type != NumberParseException.INVALID_COUNTRY_CODE:
        return _NOT_PARSED.get(error.error_type, f"must be a phone number, {_EXAMPLE}")
    if default_region is None and not digits.startswith("+"):
        return _NO_REGION
    return f"must be a phone number with an existing country code, {_EXAMPLE}: no country has the one given"


def _read_words(words: str, default_region: str | None) -> tuple[int, str]:
    """Read a number with words, which must replace digits of a toll-free or premium number."""
    if default_region is None and not words.startswith("+"):
        raise InvalidValue(_NO_REGION)
    try:
        _read("".join(character for character in words if not character.isalpha()), default_region)
    except InvalidValue:
        pass
    else:
        raise InvalidValue(LETTERS)
    try:
        country_code, national = _read(phonenumbers.convert_alpha_characters_in_number(words), default_region)
    except InvalidValue as error:
        raise InvalidValue(LETTERS) from error
    number = phonenumbers.parse(f"+{country_code}{national}")
    # Invalid numbers are of no type.
    if phonenumbers.number_type(number) not in _REPLACED_BY_WORDS:
        raise InvalidValue(LETTERS)
    return country_code, national


def _read_unless_date(written: NumberText, default_region: str | None) -> tuple[int, str]:
    """Read a text that reads as a date, which must be a valid number, grouped as its numbering plan groups it."""
    is_date = (
        f"must be a phone number, {_EXAMPLE}, not a date; write a number that looks like one with + and country code"
    )
    try:
        country_code, national = _read(written.digits, default_region)
    except InvalidValue as error:
        raise InvalidValue(is_date) from error
    number = phonenumbers.parse(f"+{country_code}{national}")
    usual = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    if tuple(re.findall(r"[0-9]+", usual)) != written.groups or not phonenumbers.is_valid_number(number):
        raise InvalidValue(is_date)
    return country_code, national


def _refuse_second_number(extension: str, country_code: int) -> None:
    if len(extension) < _MIN_SECOND_NUMBER_LENGTH:
        return
    region = phonenumbers.region_code_for_country_code(country_code)
    try:
        second = phonenumbers.parse(extension, region)
    except NumberParseException:
        return
    if phonenumbers.is_possible_number(second):
        raise InvalidValue("must be one phone number: after the comma or semicolon stands what may be a second one")


@lru_cache(maxsize=1_000)
def _trunk_prefix_of(country_code: int) -> re.Pattern[str] | None:
    """Return what phonenumbers drops before national numbers of a country."""
    region = phonenumbers.region_code_for_country_code(country_code)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    prefix = metadata and metadata.national_prefix_for_parsing
    return re.compile(prefix) if prefix else None


@lru_cache(maxsize=10_000)
def _possibility(country_code: int, length: int) -> int:
    """Return the ValidationResult of all numbers of this length, or `_LOCAL_UNLESS_VALID`.

    phonenumbers calls a length possible when whole numbers of any type have it. Some plans have special numbers as
    short as local numbers (Brazil: 4004 1234). There, landlines and mobiles of that length lack their area code.
    """
    number = PhoneNumber(country_code, int("9" * length))
    reason: int = phonenumbers.is_possible_number_with_reason(number)
    if reason != ValidationResult.IS_POSSIBLE:
        return reason
    subscribers = {
        phonenumbers.is_possible_number_for_type_with_reason(number, type_)
        for type_ in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE)
    }
    if ValidationResult.IS_POSSIBLE_LOCAL_ONLY in subscribers and ValidationResult.IS_POSSIBLE not in subscribers:
        return _LOCAL_UNLESS_VALID
    return reason
