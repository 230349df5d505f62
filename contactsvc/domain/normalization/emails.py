"""Email addresses: syntax by RFC 5321, 5322 and 6531 as email-validator checks it, and `mailto:` by RFC 6068."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import email_validator

from contactsvc.domain.normalization.characters import BLANKS, DEFAULT_IGNORABLE, code_point, trim
from contactsvc.domain.normalization.invalid_value import InvalidValue

# A local part that every rule accepts (RFC 5322, 3.2.3: dot-atom): at most 64 characters.
_DOT_ATOM = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_MAX_LOCAL_PART_LENGTH = 64
_MAX_LENGTH = 254

_MAILTO = "mailto:"
_PERCENT_WITHOUT_CODE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# `Name <address>`, `Name <address` and `<address>`. The address alone never has an unquoted angle bracket.
_WITH_NAME = re.compile(r"[^<>]*<[^<>]*>?")
_SECOND_ADDRESS = re.compile(r"@[^@]*[,; ][^@]*@")

# `.test` is accepted: callers' own tests use it (RFC 6761, 6.2).
_SPECIAL_USE_DOMAINS = tuple(domain for domain in email_validator.SPECIAL_USE_DOMAIN_NAMES if domain != "test")
_LISTED_SPECIAL_USE_DOMAINS = ", ".join(f".{domain}" for domain in sorted(_SPECIAL_USE_DOMAINS))

_NOT_AN_ADDRESS = "must be an email address, such as name@example.org"


def normalize_email(text: str) -> str:
    """Return the address in lower case, composed (NFC), with the domain in its ASCII form (IDNA 2008, UTS 46).

    Raises:
        InvalidValue: it is not an address, or one outside the public mail system.
    """
    local, _, domain = text.rpartition("@")
    # Most addresses are so plain that only their domain needs checking, and domains recur.
    if _DOT_ATOM.fullmatch(local) and (checked := _domain_for_all(domain)) is not None:
        return f"{local.lower()}@{checked}"
    return _normalize_unusual(text)


@lru_cache(maxsize=10_000)
def _domain_for_all(domain: str) -> str | None:
    """Return the normal form of a domain that is valid, and short enough, after every plain local part."""
    try:
        return _checked(f"{'a' * _MAX_LOCAL_PART_LENGTH}@{domain}").partition("@")[2]
    except InvalidValue:
        return None


def _normalize_unusual(text: str) -> str:
    address = trim(text)
    if address[: len(_MAILTO)].lower() == _MAILTO:
        address = _unwrapped(address)
    normalized = _checked(address)
    local = normalized.rpartition("@")[0]
    # Lower case can be longer than 64 characters, or compose differently; a normal form must be its own normal form.
    if not local.isascii() and not address.startswith(f"{local}@") and _checked(normalized) != normalized:
        raise InvalidValue(_NOT_AN_ADDRESS)
    return normalized


def _unwrapped(uri: str) -> str:
    """Return the address of a `mailto:` URI (RFC 6068) that names one address and nothing else."""
    encoded = uri[len(_MAILTO) :]
    if "?" in encoded:
        raise InvalidValue("must be the address alone: remove the header fields, from ? on, that follow it in mailto:")
    if _PERCENT_WITHOUT_CODE.search(encoded):
        raise InvalidValue("must be a mailto: address in which % stands before two hexadecimal digits (%25 means %)")
    try:
        return trim(unquote_to_bytes(encoded).decode())
    except UnicodeDecodeError as error:
        raise InvalidValue("must be a mailto: address whose percent-encoded octets are UTF-8") from error


def _checked(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if "<" in address and _WITH_NAME.fullmatch(address):
        raise InvalidValue("must be the address alone, without a name before it and without angle brackets around it")
    if _SECOND_ADDRESS.search(address):
        raise InvalidValue("must be one email address: create a contact method for each")
    # The library knows some invisible characters as letters or marks, and drops others from domains.
    for part, place in ((local, "before the @"), (domain, "after the @")) if at else ():
        if hidden := next(filter(_is_hidden, part), None):
            raise InvalidValue(f"must not have a blank or invisible character {place}: remove {code_point(hidden)}")
    try:
        # test_environment accepts `.test`, and with it a bare `test`; hence the check for the dot below.
        # strict adds the limit of 64 octets on the local part (RFC 5321, 4.5.3.1.1).
        checked = email_validator.validate_email(
            address, check_deliverability=False, test_environment=True, strict=True
        )
    except email_validator.EmailNotValidError as error:
        # The library's message may quote parts of the address.
        raise InvalidValue(_fault_in(address)) from error
    if "." not in checked.ascii_domain:
        raise InvalidValue(_fault_in(address))
    # Lower-casing can leave letters and accents apart that belong together.
    return unicodedata.normalize("NFC", f"{checked.local_part.lower()}@{checked.ascii_domain.lower()}")


def _is_hidden(character: str) -> bool:
    return character in DEFAULT_IGNORABLE or character in BLANKS or unicodedata.category(character) in ("Cc", "Cf")


def _fault_in(address: str) -> str:
    """Return the rule that an address breaks which the library refused."""
    local, at, domain = address.rpartition("@")
    if not at:
        if look_alike := next((character for character in address if character in "\uff20\ufe6b"), None):
            return f"must be an email address with the ASCII character @ in place of {code_point(look_alike)}"
        return f"{_NOT_AN_ADDRESS}: it has no @"
    domain = unicodedata.normalize("NFKC", domain).lower()
    special_use = any(domain == name or domain.endswith(f".{name}") for name in _SPECIAL_USE_DOMAINS)
    if special_use and "." not in domain:
        return (
            "must be an email address whose domain has a dot, such as name@example.org; besides, the domain is a "
            "special-use domain, which no mail from outside reaches"
        )
    if special_use:
        return (
            f"must be an address that mail reaches from anywhere: its domain is a special-use domain (one of "
            f"{_LISTED_SPECIAL_USE_DOMAINS})"
        )
    if local and domain and "." not in domain and not domain.startswith("["):
        return "must be an email address whose domain has a dot, such as name@example.org"
    if domain.startswith("["):
        return "must be an email address with a domain name, such as name@example.org, not an IP address"
    if local.startswith('"'):
        return "must be an email address without quotation marks before the @"
    if len(local) > _MAX_LOCAL_PART_LENGTH:
        return f"must be an email address with at most {_MAX_LOCAL_PART_LENGTH} characters before the @"
    if len(address.encode()) > _MAX_LENGTH:
        return f"must be an email address of at most {_MAX_LENGTH} octets"
    return _NOT_AN_ADDRESS
