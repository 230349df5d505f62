"""The checker: whether a correct service can have produced a history.

Every rule is sound: no order of the calls that agrees with their times explains a violation, for any outcome of the
ambiguous ones. No rule is complete: a fault without visible effects is not reported. The run time of each rule grows
little faster than the history: 100,000 calls take seconds.
"""

from tests.robustness.checker.rules import check
from tests.robustness.checker.violation import Violation

__all__ = ["Violation", "check"]
