"""The table of settings: each field of `Settings` is a row.

From a row come the flag, the environment variable, the default, the help text, and the row of docs/configuration.md
(`make docs`).
"""
# ruff: noqa: RUF009 - what is called in the body of `Settings` returns dataclass fields

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from contactsvc.config.cpu import usable_cores
from contactsvc.config.parsing import (
    ListenAddress,
    one_of,
    parse_address,
    parse_bool,
    parse_count,
    parse_database,
    parse_directory,
    parse_file,
    parse_log_level,
    parse_message_bytes,
    parse_mongodb_uri,
    parse_positive_seconds,
    parse_rate,
    parse_region,
    parse_seconds,
    parse_switch,
    parse_workers,
)

_T = TypeVar("_T")


class Group(Enum):
    """Group of settings: its title in the documentation, and the commands that take its flags."""

    SERVICE = ("Service", "serve")
    DATABASE = ("Database", "serve", "doctor", "export", "import", "keys", "secrets")
    VALUES = ("Values", "serve", "doctor", "import")
    VERIFICATION = ("Verification", "serve", "doctor", "secrets")
    TLS = ("TLS", "serve")
    LIMITS = ("Limits", "serve")
    DRAIN = ("Drain", "serve")
    LOGGING = ("Logging", "serve")
    DANGER = ("Danger", "serve")

    def __init__(self, title: str, *commands: str) -> None:
        self.title = title
        self.commands = commands


@dataclass(frozen=True, slots=True)
class Row:
    """Row of the table, apart from the name and the type, which are those of the field of `Settings`.

    Attributes:
        group: which commands take the flag, and which table of the documentation has the row.
        metavar: name of the value in the help; None for a flag without a value.
        parse: returns the value of a text, or raises ValueError with the rule that the text breaks.
        default: the default, for people.
        default_is_value: whether the flag takes the default as it stands, which otherwise is a description.
        help: one sentence for the help and the documentation.
        details: further sentences, for the documentation only.
    """

    group: Group
    metavar: str | None
    parse: Callable[[str], Any]
    default: str
    default_is_value: bool
    help: str
    details: str


def _setting(
    group: Group,
    metavar: str | None,
    parse: Callable[[str], _T],
    default: str,
    text: str,
    *,
    details: str = "",
) -> _T:
    """Return the field of a setting whose default is a text to parse."""
    row = Row(group, metavar, parse, default, True, text, details)
    return field(default=parse(default), metadata={"row": row})


def _optional(
    group: Group,
    metavar: str,
    parse: Callable[[str], _T],
    absent: str,
    text: str,
    *,
    details: str = "",
    secret: bool = False,
) -> _T | None:
    """Return the field of a setting whose default is None, described by `absent`; the repr omits a secret."""
    row = Row(group, metavar, parse, absent, False, text, details)
    return field(default=None, repr=not secret, metadata={"row": row})


def _computed(
    group: Group,
    metavar: str,
    parse: Callable[[str], _T],
    compute: Callable[[], _T],
    shown: str,
    text: str,
    *,
    details: str = "",
) -> _T:
    """Return the field of a setting whose default depends on the machine, described by `shown`."""
    row = Row(group, metavar, parse, shown, False, text, details)
    return field(default_factory=compute, metadata={"row": row})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the service and of the commands that work on its database.

    The attributes of the class are the defaults, except where the default depends on the machine.
    """

    listen: ListenAddress = _setting(
        Group.SERVICE,
        "HOST:PORT",
        parse_address,
        "127.0.0.1:50051",
        "Address to serve gRPC on; port 0 picks a free port.",
        details="An address other than loopback requires TLS and an API key.",
    )
    admin_listen: ListenAddress | None = _optional(
        Group.SERVICE, "HOST:PORT", parse_address, "none", "Address to serve Prometheus metrics on, over plain HTTP."
    )
    workers: int = _computed(
        Group.SERVICE,
        "N",
        parse_workers,
        usable_cores,
        "one per usable core",
        "Number of processes that serve; limits apply to each of them.",
        details="Always 1 on systems other than Linux. A CPU limit of the container counts as its number of cores.",
    )
    batching: bool = _setting(
        Group.SERVICE,
        "on|off",
        parse_switch,
        "on",
        "Combine point reads and single writes that arrive together into one database command.",
    )
    reflection: str = _setting(
        Group.SERVICE,
        "auto|on|off",
        one_of("auto", "on", "off"),
        "auto",
        "Server reflection; auto enables it on loopback addresses only.",
    )
    tracing: bool = _setting(
        Group.SERVICE,
        "on|off",
        parse_switch,
        "off",
        "Trace calls with OpenTelemetry, configured by its OTEL_ variables.",
        details="Requires `contactsvc[otel]`.",
    )
    mongodb_uri: str | None = _optional(
        Group.DATABASE,
        "URI",
        parse_mongodb_uri,
        "none: the embedded database",
        "Connection string of MongoDB.",
        details="Flags are visible in the process list: pass a URI with a password in the variable.",
        secret=True,
    )
    database: str = _setting(
        Group.DATABASE,
        "NAME",
        parse_database,
        "contactsvc",
        "Prefix of the databases: NAME_live, NAME_test and NAME_keys.",
    )
    data_dir: Path = _setting(
        Group.DATABASE, "DIR", parse_directory, "./contactsvc-data", "Directory of the embedded database."
    )
    driver: str = _setting(
        Group.DATABASE,
        "motor|pymongo",
        one_of("motor", "pymongo"),
        "motor",
        "MongoDB driver.",
        details="`pymongo` is the asynchronous client of PyMongo itself.",
    )
    default_region: str | None = _optional(
        Group.VALUES,
        "REGION",
        parse_region,
        "none",
        "Region of phone numbers without a country code, such as MX.",
        details="Without a region, such numbers are invalid.",
    )
    value_validation: str = _setting(
        Group.VALUES,
        "strict|lenient",
        one_of("strict", "lenient"),
        "strict",
        "Reject invalid values (strict), or store them without a normalized value (lenient).",
    )
    verification_secret_file: Path | None = _optional(
        Group.VERIFICATION,
        "FILE",
        parse_file,
        "none: a secret in the database",
        "Secrets that verification codes are derived from, one per line, the current one first.",
        details="At least 32 random characters each. The file keeps them out of the database and its backups; all "
        "replicas need the same one. It is read again every 15 seconds; "
        "[verification-secrets.md](verification-secrets.md) describes how to change it.",
    )
    tls_cert: Path | None = _optional(
        Group.TLS,
        "FILE",
        parse_file,
        "none: plain text",
        "Certificate chain in PEM format; reloaded when the file changes.",
    )
    tls_key: Path | None = _optional(
        Group.TLS, "FILE", parse_file, "none", "Private key of the certificate, in PEM format, without a passphrase."
    )
    tls_client_ca: Path | None = _optional(
        Group.TLS, "FILE", parse_file, "none", "Require client certificates issued by this CA (mTLS)."
    )
    max_in_flight: int = _setting(
        Group.LIMITS,
        "N",
        parse_count,
        "1000",
        "Concurrent calls per worker; calls beyond that fail with OVERLOADED.",
        details="Health checks and reflection do not count.",
    )
    max_in_flight_per_key: int = _setting(
        Group.LIMITS, "N", parse_count, "250", "Concurrent calls per worker with the same API key."
    )
    max_rate_per_key: float = _setting(
        Group.LIMITS,
        "N[/s]",
        parse_rate,
        "0",
        "Calls per second and worker with the same API key; 0 sets no limit.",
        details=(
            "Bursts may have the calls of one second. `contactsvc keys create --rate` gives a key a rate of its own. "
            "Callers without a key are exempt."
        ),
    )
    max_message_bytes: int = _setting(
        Group.LIMITS,
        "N",
        parse_message_bytes,
        "4194304",
        "Maximum size of a request, in bytes.",
        details="At least 16384. A larger request fails with RESOURCE_EXHAUSTED.",
    )
    max_deadline: float = _setting(
        Group.LIMITS,
        "SECONDS",
        parse_positive_seconds,
        "30",
        "Maximum duration of a call, whatever deadline the caller sets; streams are exempt.",
    )
    max_connection_age: float = _setting(
        Group.LIMITS,
        "SECONDS",
        parse_seconds,
        "0",
        "Close connections of this age, so that clients find new replicas; 0 keeps them.",
    )
    max_connections: int = _setting(
        Group.LIMITS,
        "N",
        parse_count,
        "1000",
        "Connections per worker; further ones are closed at once.",
    )
    answer_timeout: float = _setting(
        Group.LIMITS,
        "SECONDS",
        parse_positive_seconds,
        "60",
        "Time for a caller to read an answer, or a page of a stream, before the call is cancelled.",
        details="Shorter while answers that nobody reads hold up other callers.",
    )
    drain_wait: float = _setting(
        Group.DRAIN,
        "SECONDS",
        parse_seconds,
        "0",
        "After SIGTERM, time to keep accepting calls while health reports NOT_SERVING.",
    )
    drain_grace: float = _setting(
        Group.DRAIN, "SECONDS", parse_seconds, "10", "After that, time for calls in progress to finish."
    )
    log_format: str = _setting(Group.LOGGING, "text|json", one_of("text", "json"), "text", "Format of log lines.")
    log_level: str = _setting(
        Group.LOGGING, "LEVEL", parse_log_level, "info", "Lowest level to log: debug, info, warning or error."
    )
    dangerously_serve_without_tls: bool = _setting(
        Group.DANGER, None, parse_bool, "false", "Serve plain text on an address that other machines can reach."
    )
    dangerously_serve_without_keys: bool = _setting(
        Group.DANGER, None, parse_bool, "false", "Serve without API keys on an address that other machines can reach."
    )

    @property
    def tls(self) -> bool:
        """Whether to serve TLS."""
        return self.tls_cert is not None

    @property
    def reflects(self) -> bool:
        """Whether to enable reflection."""
        return self.listen.loopback if self.reflection == "auto" else self.reflection == "on"

    @property
    def value_validation_lenient(self) -> bool:
        """Whether to store values that cannot be parsed."""
        return self.value_validation == "lenient"

    @property
    def log_json(self) -> bool:
        """Whether log lines are JSON."""
        return self.log_format == "json"


ROWS: Final[Mapping[str, Row]] = MappingProxyType({column.name: column.metadata["row"] for column in fields(Settings)})
"""The rows of the table by the names of the settings."""
