"""Settings: read once, from flags and environment variables, and frozen. The only place that reads the environment."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from contactsvc.cpu import usable_cores
from contactsvc.errors import ConfigurationError

ENVIRONMENT_PREFIX = "CONTACTSVC_"

_T = TypeVar("_T")

_SMALLEST_MESSAGE_LIMIT = 16_384
_REFLECTION = {"auto": None, "on": True, "off": False}


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `contactsvc serve` was told; the fields are the flags.

    Attributes:
        listen: where to serve gRPC.
        mongodb_uri: the MongoDB to use; None means the embedded database. May hold a password, so no repr shows it.
        database: the name before `_live` and `_test`.
        data_dir: where the embedded database keeps its files.
        default_region: in which phone numbers without `+` are read.
        value_validation_lenient: whether values that cannot be parsed are stored.
        log_json: whether log lines are JSON.
        log_level: from which level on lines are logged.
        driver: the MongoDB driver, `motor` or `pymongo`.
        workers: how many processes serve.
        tls_cert: the certificate chain to serve TLS with; None serves in plain text.
        tls_key: its private key.
        tls_client_ca: whose certificates clients must show (mTLS); None asks for none.
        reflection: whether the service describes itself to strangers; None means on a loopback address only.
        admin_listen: where to serve metrics; None serves none.
        batching: whether calls that arrive together are answered together.
        tracing: whether to trace calls with OpenTelemetry.
        max_in_flight: how many calls there may be at a time.
        max_in_flight_per_key: how many with one API key.
        max_message_bytes: how large a request may be.
        max_deadline: how many seconds a call may take, whatever its caller says; streams are exempt.
        drain_wait: how many seconds to serve on after SIGTERM while health says NOT_SERVING.
        drain_grace: how many seconds calls under way then have to end.
        max_connection_age: after how many seconds a connection is ended, so that clients see new replicas; 0 is never.
        without_tls: whether to serve a network in plain text all the same.
        without_keys: whether to serve a network without API keys all the same.
    """

    listen: ListenAddress = ListenAddress("127.0.0.1", 50051)
    mongodb_uri: str | None = field(default=None, repr=False)
    database: str = "contactsvc"
    data_dir: Path = Path("contactsvc-data")
    default_region: str | None = None
    value_validation_lenient: bool = False
    log_json: bool = False
    log_level: str = "INFO"
    driver: str = "motor"
    workers: int = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    reflection: bool | None = None
    admin_listen: ListenAddress | None = None
    batching: bool = True
    tracing: bool = False
    max_in_flight: int = 1_000
    max_in_flight_per_key: int = 250
    max_message_bytes: int = 4 * 1024 * 1024
    max_deadline: float = 30.0
    drain_wait: float = 0.0
    drain_grace: float = 10.0
    max_connection_age: float = 0.0
    without_tls: bool = False
    without_keys: bool = False

    @property
    def tls(self) -> bool:
        """Whether to serve TLS."""
        return self.tls_cert is not None

    @property
    def reflects(self) -> bool:
        """Whether the service describes itself."""
        return self.listen.loopback if self.reflection is None else self.reflection


def load(flags: Mapping[str, str | None], environ: Mapping[str, str], *, serving: bool = False) -> Settings:
    """Return the settings: a flag wins over its environment variable, and an empty variable counts as absent.

    Args:
        flags: the flags that were given, by their names with underscores.
        environ: the environment.
        serving: whether they are to be served with, so that they must be safe for that as well.

    Raises:
        ConfigurationError: one or more values are bad; the message names all of them.
    """
    reader = _Reader(flags, environ)
    default = Settings()
    settings = Settings(
        listen=reader.read("listen", _listen, default.listen),
        mongodb_uri=reader.read("mongodb_uri", _mongodb_uri, default.mongodb_uri),
        database=reader.read("database", _database, default.database),
        data_dir=reader.read("data_dir", _path, default.data_dir),
        default_region=reader.read("default_region", _region, default.default_region),
        value_validation_lenient=reader.read("value_validation", _one_of("strict", "lenient"), "strict") == "lenient",
        log_json=reader.read("log_format", _one_of("text", "json"), "text") == "json",
        log_level=reader.read("log_level", _one_of("debug", "info", "warning", "error"), "info").upper(),
        driver=reader.read("driver", _one_of("motor", "pymongo"), default.driver),
        workers=reader.read("workers", _workers, usable_cores()),
        tls_cert=reader.read("tls_cert", _file, default.tls_cert),
        tls_key=reader.read("tls_key", _file, default.tls_key),
        tls_client_ca=reader.read("tls_client_ca", _file, default.tls_client_ca),
        reflection=_REFLECTION[reader.read("reflection", _one_of(*_REFLECTION), "auto")],
        admin_listen=reader.read("admin_listen", _listen, default.admin_listen),
        batching=reader.read("batching", _one_of("on", "off"), "on") == "on",
        tracing=reader.read("tracing", _one_of("on", "off"), "off") == "on",
        max_in_flight=reader.read("max_in_flight", _count, default.max_in_flight),
        max_in_flight_per_key=reader.read("max_in_flight_per_key", _count, default.max_in_flight_per_key),
        max_message_bytes=reader.read("max_message_bytes", _message_bytes, default.max_message_bytes),
        max_deadline=reader.read("max_deadline", _positive_seconds, default.max_deadline),
        drain_wait=reader.read("drain_wait", _seconds, default.drain_wait),
        drain_grace=reader.read("drain_grace", _seconds, default.drain_grace),
        max_connection_age=reader.read("max_connection_age", _seconds, default.max_connection_age),
        without_tls=reader.read("dangerously_serve_without_tls", _yes, default.without_tls),
        without_keys=reader.read("dangerously_serve_without_keys", _yes, default.without_keys),
    )
    if (settings.tls_cert is None) != (settings.tls_key is None):
        reader.problems.append("--tls-cert and --tls-key go together")
    if settings.tls_client_ca is not None and not settings.tls:
        reader.problems.append("--tls-client-ca needs --tls-cert and --tls-key")
    if serving and not settings.listen.loopback and not settings.tls and not settings.without_tls:
        reader.problems.append(
            f"--listen {settings.listen} is open to a network, and without --tls-cert and --tls-key anyone on the way "
            f"reads the contact data; if something else encrypts, say --dangerously-serve-without-tls"
        )
    if reader.problems:
        raise ConfigurationError("; ".join(reader.problems))
    return settings


def refuse_network_without_keys(settings: Settings) -> None:
    """Raise ConfigurationError when a network could reach a service that, without any API key, lets everyone in."""
    if not settings.listen.loopback and not settings.without_keys:
        raise ConfigurationError(
            f"--listen {settings.listen} is open to a network, and there is no API key, so that anyone who reaches it "
            f"could read and delete all contact data; make a key with `contactsvc keys create`, or, if something else "
            f"keeps strangers out, say --dangerously-serve-without-keys"
        )


class _Reader:
    def __init__(self, flags: Mapping[str, str | None], environ: Mapping[str, str]) -> None:
        self._flags = flags
        self._environ = environ
        self.problems: list[str] = []

    def read(self, name: str, parse: Callable[[str], _T], default: _T) -> _T:
        """Return a setting; note what is wrong with it and return the default."""
        variable = ENVIRONMENT_PREFIX + name.upper()
        flag = self._flags.get(name)
        source, raw = (
            (f"--{name.replace('_', '-')}", flag) if flag is not None else (variable, self._environ.get(variable))
        )
        if not raw and flag is None:
            return default
        try:
            return parse(raw or "")
        except ValueError as error:
            self.problems.append(f"{source} {error}")
            return default


def _listen(raw: str) -> ListenAddress:
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\s\[\]]+)):(?P<port>[0-9]{1,5})", raw)
    if not match or int(match["port"]) > 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051")
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


def _mongodb_uri(raw: str) -> str:
    # The value is not repeated: it may hold a password.
    if not raw.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must start with mongodb:// or mongodb+srv://")
    return raw


def _database(raw: str) -> str:
    # MongoDB allows 63 bytes, of which `_live` takes five.
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,58}", raw):
        raise ValueError("must have 1 to 58 characters of A-Z a-z 0-9 _ -")
    return raw


def _path(raw: str) -> Path:
    if not raw:
        raise ValueError("must name a directory")
    return Path(raw)


def _file(raw: str) -> Path:
    if not raw:
        raise ValueError("must name a file")
    return Path(raw)


def _region(raw: str) -> str:
    # Here rather than above: `contactsvc --help` need not load a world of phone numbers.
    from phonenumbers import SUPPORTED_REGIONS

    if raw.upper() not in SUPPORTED_REGIONS:
        raise ValueError("must be a two-letter region, such as MX")
    return raw.upper()


def _count(raw: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", raw):
        raise ValueError("must be a whole number of at least 1")
    return int(raw)


def _workers(raw: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", raw):
        raise ValueError("must be a whole number from 1 to 999")
    if int(raw) > 1 and sys.platform != "linux":
        raise ValueError("must be 1 on this system: only Linux spreads the connections of a port over processes")
    return int(raw)


def _message_bytes(raw: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", raw) or int(raw) < _SMALLEST_MESSAGE_LIMIT:
        raise ValueError(f"must be a whole number of at least {_SMALLEST_MESSAGE_LIMIT}")
    return int(raw)


def _seconds(raw: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", raw):
        raise ValueError("must be a number of seconds, such as 2.5")
    return float(raw)


def _positive_seconds(raw: str) -> float:
    seconds = _seconds(raw)
    if seconds == 0:
        raise ValueError("must be more than 0 seconds")
    return seconds


def _yes(raw: str) -> bool:
    if raw.lower() not in {"true", "1", "yes", "false", "0", "no"}:
        raise ValueError("must be true or false")
    return raw.lower() in {"true", "1", "yes"}


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return raw.lower()

    return parse
