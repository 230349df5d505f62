from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.import_commands import EXPORTS, NOTHING, ImportCommands

US = ("--default-region", "US")

PRESETS = [
    pytest.param(
        "google",
        "google",
        [
            [
                ("email", "a.perez@example.com", "Work", False),
                ("email", "ana.perez@example.com", "Work", True),
                ("email", "ana@example.com", "Home", False),
                ("fax", "+52 55 1234 5679", "Work Fax", True),
                ("phone", "+52 55 1234 5670", "Grandma's", False),
                ("phone", "+52 55 1234 5678", "Mobile", True),
            ],
            [("email", "bo@example.com", "", True), ("phone", "(650) 253-0000", "Mobile", True)],
        ],
        id="google",
    ),
    pytest.param(
        "google",
        "google_older",
        [
            [
                ("email", "ana.perez@example.com", "Work", False),
                ("email", "ana@example.com", "Home", True),
                ("fax", "+52 55 1234 5679", "Home Fax", True),
                ("other", "ana@jabber.example.com", "Jabber", False),
                ("phone", "+52 55 1234 5670", "Work", True),
            ],
            [
                ("email", "bo@example.com", "", True),
                ("phone", "+1 650-253-0000", "Mobile", True),
                ("phone", "+1 650-253-0001", "Mobile", False),
            ],
        ],
        id="google, older",
    ),
    pytest.param(
        "outlook",
        "outlook",
        [
            [
                ("email", "ana.perez@example.com", "", False),
                ("email", "ana@example.com", "", True),
                ("fax", "+52 55 1234 5602", "Business", True),
                ("other", "12345 acme", "Telex", False),
                ("phone", "+52 55 1234 5601", "Assistant", False),
                ("phone", "+52 55 1234 5603", "Business", False),
                ("phone", "+52 55 1234 5604", "Company main", False),
                ("phone", "+52 55 1234 5605", "Home", False),
                ("phone", "+52 55 1234 5606", "Pager", False),
                # The number of Primary Phone as well.
                ("phone", "+52 55 1234 5678", "Mobile", True),
            ],
            [("email", "bo@example.com", "", True), ("phone", "+1 650-253-0000", "Home", True)],
            [("phone", "+1 650-253-0009", "Assistant", False)],
        ],
        id="outlook",
    ),
    pytest.param(
        "hubspot",
        "hubspot",
        [
            [
                ("email", "a.perez@example.com", "", False),
                ("email", "ana.perez@example.com", "", False),
                ("email", "ana@example.com", "", True),
                ("fax", "+52 55 1234 5602", "", True),
                ("phone", "+52 55 1234 5603", "", True),
                # The number of WhatsApp as well, in its older spelling.
                ("phone", "+52 55 1234 5678", "Mobile", False),
            ],
            [
                ("email", "bo@example.com", "", True),
                ("phone", "+1 650-253-0000", "Mobile", True),
                ("phone", "+1 650-253-0001", "WhatsApp", False),
            ],
        ],
        id="hubspot",
    ),
]


@pytest.mark.parametrize(("preset", "name", "clients"), PRESETS)
def test_each_row_becomes_a_client_once(
    commands: ImportCommands, preset: str, name: str, clients: list[list[tuple[str, str, str, bool]]]
) -> None:
    path = EXPORTS / f"{name}.csv"
    count = sum(map(len, clients))

    dry_run = commands.import_file(path, "--preset", preset, *US, "--dry-run")
    first = commands.import_file(path, "--preset", preset, *US)
    once = commands.records()
    second = commands.import_file(path, "--preset", preset, *US)

    assert (dry_run.code, dry_run.counts) == (0, {**NOTHING, "created": count, "dry_run": True})
    assert (first.code, first.counts, first.messages) == (0, {**NOTHING, "created": count}, dry_run.messages)
    assert sorted(commands.by_client().values()) == sorted(clients)
    assert (second.code, second.counts) == (0, {**NOTHING, "unchanged": count})
    assert commands.records() == once
    assert "columns ignored: " in first.messages
    # Neither messages nor records have the name of a person.
    assert not [word for word in ("Pérez", "Li", "Roy", "Ana ") if word in f"{first.messages}{once}"]


def test_hubspot_clients_have_the_record_id(commands: ImportCommands) -> None:
    ended = commands.import_file(EXPORTS / "hubspot.csv", "--preset", "hubspot", *US)

    assert sorted(commands.by_client()) == ["101", "102"]
    assert ended.messages == (
        "note: columns ignored: First Name, Last Name, Lead Status, Create Date\n"
        "note: rows without a contact value, left out: 1\n"
    )


def test_other_clients_have_a_digest_and_the_report_says_so(commands: ImportCommands) -> None:
    ended = commands.import_file(EXPORTS / "google.csv", "--preset", "google", *US)

    assert all(client_id.startswith("google_") for client_id in commands.by_client())
    assert ended.messages.splitlines() == [
        "note: the client id of each row is a digest of its cells: the same row is the same client, and a row with any "
        "other cell becomes a new one; if a column identifies the client, name it with --client-id-column",
        "note: columns ignored: First Name, Last Name, Organization Name, Notes, Labels, Website 1 - Label, "
        "Website 1 - Value",
        "note: rows without a contact value, left out: 1",
        "note: rows that repeat another row, left out: 1",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"bo@example.com"', '"bo.li@example.com"'),
        ('"+1 650-253-0001"', '"+1 650-253-0002"'),
        (";a.perez@example.com", ";anna@example.com"),
    ],
)
def test_a_changed_cell_is_one_update(commands: ImportCommands, tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "hubspot.csv"
    content = (EXPORTS / "hubspot.csv").read_text()
    commands.import_file(EXPORTS / "hubspot.csv", "--preset", "hubspot", *US)
    ids = {record["id"] for record in commands.records()}
    path.write_text(content.replace(before, after))

    refused = commands.import_file(path, "--preset", "hubspot", *US, "--on-error", "skip")
    ended = commands.import_file(path, "--preset", "hubspot", *US, "--on-conflict", "update")

    assert (refused.code, refused.counts) == (1, {**NOTHING, "unchanged": 8, "failed": 1})
    assert (ended.code, ended.counts) == (0, {**NOTHING, "unchanged": 8, "updated": 1})
    records = commands.records()
    assert {record["id"] for record in records} == ids
    assert after.strip('";') in [record["value"] for record in records]


def test_a_column_of_the_file_identifies_clients(commands: ImportCommands, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    header = "First Name,Customer No,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value\n"
    path.write_text(f"{header}Ana,c-1,Home,ana@example.com,* Mobile,+52 55 1234 5678\n")
    flags = ("--preset", "google", "--client-id-column", "customer  NO")
    commands.import_file(path, *flags)
    path.write_text(f"{header}Anna,c-1,Work,anna@example.com,Work Fax,+52 55 1234 5678\n")

    ended = commands.import_file(path, *flags, "--on-conflict", "update")

    assert ended.counts == {**NOTHING, "updated": 2}
    assert ended.messages == "note: columns ignored: First Name\n"
    assert commands.by_client() == {
        "c-1": [("email", "anna@example.com", "Work", True), ("fax", "+52 55 1234 5678", "Work Fax", True)]
    }


def test_faulty_cells_fail_under_their_line_and_column(commands: ImportCommands, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text(
        "Record ID,Notes,Email,Additional email addresses,Phone Number\n"
        '101,"two\nlines",nobody,ana@example.com;nothing,+52 55 1234 5678\n'
        ",,bo@example.com,,\n"
        "101,,cleo@example.com,,\n"
    )
    flags = ("--preset", "hubspot")

    stopped = commands.import_file(path, *flags)
    ended = commands.import_file(path, *flags, "--on-error", "skip")

    assert (stopped.code, stopped.counts) == (1, {**NOTHING, "failed": 4})
    assert (ended.code, ended.counts) == (1, {**NOTHING, "created": 2, "failed": 4})
    lines = ended.messages.splitlines()[1:]
    assert lines[0].startswith("line 2: column 'Email' must be an email address")
    assert lines[1].startswith("line 2: column 'Additional email addresses', value 2, must be an email address")
    assert lines[2] == "line 4: column 'Record ID' must have 1 to 128 characters"
    assert lines[3] == "line 5: column 'Record ID' repeats the client id of line 2; a row is a client"
    # The faulty one is to be the primary.
    assert commands.by_client() == {
        "101": [("email", "ana@example.com", "", False), ("phone", "+52 55 1234 5678", "", True)]
    }


def test_a_corrected_cell_becomes_the_primary(commands: ImportCommands, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    header, flags = "Record ID,Email,Additional email addresses\n", ("--preset", "hubspot")
    path.write_text(f"{header}101,nobody,ana@example.com\n")
    commands.import_file(path, *flags, "--on-error", "skip")
    path.write_text(f"{header}101,bo@example.com,ana@example.com\n")

    ended = commands.import_file(path, *flags)

    assert (ended.code, ended.counts) == (0, {**NOTHING, "created": 1, "unchanged": 1})
    assert commands.by_client() == {
        "101": [("email", "ana@example.com", "", False), ("email", "bo@example.com", "", True)]
    }


@pytest.mark.parametrize(
    ("name", "preset"),
    [("google", "google"), ("google_older", "google"), ("outlook", "outlook"), ("hubspot", "hubspot")],
)
def test_an_export_without_preset_is_refused_with_the_preset(commands: ImportCommands, name: str, preset: str) -> None:
    ended = commands.import_file(EXPORTS / f"{name}.csv")

    assert (ended.code, ended.counts) == (1, NOTHING)
    assert ended.messages.endswith(f"; import it with --preset {preset}\n")


def test_an_export_with_the_preset_of_another_is_refused(commands: ImportCommands) -> None:
    ended = commands.import_file(EXPORTS / "google.csv", "--preset", "outlook")

    assert (ended.code, ended.counts) == (1, NOTHING)
    assert ended.messages.endswith(
        "the first row names no column with contact values of an export of Outlook, such as E-mail Address, "
        "Mobile Phone, Business Phone. It looks like an export of Google Contacts: --preset google\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ana@example.com,+52 55 1234 5678\n", "the first row names no column with contact values"),
        (b"", "the file is empty"),
        (b"Email,Phone Number\nana@example.com\n", "another number of cells than the first row, which has 2: line 2"),
        (
            b"Email,Phone Number\nana@example.com,,x\n",
            "another number of cells than the first row, which has 2: line 2",
        ),
        (b"Email,EMAIL\nana@example.com,\n", "two columns have the same name: Email"),
        (b"Email,Record ID,record id\nana@example.com,,\n", "two columns have the name of the client ids: Record ID"),
        (b'Email\nana@example.com\n"bo@example.com\n', "line 3 is not valid CSV"),
        (b"Email\nana@example.com\n\xff@example.com\n", "not UTF-8: line 3"),
    ],
)
def test_a_broken_file_writes_nothing(commands: ImportCommands, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "contacts.csv"
    path.write_bytes(content)

    ended = commands.import_file(path, "--preset", "hubspot", "--on-error", "skip")

    assert (ended.code, ended.counts) == (1, NOTHING)
    assert message in ended.messages
    assert "ana@example.com" not in ended.messages
    # Nothing was created, not even the database.
    assert commands.run("export", "--environment", "test")[0] == 1


def test_a_column_that_is_not_there_cannot_identify_clients(commands: ImportCommands) -> None:
    ended = commands.import_file(EXPORTS / "google.csv", "--preset", "google", "--client-id-column", "Customer No")

    assert ended.code == 1
    assert ended.messages.endswith("the first row does not name the column 'Customer No' (--client-id-column)\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--preset", "google", "--format", "jsonl"), "--preset reads CSV"),
        (("--client-id-column", "x"), "--client-id-column needs --preset"),
        (("--client-id", "x"), "--client-id is for vCard files"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    commands: ImportCommands, flags: tuple[str, ...], message: str
) -> None:
    ended = commands.import_file(EXPORTS / "google.csv", *flags)

    assert ended.code == 2
    assert message in ended.messages


@pytest.mark.parametrize(
    ("encoding", "separator", "title"),
    [("utf-16", ";", "UTF-16 (little-endian), separated by semicolons"), ("utf-8", "\t", "UTF-8, separated by tabs")],
)
def test_a_file_that_a_spreadsheet_saved_again_is_the_same_list(
    commands: ImportCommands, tmp_path: Path, encoding: str, separator: str, title: str
) -> None:
    path, flags = tmp_path / "contacts.csv", ("--preset", "outlook")
    commands.import_file(EXPORTS / "outlook.csv", *flags)
    path.write_bytes((EXPORTS / "outlook.csv").read_text().replace('","', f'"{separator}"').encode(encoding))

    refused = commands.import_file(path)
    ended = commands.import_file(path, *flags)

    assert "this looks like an export of Outlook; import it with --preset outlook" in refused.messages
    assert (ended.code, ended.counts) == (0, {**NOTHING, "unchanged": 13})
    assert f"the list is read as {title}\n" in ended.messages


def test_the_same_file_makes_nothing_new_under_other_rules(commands: ImportCommands, tmp_path: Path) -> None:
    path, flags = tmp_path / "contacts.csv", ("--preset", "hubspot")
    path.write_text("Record ID,Email,Phone Number,Mobile Phone Number\n101,ask Bo,55 1234 5678,(650) 253-0000\n")
    first = commands.import_file(path, *flags, "--value-validation", "lenient")
    ids = [record["id"] for record in commands.records()]

    again = [
        commands.import_file(path, *flags, *more)
        for more in (("--default-region", "US", "--on-error", "skip"), ("--default-region", "MX", "--on-error", "skip"))
    ]

    assert first.counts == {**NOTHING, "created": 3}
    assert [ended.counts["created"] for ended in again] == [0, 0]
    assert [record["id"] for record in commands.records()] == ids
    assert commands.by_client()["101"][0] == ("email", "ask Bo", "", True)


def test_a_record_of_the_same_value_is_taken_over_unless_it_has_an_external_id(
    commands: ImportCommands, tmp_path: Path
) -> None:
    known, path = tmp_path / "known.csv", tmp_path / "contacts.csv"
    known.write_text("client_id,type,value,external_id\n101,email,Ana@example.com,\n101,phone,+52 55 1234 5678,crm-7\n")
    path.write_text("Record ID,Email,Phone Number\n101,ana@example.com,+525512345678\n")
    commands.import_file(known)

    ended = commands.import_file(path, "--preset", "hubspot", "--on-conflict", "update")

    assert (ended.code, ended.counts) == (0, {**NOTHING, "created": 1, "updated": 1})
    assert sorted((record["type"], record["external_id"]) for record in commands.records()) == [
        ("email", "hubspot:101:Email"),
        ("phone", "crm-7"),
        ("phone", "hubspot:101:Phone Number"),
    ]
