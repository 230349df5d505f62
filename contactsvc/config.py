"""Settings: read once, from flags and environment variables, and frozen. The only place that reads the environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from contactsvc.errors import ConfigurationError

ENVIRONMENT_PREFIX = "CONTACTSVC_"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

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


def load(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Return the settings: a flag wins over its environment variable, and an empty variable counts as absent.

    Args:
        flags: the flags that were given, by their names with underscores.
        environ: the environment.

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
    )
    if reader.problems:
        raise ConfigurationError("; ".join(reader.problems))
    return settings


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
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\s\[\]]+)):(?P<port>\d{1,5})", raw)
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


def _region(raw: str) -> str:
    # Here rather than above: `contactsvc --help` need not load a world of phone numbers.
    from phonenumbers import SUPPORTED_REGIONS

    if raw.upper() not in SUPPORTED_REGIONS:
        raise ValueError("must be a two-letter region, such as MX")
    return raw.upper()


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return raw.lower()

    return parse
