"""The table of cases that the clients share, and the matching of outcomes with it; its own text describes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from contactsvc_client import ContactsError, contains, one_of

TABLE = Path(__file__).parents[1] / "cases" / "client_calls.json"


def all_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(TABLE.read_text())["cases"]
    return cases


def snake_case(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def camel_case(path: str) -> str:
    """Return a name or path in camel case; what is in brackets, such as a metadata key, stays."""
    return re.sub(r"\[[^]]*\]|_([a-z0-9])", lambda found: found[1].upper() if found[1] else found[0], path)


def arguments(written: Any, case_id: str, outcomes: Mapping[str, Any]) -> Any:
    """Return arguments of the table as Python's client takes them."""
    if isinstance(written, str):
        return written.replace("{c}", case_id)
    if isinstance(written, list):
        return [arguments(entry, case_id, outcomes) for entry in written]
    if not isinstance(written, dict):
        return written
    match written:
        case {"$ref": path}:
            return resolved(path, outcomes)
        case {"$repeat": [text, count]}:
            return text * count
        case {"$times": [count, entry]}:
            return [arguments(entry, case_id, outcomes)] * count
        case {"$oneOf": values}:
            return one_of(*arguments(values, case_id, outcomes))
        case {"$contains": text}:
            return contains(text)
        case {"$date": time}:
            return datetime.fromisoformat(arguments(time, case_id, outcomes))
        case {"$enum": name}:
            return snake_case(name)
        case {"$wrongCode": path}:
            return f"{(int(resolved(path, outcomes)) + 1) % 1_000_000:06}"
    return {snake_case(name): named(name, value, case_id, outcomes) for name, value in written.items()}


def named(name: str, value: Any, case_id: str, outcomes: Mapping[str, Any]) -> Any:
    """Return the value of an argument or field with a name."""
    match name, value:
        case "metadata", dict():
            # The keys are data, not names.
            return {key: arguments(pair, case_id, outcomes) for key, pair in value.items()}
        case "sort", str():
            return snake_case(value)
        case "sort", list():
            return [snake_case(key) for key in value]
    return arguments(value, case_id, outcomes)


def plain(outcome: Any) -> Any:
    """Return an outcome of the client as the table writes it."""
    if isinstance(outcome, ContactsError):
        return error_outline(outcome)
    if is_dataclass(outcome) and not isinstance(outcome, type):
        named = {camel_case(field.name): plain(getattr(outcome, field.name)) for field in fields(outcome)}
        for pairs, name in (("succeeded", "data"), ("failed", "error")):
            if pairs in named:
                named[pairs] = [{"index": index, name: item} for index, item in named[pairs]]
        return named
    if isinstance(outcome, Mapping):
        return dict(outcome)
    if isinstance(outcome, (list, tuple)):
        return [plain(item) for item in outcome]
    if isinstance(outcome, datetime):
        return outcome.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return outcome


def error_outline(error: ContactsError) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "code": error.code,
        "reason": error.reason,
        "paths": sorted(camel_case(issue.field) for issue in getattr(error, "issues", ())),
        "metadata": error.metadata,
    }


def difference(expected: Any, actual: Any, case_id: str, outcomes: Mapping[str, Any], at: str = "") -> str | None:
    """Return where an outcome is not what is expected, or None."""
    match expected:
        case {"$ref": path}:
            expected = resolved(path, outcomes)
        case {"$enum": name}:
            expected = snake_case(name)
        case {"$length": length}:
            expected, actual = length, len(actual)
        case str():
            expected = expected.replace("{c}", case_id)
        case dict():
            if not isinstance(actual, dict):
                return f"{at}: {actual!r} is not {expected!r}"
            parts = (
                (f"{at}.{name}", sorted(value) if name == "paths" else value, actual.get(name))
                for name, value in expected.items()
            )
            found = (difference(value, part, case_id, outcomes, where) for where, value, part in parts)
            return next((text for text in found if text is not None), None)
        case list():
            if len(actual) != len(expected):
                return f"{at}: {actual!r} has not the length of {expected!r}"
            found = (
                difference(value, part, case_id, outcomes, f"{at}[{index}]")
                for index, (value, part) in enumerate(zip(expected, actual, strict=True))
            )
            return next((text for text in found if text is not None), None)
    return None if expected == actual else f"{at}: {actual!r} is not {expected!r}"


def resolved(path: str, outcomes: Mapping[str, Any]) -> Any:
    found: Any = outcomes
    for name in path.split("."):
        found = found[name]
    return found
