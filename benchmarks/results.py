"""Measurements, their medians over the rounds, and the ratios of one server to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.sampling import Sample

OURS = "contactsvc"
"""The server that is compared with all others."""


@dataclass(frozen=True)
class Measurement:
    """A case on a server, measured once."""

    case: str
    title: str
    items: int
    in_flight: int
    server: str
    round: int
    sample: Sample

    def brief(self) -> str:
        """Return calls per second, CPU per call and errors as text."""
        figures = Figures.of([self])
        errors = f", {figures.errors} ERRORS" if figures.errors else ""
        return f"{figures.per_second:,.0f}/s, {figures.server_us:,.1f} µs of server CPU each{errors}"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The medians of all rounds of a case on a server; per document if a call carries many.

    Attributes:
        case: the name of the case.
        title: its title in reports.
        unit: what is counted, `call` or `document`.
        in_flight: concurrent calls.
        server: the name of the server.
        per_second: units per second.
        p50_ms: the median latency of a call.
        p99_ms: the latency that one call in a hundred exceeds.
        server_us: CPU time of the server per unit, in microseconds.
        database_us: that of the database; None if it runs on another machine.
        server_share: cores used by the server; more than 1 with several threads.
        database_share: cores used by the database; None if it runs on another machine.
        generator_share: cores used by the generator.
        others_share: cores used by everything else on the machine, which is noise.
        resident_mib: resident memory of the server at the end.
        errors: failed calls in all rounds.
        spread: the largest server_us of a round over the smallest; None if the smallest is 0.
    """

    case: str
    title: str
    unit: str
    in_flight: int
    server: str
    per_second: float
    p50_ms: float
    p99_ms: float
    server_us: float
    database_us: float | None
    server_share: float
    database_share: float | None
    generator_share: float
    others_share: float
    resident_mib: float
    errors: int
    spread: float | None

    @classmethod
    def of(cls, rounds: list[Measurement]) -> Figures:
        """Return the medians of these rounds, which are of one case, level and server."""
        first, samples = rounds[0], [one.sample for one in rounds]

        def middle(figure: Callable[[Sample], float]) -> float:
            return median(figure(sample) for sample in samples)

        def each(seconds: float, sample: Sample) -> float:
            return seconds * 1e6 / max(sample.calls * first.items, 1)

        local = all(sample.database_cpu is not None for sample in samples)
        server_us = [each(sample.server_cpu, sample) for sample in samples]
        return cls(
            case=first.case,
            title=first.title,
            unit="call" if first.items == 1 else "document",
            in_flight=first.in_flight,
            server=first.server,
            per_second=middle(lambda sample: sample.calls * first.items / sample.seconds),
            p50_ms=middle(lambda sample: sample.p50) * 1000,
            p99_ms=middle(lambda sample: sample.p99) * 1000,
            server_us=median(server_us),
            database_us=middle(lambda sample: each(sample.database_cpu or 0, sample)) if local else None,
            server_share=middle(lambda sample: sample.server_cpu / sample.seconds),
            database_share=middle(lambda sample: (sample.database_cpu or 0) / sample.seconds) if local else None,
            generator_share=middle(lambda sample: sample.generator_cpu / sample.seconds),
            others_share=middle(lambda sample: sample.others_cpu / sample.seconds),
            resident_mib=middle(lambda sample: sample.resident) / 2**20,
            errors=sum(sample.errors for sample in samples),
            spread=max(server_us) / min(server_us) if min(server_us) else None,
        )


def figures(measurements: list[Measurement]) -> list[Figures]:
    """Return the figures of all cases, levels and servers, in the order of their first measurement."""
    groups: dict[tuple[str, int, str], list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.case, one.in_flight, one.server), []).append(one)
    return [Figures.of(group) for group in groups.values()]


class Rounds:
    """The measurements of a run, for ratios of servers round by round.

    Each ratio is taken within a round, between measurements that are seconds apart; the result is the median.
    """

    def __init__(self, measurements: list[Measurement]) -> None:
        self._of: dict[tuple[str, int, str], dict[int, Figures]] = {}
        for one in measurements:
            self._of.setdefault((one.case, one.in_flight, one.server), {})[one.round] = Figures.of([one])

    def ratio(self, figure: str, case: str, in_flight: int, ours: str, other: str) -> float | None:
        """Return a figure of one server over that of another; None if one of them was not measured."""
        mine, others = (self._of.get((case, in_flight, server), {}) for server in (ours, other))
        found = [
            getattr(mine[number], figure) / getattr(others[number], figure)
            for number in mine.keys() & others.keys()
            if getattr(others[number], figure)
        ]
        return median(found) if found else None


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """contactsvc over another server: throughput, and server CPU per call or document."""

    title: str
    in_flight: int
    other: str
    per_second: float
    server_us: float


def ratios(measurements: list[Measurement]) -> list[Ratio]:
    """Return contactsvc over each other server that was measured."""
    rounds, found = Rounds(measurements), []
    for one in figures(measurements):
        if one.server == OURS:
            continue
        per_second = rounds.ratio("per_second", one.case, one.in_flight, OURS, one.server)
        server_us = rounds.ratio("server_us", one.case, one.in_flight, OURS, one.server)
        if per_second is not None and server_us is not None:
            found.append(
                Ratio(
                    title=one.title,
                    in_flight=one.in_flight,
                    other=one.server,
                    per_second=per_second,
                    server_us=server_us,
                )
            )
    return found
