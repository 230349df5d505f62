"""Files of address books with random damage are refused or read, and nothing else happens."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contactsvc.errors import InvalidFields
from contactsvc.transfer.formats import FileFormat, Preset, SourceOptions, open_source
from contactsvc.transfer.sources import UnreadableFile
from tests.integration.import_commands import EXPORTS
from tests.unit.transfer_records import NOON, RULES

_FILES = {path.name: path.read_bytes() for path in sorted(EXPORTS.iterdir())}
_PRESETS = {
    "google.csv": Preset.GOOGLE,
    "google_older.csv": Preset.GOOGLE,
    "outlook.csv": Preset.OUTLOOK,
    "hubspot.csv": Preset.HUBSPOT,
}
_PIECES = st.binary(max_size=4) | st.sampled_from(
    [
        b'"',
        b",",
        b";",
        b":",
        b"=",
        b"\r",
        b"\n",
        b"\r\n ",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b":::",
        b"* ",
        b"BEGIN:VCARD\r\n",
    ]
)


@st.composite
def _damaged(draw: st.DrawFn, content: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.integers(0, 20))
        content = content[:start] + draw(_PIECES) + content[end:]
    return content


def test_no_file_is_left_out() -> None:
    assert {name for name in _FILES if name.endswith(".csv")} == _PRESETS.keys()
    assert len(_FILES) > len(_PRESETS)


@pytest.mark.parametrize("name", _FILES)
@given(data=st.data())
def test_damage_ends_in_rows_or_a_refusal(name: str, data: st.DataObject) -> None:
    content = data.draw(_damaged(_FILES[name]))
    options = SourceOptions(preset=_PRESETS.get(name), client_id="c1" if name.endswith(".vcf") else None)

    try:
        rows = list(open_source(io.BytesIO(content), FileFormat.chosen(None, name), options).rows(RULES, NOON))
        said = ""
    except UnreadableFile as error:
        rows, said = [], str(error)

    said += "".join(f"{one}" for row in rows if isinstance(row.row, InvalidFields) for one in row.row.violations)
    assert "example.com" not in said
    assert all(row.line >= 1 for row in rows)
