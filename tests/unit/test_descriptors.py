"""The watch over file descriptors."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import pytest

from contactsvc.telemetry.descriptors import DescriptorUsage, DescriptorWatch, usage

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def lines_of(shares: list[int], caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what is logged at each of these uses, in percent."""
    watch = DescriptorWatch(iter([DescriptorUsage(share, 100) for share in shares]).__next__)
    lines = []
    for _ in shares:
        caplog.clear()
        watch.check()
        lines.append(" ".join(record.levelname for record in caplog.records))
    return lines


@pytest.mark.parametrize(
    ("shares", "levels"),
    [
        ([10, 79], ["", ""]),
        ([80, 90, 94], ["WARNING", "", ""]),
        ([80, 95, 99, 95], ["WARNING", "ERROR", "", ""]),
        ([99], ["ERROR"]),
        # A use that swings around a threshold is one crossing.
        ([80, 79, 81, 71, 80], ["WARNING", "", "", "", ""]),
        ([80, 69, 80], ["WARNING", "", "WARNING"]),
        ([95, 84, 95, 60, 80], ["ERROR", "", "ERROR", "", "WARNING"]),
    ],
)
def test_each_threshold_is_reported_once_per_crossing(
    caplog: pytest.LogCaptureFixture, shares: list[int], levels: list[str]
) -> None:
    assert lines_of(shares, caplog) == levels


def test_the_line_names_the_numbers_and_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    DescriptorWatch(lambda: DescriptorUsage(900, 1_000)).check()

    assert "900 of 1000 file descriptors" in caplog.text
    assert "ulimit -n" in caplog.text


def test_an_unknown_use_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    watch = DescriptorWatch(lambda: None)
    watch.check_limit()
    watch.check()

    assert caplog.text == ""


@pytest.mark.parametrize(("limit", "warns"), [(256, True), (1_024, False)])
def test_a_low_limit_is_reported_at_the_start(caplog: pytest.LogCaptureFixture, limit: int, warns: bool) -> None:
    DescriptorWatch(lambda: DescriptorUsage(3, limit)).check_limit()

    assert ("ulimit -n" in caplog.text) is warns


@linux_only
def test_open_descriptors_are_counted() -> None:
    before = usage()
    assert before is not None
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    after = usage()
    for descriptor in opened:
        os.close(descriptor)

    assert after is not None
    assert after.open - before.open == 20
    assert after.limit == before.limit


@linux_only
def test_a_process_without_a_free_descriptor_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "listdir", refuse)
    current = usage()

    assert current is not None
    assert current.open == current.limit
