"""The file formats of export and import, each a module with a sink and a source, and the presets for other exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Final

from contactsvc.transfer.csv_rows import CsvSink, CsvSource
from contactsvc.transfer.exporter import ExportSink
from contactsvc.transfer.json_lines import JsonLinesSink, JsonLinesSource
from contactsvc.transfer.preset_columns import Preset
from contactsvc.transfer.presets import PresetSource, preset_of
from contactsvc.transfer.sources import Source, UnreadableFile
from contactsvc.transfer.vcards import VcardSink, VcardSource

__all__ = ["SINKS", "FileFormat", "Preset", "SourceOptions", "open_source"]


class FileFormat(StrEnum):
    """A file format; its value is what `--format` takes."""

    JSON_LINES = "jsonl"
    CSV = "csv"
    VCARD = "vcard"

    @classmethod
    def chosen(cls, name: str | None, file_name: str) -> FileFormat:
        """Return the named format; without one the format of the file's extension, JSON Lines for an unknown one."""
        if name is not None:
            return cls(name)
        return next(
            (format_ for format_, ends in _EXTENSIONS.items() if file_name.lower().endswith(ends)), cls.JSON_LINES
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a file is read that is no export of this service.

    Attributes:
        preset: the address book that a CSV file was exported from; None for a list with the columns of this service.
        client_id_column: the column with the client ids in such an export; None for the default of the preset.
        client_id: the client of vCards without UID.
    """

    preset: Preset | None = None
    client_id_column: str | None = None
    client_id: str | None = None


_EXTENSIONS: Final[Mapping[FileFormat, tuple[str, ...]]] = {
    FileFormat.JSON_LINES: (".jsonl",),
    FileFormat.CSV: (".csv",),
    FileFormat.VCARD: (".vcf", ".vcard"),
}
SINKS: Final[Mapping[FileFormat, Callable[[IO[bytes]], ExportSink]]] = {
    FileFormat.JSON_LINES: JsonLinesSink,
    FileFormat.CSV: CsvSink,
    FileFormat.VCARD: VcardSink,
}


def open_source(file: IO[bytes], file_format: FileFormat, options: SourceOptions) -> Source:
    """Return the source that reads a file; raise UnreadableFile."""
    match file_format:
        case FileFormat.JSON_LINES:
            return JsonLinesSource(file)
        case FileFormat.VCARD:
            return VcardSource(file, client_id=options.client_id)
        case FileFormat.CSV if options.preset is not None:
            return PresetSource(file, options.preset, client_id_column=options.client_id_column)
        case FileFormat.CSV:
            return _open_list(file)


def _open_list(file: IO[bytes]) -> Source:
    """Return the source of a list; an export of another address book is refused with the preset to name."""
    try:
        return CsvSource(file)
    except UnreadableFile:
        if (preset := preset_of(file)) is None:
            raise
        raise UnreadableFile(
            f"this looks like an export of {preset.product}; import it with --preset {preset}"
        ) from None
