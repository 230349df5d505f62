"""The checker against generated histories, valid and damaged."""

from __future__ import annotations

import pytest

from tests.robustness.checker import check
from tests.robustness.generated import damaged, generated


@pytest.mark.parametrize("seed", range(60))
def test_a_service_that_keeps_its_promises_is_never_accused(seed: int) -> None:
    history = generated(seed)

    assert [str(violation) for violation in check(history)] == []


@pytest.mark.parametrize("seed", range(20))
def test_damage_to_a_valid_history_is_found(seed: int) -> None:
    for name, history in damaged(seed):
        assert check(history), name
