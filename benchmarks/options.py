"""The command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cases
from benchmarks.servers import LABELS

HERE = Path(__file__).parent
_LEVELS = (1, 8, 64, 256)
_CURVE_LEVELS = (1, 64)
_MAX_CURVE_RECORDS = 1_000_000
_SECONDS = {"last run": 1.5, "curve": 2.0, "releases": 2.0, "workers": 3.0}
_ROUNDS = {"last run": 3, "curve": 5, "releases": 5, "workers": 7}
# The last of each line that the generated stubs accept.
_RELEASES = ("1.80.1", "1.81.2", "1.82.3", "1.83.2", "1.84.2", "1.85.3")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and for how long.

    Attributes:
        cases: names of cases.
        servers: names of servers.
        levels: numbers of calls in flight.
        rounds: how often each case is measured on each server.
        turns_alone: measurements per round with one call in flight, each of a quarter of the time.
        min_batches: the smallest number of batches in a measurement.
        seconds: length of a measurement.
        warmup: seconds of calls before each measurement.
        settling: seconds of calls of each case before the first round.
        records: records in the database.
        stream_records: records that a stream reads.
        kind: of run: `last run` for the comparison, `curve`, `releases` or `workers`.
        grpcio: the releases to compare.
        workers: the number of processes to compare with one.
        complete: whether the run is neither partial nor shortened, so that its results go into README.md.
        output: the folder for results.
        mongodb_uri: the database; None means the embedded one.
    """

    cases: tuple[str, ...]
    servers: tuple[str, ...]
    levels: tuple[int, ...]
    rounds: int
    turns_alone: int
    min_batches: int
    seconds: float
    warmup: float
    settling: float
    records: int
    stream_records: int
    kind: str
    grpcio: tuple[str, ...]
    workers: int
    complete: bool
    output: Path
    mongodb_uri: str | None


def read_options(arguments: list[str] | None = None) -> Options:
    """Read the command line and CONTACTSVC_BENCH_MONGODB_URI; exit with a message if an option is invalid."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements: four to five minutes")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--curve", action="store_true", help="cost of a read by id over the number of records")
    kinds.add_argument(
        "--grpcio",
        nargs="?",
        const=_RELEASES,
        type=lambda raw: tuple(raw.split(",")),
        metavar="LIST",
        help="compare releases of grpcio; without a list, the last of each line",
    )
    kinds.add_argument(
        "--workers",
        nargs="?",
        const=2,
        type=int,
        metavar="N",
        help="compare N processes with one, under h2load",
    )
    parser.add_argument("--cases", type=_some_of(cases.NAMES), metavar="LIST", help=", ".join(cases.NAMES))
    parser.add_argument("--servers", type=_some_of(tuple(LABELS)), metavar="LIST", help=", ".join(LABELS))
    parser.add_argument("--levels", type=_levels, metavar="LIST", help="calls in flight, for example 1,64")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each case is measured on each server")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a measurement")
    parser.add_argument(
        "--records", type=int, metavar="N", help="records; with --curve the largest number, up to 1,000,000"
    )
    parser.add_argument("--output", type=Path, default=HERE / "results", metavar="DIR", help="folder for results")
    given = parser.parse_args(arguments)
    if given.records is not None and not 100 <= given.records <= _MAX_CURVE_RECORDS:
        parser.error(f"--records must be 100 to {_MAX_CURVE_RECORDS:,}")
    if given.workers is not None and given.workers < 2:
        parser.error("--workers must be 2 or more")
    quick = given.quick
    kind = "curve" if given.curve else "releases" if given.grpcio else "workers" if given.workers else "last run"
    seconds = given.seconds or (0.5 if quick else _SECONDS[kind])
    records = given.records or _records(kind, quick=quick)
    partial = [given.cases, given.servers, given.levels, given.rounds, given.seconds, given.records]
    if kind == "curve":
        # Its complete run has a million records, which take a quarter of an hour to write: only on request.
        partial = [given.levels, records != _MAX_CURVE_RECORDS]
    elif kind == "releases":
        partial = [given.seconds, given.records]
    return Options(
        cases=given.cases or cases.NAMES,
        servers=given.servers or tuple(LABELS),
        levels=given.levels or (_CURVE_LEVELS if kind == "curve" or quick else _LEVELS),
        rounds=given.rounds or (3 if quick else _ROUNDS[kind]),
        turns_alone=3 if quick else 5,
        # A batch takes 0.15 s, so that a turn of 0.5 s would have three, and one slow batch would decide it.
        min_batches=8 if quick else 12,
        seconds=seconds,
        warmup=min(0.5, seconds / 3),
        settling=0.7 if quick else 2.0,
        records=records,
        stream_records=records if quick else max(records, 100_000),
        kind=kind,
        grpcio=given.grpcio or (),
        workers=given.workers or 0,
        complete=not quick and not any(partial),
        output=given.output,
        mongodb_uri=os.environ.get("CONTACTSVC_BENCH_MONGODB_URI") or None,
    )


def _records(kind: str, *, quick: bool) -> int:
    if kind in ("releases", "workers"):
        return 2_000
    if quick:
        return 10_000
    return 100_000 if kind == "curve" else 20_000


def _some_of(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(raw: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in raw.split(","))
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return tuple(name for name in known if name in names)

    return parse


def _levels(raw: str) -> tuple[int, ...]:
    return tuple(int(level) for level in raw.split(","))
