from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.import_commands import EXPORTS, NOTHING, ImportCommands

US = ("--default-region", "US")


def cards(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in lines)


def card(*lines: str, version: str = "3.0") -> str:
    return cards("BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD")


def test_cards_of_apple_become_clients_once(commands: ImportCommands) -> None:
    first = commands.import_file(EXPORTS / "apple_3.vcf", *US)
    once = commands.records()
    second = commands.import_file(EXPORTS / "apple_3.vcf", *US)

    assert (first.code, first.counts) == (0, {**NOTHING, "created": 7})
    assert first.messages == "note: properties ignored: FN, N, NOTE, PHOTO\n"
    assert (second.code, second.counts) == (0, {**NOTHING, "unchanged": 7})
    assert commands.records() == once
    assert commands.by_client() == {
        "4F3C2A1B-ana:ABPerson": [
            ("email", "ana.perez@example.com", "Work", False),
            ("email", "ana@example.com", "Home", True),
            ("fax", "+52 55 1234 5602", "Work", False),
            ("other", "xmpp:ana@jabber.example.com", "Chat, private", False),
            ("phone", "+52 55 1234 5605", "Assistant", False),
            ("phone", "+52 55 1234 5678", "Mobile", True),
        ],
        "bo-li": [("phone", "(650) 253-0000", "Mobile", False)],
    }


def test_cards_of_version_4_need_a_uid_or_a_client(commands: ImportCommands) -> None:
    refused = commands.import_file(EXPORTS / "cards_4.vcf", "--on-error", "skip")
    ended = commands.import_file(EXPORTS / "cards_4.vcf", "--client-id", "bo")

    assert (refused.code, refused.counts) == (1, {**NOTHING, "created": 5, "failed": 1})
    assert refused.messages.splitlines() == [
        "note: properties ignored: FN, KIND",
        "note: cards without a contact method, left out: 1",
        "line 12: card 2 has no UID, which is the client id; name the client with --client-id",
    ]
    assert (ended.code, ended.counts) == (0, {**NOTHING, "created": 1, "unchanged": 5})
    assert "note: cards without UID, imported as the client of --client-id: 1\n" in ended.messages
    assert commands.by_client() == {
        "urn:uuid:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1": [
            ("email", "ana.perez@example.com", "Home", False),
            ("email", "ana@example.com", "Work", True),
            ("email", "mailto:a.perez@example.com", "", False),
            ("fax", "tel:+52-55-1234-5602", "", False),
            ("phone", "tel:+52-55-1234-5678;ext=12", "Home", True),
        ],
        "bo": [("email", "bo@example.com", "", False)],
    }
    normalized = {record["normalized_value"] for record in commands.records()}
    assert {"+525512345678;ext=12", "+525512345602", "a.perez@example.com"} < normalized


def test_equal_values_of_a_card_become_one(commands: ImportCommands, tmp_path: Path) -> None:
    path = tmp_path / "cards.vcf"
    path.write_text(
        card(
            "UID:c1",
            "TEL:+52 55 1234 5678",
            "TEL;TYPE=cell:tel:+52-1-55-1234-5678",
            "TEL;TYPE=pref:+52 55 1234 0000",
            "TEL;TYPE=pref:+52 55 1234 0001",
        )
    )

    ended = commands.import_file(path)

    assert ended.counts == {**NOTHING, "created": 3}
    assert commands.by_client()["c1"] == [
        ("phone", "+52 55 1234 0000", "", True),
        ("phone", "+52 55 1234 0001", "", False),
        ("phone", "+52 55 1234 5678", "Mobile", False),
    ]


def test_faulty_values_fail_under_their_line_and_property(commands: ImportCommands, tmp_path: Path) -> None:
    path = tmp_path / "cards.vcf"
    path.write_text(
        card("UID:c1", "EMAIL:nobody", "item1.TEL:+52 55 1234 5678", f"item1.X-ABLabel:{'x' * 101}")
        + card("UID:" + "c" * 129, "EMAIL:ana@example.com")
        + card("UID:c3", "EMAIL:bo@example.com")
    )

    ended = commands.import_file(path, "--on-error", "skip")

    assert (ended.code, ended.counts) == (1, {**NOTHING, "created": 1, "failed": 3})
    lines = ended.messages.splitlines()
    assert lines[0].startswith("line 4: EMAIL must be an email address")
    assert lines[1:] == [
        "line 5: X-ABLABEL must have 0 to 100 characters",
        "line 11: UID must have 1 to 128 characters",
    ]


GOOD = card("UID:c1", "EMAIL:ana@example.com")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file has no vCard"),
        ("client_id,type,value\r\n", "line 1 is not a vCard property"),
        ("UID:c1\r\n", "line 1 is outside of a card: BEGIN:VCARD expected"),
        ("BEGIN:VCALENDAR\r\n", "line 1 is outside of a card: BEGIN:VCARD expected"),
        (GOOD + GOOD[:-13], "line 6: card 2 has no END:VCARD; the file is truncated"),
        (GOOD + "BEGIN:VCARD\r\n" + GOOD, "line 7: card 2 begins another one before its END:VCARD"),
        (GOOD + "BEGIN:VCARD\r\nEND:VEVENT\r\n", "line 7: END:VCARD expected"),
        (GOOD + card("UID:c2", version="2.1"), "line 6: card 2 is vCard 2.1; export it as vCard 3.0 or 4.0"),
        (GOOD + card("UID:c2", version="private"), "line 6: card 2 is vCard without a known VERSION; export it"),
        (GOOD + card("UID:c2", "TEL;TYPE=home"), "line 9: TEL is not a valid vCard property"),
        (GOOD + card("UID:c2", *["TEL:1"] * 1_001), "a card has more than 1,000 contact methods"),
    ],
)
def test_a_broken_file_writes_nothing(commands: ImportCommands, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "cards.vcf"
    path.write_text(content)

    ended = commands.import_file(path, "--on-error", "skip", "--client-id", "c")

    assert (ended.code, ended.counts) == (1, NOTHING)
    assert message in ended.messages
    assert "private" not in ended.messages
    # Nothing was created, not even the database.
    assert commands.run("export", "--environment", "test")[0] == 1


def test_an_export_is_imported_into_another_environment(commands: ImportCommands, tmp_path: Path) -> None:
    path = tmp_path / "cards.vcf"
    commands.import_file(EXPORTS / "google.csv", "--preset", "google", *US)
    commands.import_file(EXPORTS / "outlook.csv", "--preset", "outlook", *US)
    commands.import_file(EXPORTS / "apple_3.vcf", *US)
    path.write_bytes(commands.export("vcard"))

    ended = commands.import_file(path, *US, environment="live")

    assert (ended.code, ended.messages) == (0, "note: properties ignored: FN, N\n")
    assert commands.by_client(environment="live") == commands.by_client()
