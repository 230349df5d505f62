"""The normal form of contact values: the one function behind storing, looking up, filtering and importing.

docs/values.md states each rule with its source.
"""

from contactsvc.domain.normalization.characters import trim, written_form
from contactsvc.domain.normalization.invalid_value import InvalidValue
from contactsvc.domain.normalization.rules import ValueRules
from contactsvc.domain.normalization.rules_version import RulesVersion
from contactsvc.domain.normalization.searches import searched_digits, searched_email_part

__all__ = [
    "InvalidValue",
    "RulesVersion",
    "ValueRules",
    "searched_digits",
    "searched_email_part",
    "trim",
    "written_form",
]
