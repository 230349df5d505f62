"""Parsers of settings: each returns the value of a text, or raises ValueError with the rule that the text breaks."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_MAX_PORT = 65_535
_MIN_MESSAGE_BYTES = 16_384
# MongoDB allows 63 bytes; `_live`, `_test` and `_keys` take five.
_MAX_DATABASE_LENGTH = 58


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Address to listen on; port 0 picks a free port."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(raw: str) -> ListenAddress:
    """Parse HOST:PORT, with an IPv6 address in brackets."""
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\s\[\]]+)):(?P<port>[0-9]{1,5})", raw)
    if not match or int(match["port"]) > _MAX_PORT:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051")
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


def parse_mongodb_uri(raw: str) -> str:
    """Check the scheme of a connection string; the driver checks the rest."""
    # The message does not repeat the value, which may contain a password.
    if not raw.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must start with mongodb:// or mongodb+srv://")
    return raw


def parse_database(raw: str) -> str:
    """Parse the prefix of the database names."""
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_MAX_DATABASE_LENGTH}}}", raw):
        raise ValueError(f"must have 1 to {_MAX_DATABASE_LENGTH} characters of A-Z a-z 0-9 _ -")
    return raw


def parse_directory(raw: str) -> Path:
    """Parse the path of a directory, which need not exist."""
    if not raw:
        raise ValueError("must name a directory")
    return Path(raw)


def parse_file(raw: str) -> Path:
    """Parse the path of a file, which is opened later."""
    if not raw:
        raise ValueError("must name a file")
    return Path(raw)


def parse_region(raw: str) -> str:
    """Parse a region that phone numbers can be read in, in any case."""
    # Imported on use: `contactsvc --help` does not need the numbering plans of the world.
    from phonenumbers import SUPPORTED_REGIONS

    if raw.upper() not in SUPPORTED_REGIONS:
        raise ValueError("must be a two-letter region code, such as MX")
    return raw.upper()


def parse_count(raw: str) -> int:
    """Parse a positive whole number, in ASCII digits."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", raw):
        raise ValueError("must be a whole number of at least 1")
    return int(raw)


def parse_workers(raw: str) -> int:
    """Parse a number of processes; more than one needs Linux."""
    if not re.fullmatch(r"[1-9][0-9]{0,2}", raw):
        raise ValueError("must be a whole number from 1 to 999")
    if int(raw) > 1 and sys.platform != "linux":
        raise ValueError("must be 1 on this system: only Linux distributes the connections of a port over processes")
    return int(raw)


def parse_message_bytes(raw: str) -> int:
    """Parse a message size that leaves room for every single-record request."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", raw) or int(raw) < _MIN_MESSAGE_BYTES:
        raise ValueError(f"must be a whole number of at least {_MIN_MESSAGE_BYTES}")
    return int(raw)


def parse_seconds(raw: str) -> float:
    """Parse a duration in seconds, with up to three decimals."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", raw):
        raise ValueError("must be a number of seconds, such as 2.5")
    return float(raw)


def parse_positive_seconds(raw: str) -> float:
    """Parse a duration in seconds that is not zero."""
    seconds = parse_seconds(raw)
    if seconds == 0:
        raise ValueError("must be more than 0 seconds")
    return seconds


def parse_rate(raw: str) -> float:
    """Parse a number of calls per second, with up to three decimals and optionally the unit `/s`."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?(/s)?", raw):
        raise ValueError("must be a number of calls per second, such as 50 or 0.5/s")
    return float(raw.removesuffix("/s"))


def parse_bool(raw: str) -> bool:
    """Parse true, yes or 1, and false, no or 0, in any case."""
    match raw.lower():
        case "true" | "yes" | "1":
            return True
        case "false" | "no" | "0":
            return False
    raise ValueError("must be true or false")


def parse_switch(raw: str) -> bool:
    """Parse on or off, in any case."""
    return one_of("on", "off")(raw) == "on"


def parse_log_level(raw: str) -> str:
    """Parse the name of a log level; the value is in upper case, as `logging` wants it."""
    return one_of("debug", "info", "warning", "error")(raw).upper()


def one_of(*choices: str) -> Callable[[str], str]:
    """Return the parser of a choice, in any case; the value is in lower case."""

    def parse(raw: str) -> str:
        if raw.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return raw.lower()

    return parse
