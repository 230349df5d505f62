"""The pruner of the change log, on a storage of its own."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contactsvc.embedded_names import ERASURES
from contactsvc.runtime.erased_values import ChangeLogPruner


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    from secantus.storage import Storage

    made = Storage(str(tmp_path / "database"), oplog_retention_seconds=86_400, oplog_max_entries=250_000)
    yield made
    made.close()


def entries(storage: Any) -> list[Any]:
    """Return the documents in the change log."""
    return [entry["o"] for _, entry in storage.read_oplog(start_seq=0, limit=100_000)]


def insert(storage: Any, collection: str, *ids: Any) -> None:
    storage.insert("any_live", collection, [{"_id": id_} for id_ in ids])


def test_without_an_erasure_the_change_log_stays(storage: Any, tmp_path: Path) -> None:
    insert(storage, "records", 1, 2)

    ChangeLogPruner(storage, tmp_path / "note").poll(grace_seconds=0)

    assert {"_id": 2} in entries(storage)
    assert not (tmp_path / "note").exists()


def test_an_erasure_ends_all_that_was_before_it_in_every_database(storage: Any, tmp_path: Path) -> None:
    # More than the entries of a step.
    insert(storage, "records", *range(2_500))
    storage.insert("other_test", "records", [{"_id": "of another environment"}])
    insert(storage, ERASURES, "mark")

    ChangeLogPruner(storage, tmp_path / "note").poll(grace_seconds=0)
    insert(storage, "records", "later")

    # The removal of the mark, and what came later.
    assert entries(storage) == [{"_id": "mark"}, {"_id": "later"}]
    assert storage.find_matching("any_live", ERASURES) == []
    assert len(storage.find_matching("any_live", "records")) == 2_501
    assert (tmp_path / "note").exists()


def test_during_the_grace_period_nothing_is_pruned(storage: Any, tmp_path: Path) -> None:
    pruner = ChangeLogPruner(storage, tmp_path / "note")
    insert(storage, "records", 1)
    insert(storage, ERASURES, "mark")

    for _ in range(3):
        pruner.poll(grace_seconds=3_600)
    during = entries(storage)
    pruner.poll(grace_seconds=0)

    assert {"_id": 1} in during
    assert {"_id": 1} not in entries(storage)


def test_a_mark_stays_when_pruning_fails(storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pruner = ChangeLogPruner(storage, tmp_path / "note")
    insert(storage, ERASURES, "mark")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "prune_oplog", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pruner.poll(grace_seconds=0)
    failed = storage.find_matching("any_live", ERASURES)
    pruner.poll(grace_seconds=0)

    assert failed == [{"_id": "mark"}]
    assert storage.find_matching("any_live", ERASURES) == []


def test_what_exceeds_the_retention_is_pruned_without_writes(storage: Any, tmp_path: Path) -> None:
    pruner = ChangeLogPruner(storage, tmp_path / "note", retention_poll_seconds=0)
    insert(storage, "records", 1)
    storage.oplog_retention_seconds = -datetime.timedelta(minutes=1).total_seconds()

    pruner.poll(grace_seconds=0)

    assert entries(storage) == []
    assert not (tmp_path / "note").exists()
