"""The file formats of export and import, each a module with a sink and a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import IO, Final

from contactsvc.transfer.csv_rows import CsvSink, CsvSource
from contactsvc.transfer.exporter import ExportSink
from contactsvc.transfer.json_lines import JsonLinesSink, JsonLinesSource
from contactsvc.transfer.sources import Source


class FileFormat(StrEnum):
    """A file format; its value is what `--format` takes."""

    JSON_LINES = "jsonl"
    CSV = "csv"

    @classmethod
    def chosen(cls, name: str | None, file_name: str) -> FileFormat:
        """Return the named format; without one the format of the file's extension, JSON Lines for an unknown one."""
        if name is not None:
            return cls(name)
        return next((format_ for format_ in cls if file_name.lower().endswith(f".{format_}")), cls.JSON_LINES)


SINKS: Final[Mapping[FileFormat, Callable[[IO[bytes]], ExportSink]]] = {
    FileFormat.JSON_LINES: JsonLinesSink,
    FileFormat.CSV: CsvSink,
}
SOURCES: Final[Mapping[FileFormat, Callable[[IO[bytes]], Source]]] = {
    FileFormat.JSON_LINES: JsonLinesSource,
    FileFormat.CSV: CsvSource,
}
