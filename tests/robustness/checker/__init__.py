"""Whether a history can have come from a service that keeps its promises.

Every rule is sound: what it reports cannot be explained by any order of the calls that agrees with their times, however
the ambiguous ones turned out. None of them is complete: a fault whose effects nobody saw is not reported. Each works in
time that grows hardly faster than the history, so that 100,000 calls take seconds.
"""

from tests.robustness.checker.rules import check
from tests.robustness.checker.violation import Violation

__all__ = ["Violation", "check"]
