"""The table of settings, and what is generated from it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from contactsvc import config
from contactsvc.cli.main import main
from contactsvc.config import ROWS, Settings, flag_of, parse_bool, variable_of
from contactsvc.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
# A value other than the default for each setting, and the attribute that it leads to.
VALUES: dict[str, tuple[str, object]] = {
    "listen": ("[::1]:0", config.ListenAddress("::1", 0)),
    "admin_listen": ("localhost:9464", config.ListenAddress("localhost", 9464)),
    "workers": ("1", 1),
    "batching": ("OFF", False),
    "reflection": ("on", "on"),
    "tracing": ("on", True),
    "mongodb_uri": ("mongodb://h", "mongodb://h"),
    "database": ("crm", "crm"),
    "data_dir": ("/data", Path("/data")),
    "driver": ("pymongo", "pymongo"),
    "default_region": ("mx", "MX"),
    "value_validation": ("lenient", "lenient"),
    "verification_secret_file": ("/run/secrets/codes", Path("/run/secrets/codes")),
    "tls_cert": ("a", Path("a")),
    "tls_key": ("b", Path("b")),
    "tls_client_ca": ("c", Path("c")),
    "max_in_flight": ("7", 7),
    "max_in_flight_per_key": ("6", 6),
    "max_rate_per_key": ("2.5/s", 2.5),
    "max_message_bytes": ("20000", 20_000),
    "max_deadline": ("2.5", 2.5),
    "max_connection_age": ("300", 300.0),
    "max_connections": ("500", 500),
    "answer_timeout": ("20", 20.0),
    "drain_wait": ("1", 1.0),
    "drain_grace": ("0", 0.0),
    "log_format": ("JSON", "json"),
    "log_level": ("warning", "WARNING"),
    "dangerously_serve_without_tls": ("true", True),
    "dangerously_serve_without_keys": ("1", True),
}


def test_a_flag_takes_precedence_over_its_variable_and_an_empty_variable_is_absent() -> None:
    environ = {"CONTACTSVC_DATABASE": "from_variable", "CONTACTSVC_LOG_FORMAT": ""}

    assert config.load({"database": "from_flag"}, environ).database == "from_flag"
    assert config.load({"database": None}, environ).database == "from_variable"
    assert not config.load({}, environ).log_json


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = config.load({}, {})

    assert settings == Settings()
    assert str(settings.listen) == "127.0.0.1:50051"
    assert (settings.database, str(settings.data_dir), settings.driver) == ("contactsvc", "contactsvc-data", "motor")
    assert (settings.max_in_flight, settings.max_in_flight_per_key) == (1_000, 250)
    assert (settings.max_message_bytes, settings.max_deadline) == (4 * 1024 * 1024, 30)
    assert (settings.drain_wait, settings.drain_grace, settings.max_connection_age) == (0, 10, 0)
    assert (settings.mongodb_uri, settings.admin_listen, settings.default_region) == (None, None, None)
    assert (settings.tls_cert, settings.tls_key, settings.tls_client_ca) == (None, None, None)
    assert (settings.log_json, settings.log_level, settings.value_validation_lenient) == (False, "INFO", False)
    assert (settings.batching, settings.tracing) == (True, False)
    assert not settings.dangerously_serve_without_tls
    assert not settings.dangerously_serve_without_keys


def test_every_setting_is_read_from_its_flag_and_from_its_variable() -> None:
    flags = {name: raw for name, (raw, _) in VALUES.items()}
    expected = {name: value for name, (_, value) in VALUES.items()}

    from_flags = config.load(flags, {})
    from_variables = config.load({}, {variable_of(name): raw for name, raw in flags.items()})

    read = {column.name: getattr(from_flags, column.name) for column in dataclasses.fields(Settings)}
    assert read == expected
    assert from_variables == from_flags


@pytest.mark.parametrize(
    ("reflection", "listen", "reflects"),
    [
        ("auto", "127.0.0.1:0", True),
        ("auto", "10.0.0.1:0", False),
        ("on", "10.0.0.1:0", True),
        ("off", "localhost:0", False),
    ],
)
def test_reflection_is_by_default_for_loopback_only(reflection: str, listen: str, reflects: bool) -> None:
    assert config.load({"reflection": reflection, "listen": listen}, {}).reflects is reflects


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
        {"data_dir": ""},
        {"tls_client_ca": ""},
        {"default_region": "Mexico"},
        {"value_validation": "lax"},
        {"log_format": "xml"},
        {"driver": "odbc"},
        {"tracing": "yes"},
        {"dangerously_serve_without_tls": "maybe"},
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


def test_all_bad_settings_are_named_at_once_by_where_they_come_from() -> None:
    with pytest.raises(ConfigurationError) as raised:
        config.load({"driver": "odbc", "tls_cert": "x"}, {"CONTACTSVC_LOG_LEVEL": "loud", "CONTACTSVC_DRIVER": "?"})

    assert str(raised.value) == (
        "--driver must be one of motor, pymongo; CONTACTSVC_LOG_LEVEL must be one of debug, info, warning, error; "
        "--tls-cert and --tls-key must be set together"
    )


@pytest.mark.parametrize(("raw", "value"), [("true", True), ("YES", True), ("1", True), ("No", False), ("0", False)])
def test_a_bool_has_several_spellings(raw: str, value: bool) -> None:
    assert parse_bool(raw) is value


@pytest.mark.parametrize("raw", ["", "on", "2", "truе"])  # noqa: RUF001 - the last one has a Cyrillic letter
def test_what_is_not_a_bool_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="must be true or false"):
        parse_bool(raw)


def test_a_default_that_is_a_value_can_be_passed_as_it_is_shown() -> None:
    shown = {name: row.default for name, row in ROWS.items() if row.default_is_value}

    assert len(shown) > 15
    assert config.load(shown, {}) == Settings()


def test_every_command_has_the_flags_of_its_settings_with_their_defaults() -> None:
    commands = {name: command for name, command in main.commands.items() if not isinstance(command, click.Group)}
    groups = {name: command for name, command in main.commands.items() if isinstance(command, click.Group)}
    assert groups.keys() == {"keys", "secrets"}
    help_ = " ".join(CliRunner().invoke(main, ["serve", "--help"]).output.split())
    for name, row in ROWS.items():
        takers = {command for command, of in commands.items() if any(flag_of(name) in p.opts for p in of.params)}
        takers |= groups.keys() & set(row.group.commands)
        # `probe` has flags of its own for the TLS of a caller.
        assert takers - {"probe"} == set(row.group.commands)
        for group, commands_of_group in groups.items():
            for of in commands_of_group.commands.values():
                assert any(flag_of(name) in parameter.opts for parameter in of.params) == (group in row.group.commands)
        assert row.help in help_
        assert row.metavar is None or f"{row.help} [{row.default}]" in help_


def test_the_page_of_settings_is_fresh() -> None:
    script = ROOT / "docs/generate_configuration.py"

    subprocess.run([sys.executable, str(script), "--check"], check=True)


def test_the_page_of_settings_has_a_row_for_every_setting() -> None:
    page = (ROOT / "docs/configuration.md").read_text()

    for name, row in ROWS.items():
        (line,) = [line for line in page.splitlines() if f"| `{variable_of(name)}` |" in line]
        assert line.startswith(f"| `{flag_of(name)}")
        assert row.default in line
        assert row.help in line


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["serve", "--bogus"], ["serve", "--listen=x"]])
def test_help_and_a_wrong_flag_load_neither_grpc_nor_a_driver_nor_numbering_plans(arguments: list[str]) -> None:
    heavy = (
        "{'grpc', 'google', 'motor', 'pymongo', 'bson', 'cryptography', 'uvloop', 'phonenumbers', 'email_validator'}"
    )
    program = (
        "import sys\nfrom contactsvc.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print('loaded', sorted({heavy} & set(sys.modules)))"
    )

    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)

    assert ended.stdout.splitlines()[-1] == "loaded []"
    assert ended.returncode == (0 if "--help" in arguments else 2)


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("CONTACTSVC_LISTN", "did you mean CONTACTSVC_LISTEN?"),
        ("CONTACTSVC_MONGO_URL", "did you mean CONTACTSVC_MONGODB_URI?"),
        ("CONTACTSVC_TLS_CRT", "did you mean CONTACTSVC_TLS_CERT?"),
        ("CONTACTSVC_PORT", "docs/configuration.md"),
        ("CONTACTSVC_", "docs/configuration.md"),
    ],
)
def test_an_unknown_variable_is_described_without_its_value(variable: str, hint: str) -> None:
    (sentence,) = config.unknown_variables({variable: "hunter2", "PATH": "/bin", "CONTACTSVC_LOG_LEVEL": "info"})

    assert sentence.startswith(f"unknown environment variable {variable}; ")
    assert hint in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "variable",
    [
        "CONTACTSVC_TARGET",
        "CONTACTSVC_API_KEY",
        "CONTACTSVC_TEST_MONGODB_URI",
        "CONTACTSVC_BENCH_MONGODB_URI",
        # Kubernetes, for the services `contactsvc` and `contactsvc-admin`.
        "CONTACTSVC_SERVICE_HOST",
        "CONTACTSVC_SERVICE_PORT",
        "CONTACTSVC_SERVICE_PORT_GRPC",
        "CONTACTSVC_PORT",
        "CONTACTSVC_PORT_50051_TCP",
        "CONTACTSVC_PORT_50051_TCP_ADDR",
        "CONTACTSVC_ADMIN_SERVICE_HOST",
        "CONTACTSVC_ADMIN_PORT_9464_TCP_PROTO",
    ],
)
def test_variables_of_others_are_not_reported(variable: str) -> None:
    assert config.unknown_variables({variable: "tcp://10.96.0.7:50051"}) == []


def test_every_setting_is_known() -> None:
    assert config.unknown_variables({variable_of(name): "x" for name in ROWS}) == []


def test_bad_settings_are_reported_with_the_unknown_variable_that_may_be_the_cause() -> None:
    with pytest.raises(ConfigurationError, match=r"must be set together; .*CONTACTSVC_TLS_CRT; did you mean"):
        config.load({"tls_key": "tls.key"}, {"CONTACTSVC_TLS_CRT": "tls.crt"}, serving=True)


def test_commands_warn_of_unknown_variables() -> None:
    result = CliRunner(env={"CONTACTSVC_MONGO_URI": "mongodb://h"}).invoke(
        main, ["export", "--environment", "live", "--driver", "odbc"]
    )

    warning, failure = result.stderr.splitlines()
    assert warning == (
        "contactsvc: warning: unknown environment variable CONTACTSVC_MONGO_URI; did you mean CONTACTSVC_MONGODB_URI?"
    )
    assert "--driver" in failure
