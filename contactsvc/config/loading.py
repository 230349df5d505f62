"""Reading settings from flags and environment variables, and the rules that settings keep together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contactsvc.config.settings import ROWS, Settings
from contactsvc.config.unknown_variables import ENVIRONMENT_PREFIX, describe_unknown
from contactsvc.errors import ConfigurationError


def flag_of(name: str) -> str:
    """Return the flag of a setting, such as --log-level for log_level."""
    return f"--{name.replace('_', '-')}"


def variable_of(name: str) -> str:
    """Return the environment variable of a setting, such as CONTACTSVC_LOG_LEVEL for log_level."""
    return f"{ENVIRONMENT_PREFIX}{name.upper()}"


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each unknown variable with the prefix of the settings; values are not quoted."""
    return describe_unknown(environ, [variable_of(name) for name in ROWS])


def load(flags: Mapping[str, str | None], environ: Mapping[str, str], *, serving: bool = False) -> Settings:
    """Return the settings; a flag takes precedence over its variable, and an empty variable counts as absent.

    Args:
        flags: values of flags by the names of the settings; None for a flag that is not given.
        environ: the environment variables.
        serving: whether to refuse settings that are unsafe to serve with.

    Raises:
        ConfigurationError: one or more settings are bad; the message names all of them.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, row in ROWS.items():
        source, raw = flag_of(name), flags.get(name)
        if raw is None:
            source, raw = variable_of(name), environ.get(variable_of(name)) or None
        if raw is not None:
            try:
                values[name] = row.parse(raw)
            except ValueError as error:
                problems.append(f"{source} {error}")
    settings = Settings(**values)
    if (settings.tls_cert is None) != (settings.tls_key is None):
        problems.append("--tls-cert and --tls-key must be set together")
    if settings.tls_client_ca is not None and not settings.tls:
        problems.append("--tls-client-ca requires --tls-cert and --tls-key")
    if serving and not (settings.listen.loopback or settings.tls or settings.dangerously_serve_without_tls):
        problems.append(
            f"--listen {settings.listen} is reachable from other machines, and without TLS contact data would travel "
            f"in plain text; set --tls-cert and --tls-key, or, if something else encrypts the traffic, "
            f"--dangerously-serve-without-tls"
        )
    if problems:
        # Possibly the cause. Other commands have printed them.
        hints = unknown_variables(environ) if serving else []
        raise ConfigurationError("; ".join([*problems, *hints]))
    return settings


def refuse_network_without_keys(settings: Settings) -> None:
    """Raise ConfigurationError if other machines could reach a service that, without any API key, admits everyone."""
    if not settings.listen.loopback and not settings.dangerously_serve_without_keys:
        raise ConfigurationError(
            f"--listen {settings.listen} is reachable from other machines, and without an API key anyone could read "
            f"and delete all contact data; create a key with `contactsvc keys create`, or, if something else controls "
            f"access, set --dangerously-serve-without-keys"
        )
