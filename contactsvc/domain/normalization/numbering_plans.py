"""Changes of national numbering plans: the present number of a subscriber whose old number was written down.

Each rule sees numbers of its own country only, and maps only where the old number has exactly one successor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

# Mexico, plan of 3 August 2019: ten digits in every call. Before it came 044 or 045 (mobiles) and 01 (trunk).
_MEXICO_NATIONAL = re.compile(r"(?:044|045|01)([2-9][0-9]{9})")
# ... and the 1 of mobiles called from abroad, which has its place after the country code only.
_MEXICO_ABROAD = re.compile(r"1([2-9][0-9]{9})")

# Brazil, ANATEL resolution 553/2010, in force in all areas since 6 November 2016: mobiles got a 9 before their eight
# digits. Mobiles begin with 6 to 9, landlines with 2 to 5. The area codes are those in use.
_BRAZIL_MOBILE = re.compile(r"((?:[14689][1-9]|2[12478]|3[1-578]|5[1345]|7[134579]))([6-9][0-9]{7})")

# Benin, ARCEP, 30 November 2024: all numbers of eight digits got 01. Old numbers began with 2 to 9.
_BENIN_OLD = re.compile(r"[2-9][0-9]{7}")


def _in_mexico(national: str, *, from_abroad: bool) -> str:
    if found := _MEXICO_NATIONAL.fullmatch(national):
        return found[1]
    if from_abroad and (found := _MEXICO_ABROAD.fullmatch(national)):
        return found[1]
    return national


def _in_brazil(national: str, *, from_abroad: bool) -> str:
    return f"{found[1]}9{found[2]}" if (found := _BRAZIL_MOBILE.fullmatch(national)) else national


def _in_benin(national: str, *, from_abroad: bool) -> str:
    return f"01{national}" if _BENIN_OLD.fullmatch(national) else national


CHANGED_PLANS: Final[Mapping[int, Callable[..., str]]] = {52: _in_mexico, 55: _in_brazil, 229: _in_benin}
"""The rule of each country that has one, by country code."""


def present_number(country_code: int, national: str, *, from_abroad: bool) -> str:
    """Return the national number that the subscriber has today.

    Args:
        country_code: of the number, without `+`.
        national: the national number, digits only, as read after the country code or in the default region.
        from_abroad: the text has the country code.
    """
    rule = CHANGED_PLANS.get(country_code)
    return national if rule is None else rule(national, from_abroad=from_abroad)
