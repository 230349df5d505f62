"""What the project has promised itself, and whether a run keeps it; each target is a ratio within one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import OURS, Measurement, Rounds
from benchmarks.servers import LABELS

_POINT_READS = ("get", "primary")
_BATCHED = ("get", "primary", "list", "create")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One figure of contactsvc over the same figure of another server.

    Attributes:
        case: what is called.
        in_flight: at which level.
        figure: an attribute of Figures.
        other: the other server.
        limit: what the ratio is held against.
        at_least: whether the ratio should be at least that much, rather than at most.
    """

    case: str
    in_flight: int
    figure: str
    other: str
    limit: float
    at_least: bool = False

    def met_by(self, ratio: float) -> bool:
        """Tell whether the ratio is good enough."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


TARGETS = (
    *(Target(case=case, in_flight=64, figure="server_us", other="floor", limit=1.25) for case in _POINT_READS),
    Target(case="create", in_flight=64, figure="server_us", other="floor", limit=1.6),
    *(
        Target(case=case, in_flight=64, figure="per_second", other="unbatched", limit=2.0, at_least=True)
        for case in _POINT_READS
    ),
    *(
        Target(case=case, in_flight=64, figure="server_us", other=other, limit=1.0)
        for case in _POINT_READS
        for other in ("fastapi", "node")
    ),
    *(Target(case=case, in_flight=1, figure="p50_ms", other="unbatched", limit=1.05) for case in _BATCHED),
    Target(case="batch", in_flight=1, figure="per_second", other="driver", limit=0.6, at_least=True),
    Target(case="stream", in_flight=1, figure="per_second", other="driver", limit=0.6, at_least=True),
)
"""All of them, as far as one process can meet them; what two workers come to is measured by itself."""

_NAMES = {"server_us": "server CPU", "per_second": "per second", "p50_ms": "p50"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a target."""

    target: Target
    title: str
    ratio: float
    met: bool

    def row(self) -> Sequence[str]:
        """Return it for a table: what, against whom, the target, the ratio, and whether it is met."""
        target = self.target
        limit = f"{'>=' if target.at_least else '<='} {target.limit:g} x"
        what = f"{self.title}, {target.in_flight} in flight: {_NAMES[target.figure]}"
        return what, LABELS[target.other], limit, f"{self.ratio:.3f} x", "met" if self.met else "MISSED"


def verdicts(measurements: list[Measurement]) -> list[Verdict]:
    """Return what came of each target that this run has measured."""
    titles = {one.case: one.title for one in measurements}
    rounds, found = Rounds(measurements), []
    for target in TARGETS:
        ratio = rounds.ratio(target.figure, target.case, target.in_flight, OURS, target.other)
        if ratio is not None:
            title = titles[target.case]
            found.append(Verdict(target=target, title=title, ratio=ratio, met=target.met_by(ratio)))
    return found
