"""The performance targets of the project, and whether a run meets them; each is a ratio within one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import OURS, Measurement, Rounds
from benchmarks.servers import LABELS, PEERS

WORKERS_RATIO = 1.6
"""Calls per second of two workers over one, on two cores; `--workers` measures it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A figure of contactsvc over the same figure of other servers.

    Attributes:
        case: the name of the case.
        in_flight: the level.
        figure: an attribute of Figures.
        others: the other servers. The ratio is the least favourable over those that were measured.
        limit: the largest ratio that meets the target; the smallest if `at_least`.
        at_least: whether larger ratios are better.
        ours: the contactsvc that is measured.
    """

    case: str
    in_flight: int = 64
    figure: str = "server_us"
    others: tuple[str, ...]
    limit: float
    at_least: bool = False
    ours: str = OURS

    def met_by(self, ratio: float) -> bool:
        """Return whether a ratio meets the target."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


_POINT_READS = ("get", "primary")
_BATCHED = ("get", "primary", "list", "create")

TARGETS = (
    # Over the echo, the floor of grpc.aio.
    *(Target(case=case, others=("floor",), limit=1.5, ours="pymongo") for case in _POINT_READS),
    *(Target(case=case, others=("floor",), limit=1.65) for case in _POINT_READS),
    Target(case="list", others=("floor",), limit=2.4),
    Target(case="create", others=("floor",), limit=2.0),
    Target(case="update", others=("floor",), limit=2.5),
    # Over the peers.
    Target(case="get", others=("node",), limit=0.7),
    Target(case="get", others=("fastapi",), limit=0.4),
    *(Target(case="primary", others=(other,), limit=1.0) for other in ("node", "fastapi")),
    Target(case="get", in_flight=1, figure="p50_ms", others=("node",), limit=1.0),
    Target(case="stream", in_flight=1, figure="per_second", others=PEERS, limit=1.05, at_least=True),
    Target(case="stream", in_flight=1, others=PEERS, limit=1.0),
    # What batching gains, and what it costs a lone call.
    *(Target(case=case, figure="per_second", others=("unbatched",), limit=2.0, at_least=True) for case in _POINT_READS),
    *(Target(case=case, in_flight=1, figure="p50_ms", others=("unbatched",), limit=1.05) for case in _BATCHED),
    # Over the bare driver.
    *(
        Target(case=case, in_flight=1, figure="per_second", others=("driver",), limit=0.6, at_least=True)
        for case in ("batch", "stream")
    ),
)
"""The targets of one process."""

_FIGURE_NAMES = {"server_us": "server CPU", "per_second": "per second", "p50_ms": "p50"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of a target.

    Attributes:
        target: the target.
        title: the title of its case.
        other: the server with the least favourable ratio.
        ratio: the figure over that of the other server.
        met: whether the target is met.
    """

    target: Target
    title: str
    other: str
    ratio: float
    met: bool

    def row(self) -> Sequence[str]:
        """Return the cells of a table: figure, server, the other server, limit, ratio, met or MISSED."""
        target = self.target
        figure = f"{self.title}, {target.in_flight} in flight: {_FIGURE_NAMES[target.figure]}"
        other = LABELS[self.other] if len(target.others) == 1 else f"best peer: {LABELS[self.other]}"
        limit = f"{'>=' if target.at_least else '<='} {target.limit:g} x"
        return figure, LABELS[target.ours], other, limit, f"{self.ratio:.3f} x", "met" if self.met else "MISSED"


HEAD = ("target", "of", "over that of", "limit", "measured", "")
"""The head of a table of verdicts."""


def verdicts(measurements: list[Measurement]) -> list[Verdict]:
    """Return the outcome of each target that a run measured."""
    titles = {one.case: one.title for one in measurements}
    rounds, found = Rounds(measurements), []
    for target in TARGETS:
        ratios = {
            other: ratio
            for other in target.others
            if (ratio := rounds.ratio(target.figure, target.case, target.in_flight, target.ours, other)) is not None
        }
        if ratios:
            worst = (min if target.at_least else max)(ratios, key=ratios.__getitem__)
            found.append(
                Verdict(
                    target=target,
                    title=titles[target.case],
                    other=worst,
                    ratio=ratios[worst],
                    met=target.met_by(ratios[worst]),
                )
            )
    return found
