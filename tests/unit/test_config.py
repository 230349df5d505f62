from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from contactsvc import config
from contactsvc.domain.ids import ContactMethodIds
from contactsvc.errors import ConfigurationError


def test_ids_grow_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    times = iter([noon] * 500 + [noon - timedelta(hours=1)] * 500 + [noon + timedelta(milliseconds=1)])
    make_id = ContactMethodIds(lambda: next(times))

    made = [make_id() for _ in range(1001)]

    assert made == sorted(set(made))
    assert {len(id_) for id_ in made} == {len("contact_") + 26}


def test_a_flag_wins_over_its_variable_and_an_empty_variable_is_absent() -> None:
    environ = {"CONTACTSVC_DATABASE": "from_variable", "CONTACTSVC_LOG_FORMAT": ""}

    assert config.load({"database": "from_flag"}, environ).database == "from_flag"
    assert config.load({"database": None}, environ).database == "from_variable"
    assert not config.load({}, environ).log_json


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = config.load({}, {})

    assert str(settings.listen) == "127.0.0.1:50051"
    assert (settings.database, str(settings.data_dir), settings.driver) == ("contactsvc", "contactsvc-data", "motor")


def test_no_repr_shows_the_uri() -> None:
    settings = config.load({"mongodb_uri": "mongodb://u:hunter2@h"}, {})

    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "flags",
    [
        {"listen": "localhost"},
        {"listen": "localhost:99999"},
        {"mongodb_uri": "http://user:hunter2@h"},
        {"database": "a.b"},
        {"database": ""},
        {"default_region": "Mexico"},
        {"value_validation": "lax"},
        {"log_format": "xml"},
        {"driver": "odbc"},
        # Digits, but of other scripts.
        {"listen": "localhost:5005٣"},
        {"workers": "1٣"},
        {"max_in_flight": "1٣"},
        {"max_message_bytes": "6553٦"},
        {"max_deadline": "٣"},
    ],
)
def test_bad_values_name_their_flag_and_not_their_secret(flags: dict[str, str]) -> None:
    (name,) = flags
    with pytest.raises(ConfigurationError) as raised:
        config.load(flags, {})

    assert f"--{name.replace('_', '-')}" in str(raised.value)
    assert "hunter2" not in str(raised.value)
