"""Settings: one table, read once from flags and environment variables into a frozen object.

This package parses settings; only the command line reads the environment.
"""

from contactsvc.config.loading import flag_of, load, refuse_network_without_keys, unknown_variables, variable_of
from contactsvc.config.parsing import ListenAddress, parse_bool, parse_rate
from contactsvc.config.settings import ROWS, Group, Row, Settings

__all__ = [
    "ROWS",
    "Group",
    "ListenAddress",
    "Row",
    "Settings",
    "flag_of",
    "load",
    "parse_bool",
    "parse_rate",
    "refuse_network_without_keys",
    "unknown_variables",
    "variable_of",
]
