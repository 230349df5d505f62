from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from contactsvc import config
from contactsvc.config.cpu import quota, usable_cores
from contactsvc.errors import ConfigurationError


def quota_in(tree: Path, own: str, limits: dict[str, str]) -> int | None:
    """Return the quota of a process in the cgroup `own` of a made-up hierarchy with these limits."""
    (tree / "cgroup").write_text(f"4:cpu:/elsewhere\n0::{own}\n")
    for name, limit in limits.items():
        directory = tree / "groups" / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cpu.max").write_text(f"{limit}\n")
    return quota(tree / "cgroup", tree / "groups")


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", None), ("100000 100000", 1), ("150000 100000", 2), ("20000 100000", 1), ("800000 50000", 16)],
)
def test_a_cpu_quota_is_rounded_up_to_whole_cores(tmp_path: Path, limit: str, cores: int | None) -> None:
    assert quota_in(tmp_path, "/", {"": limit}) == cores


def test_the_smallest_quota_of_the_cgroup_and_those_above_it_applies(tmp_path: Path) -> None:
    limits = {"a": "300000 100000", "a/b": "max 100000", "a/b/c": "400000 100000", "z": "100000 100000"}

    assert quota_in(tmp_path, "/a/b/c", limits) == 3


@pytest.mark.parametrize("limit", ["", "many", "1 2 3", "100000 0x"])
def test_an_unparsable_limit_is_no_quota(tmp_path: Path, limit: str) -> None:
    assert quota_in(tmp_path, "/", {"": limit}) is None


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path / "absent", tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the default is 1 on other systems")
def test_the_default_is_one_worker_per_usable_core() -> None:
    everything = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(everything)})
        assert config.load({}, {}).workers == 1
    finally:
        os.sched_setaffinity(0, everything)

    assert 1 <= usable_cores() <= len(everything)


@pytest.mark.parametrize("raw", ["0", "-1", "two", "1000", "1.5"])
def test_a_bad_number_of_workers_is_refused(raw: str) -> None:
    with pytest.raises(ConfigurationError, match="--workers must be a whole number from 1 to 999"):
        config.load({"workers": raw}, {})


def test_there_is_one_worker_on_systems_other_than_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert config.load({}, {}).workers == 1
    assert config.load({"workers": "1"}, {}).workers == 1
    with pytest.raises(ConfigurationError, match="--workers must be 1 on this system"):
        config.load({"workers": "2"}, {})
