"""What newcomers ask is answered in the README, or on a page that the README links to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documentation import ROOT, anchors, links, relative

README = ROOT / "README.md"
# Question; the page with the answer; the anchor of its heading, if it is not the whole page; words of the answer.
QUESTIONS = [
    ("How do I start the service?", "README.md", "start-in-two-minutes", "make serve"),
    ("Where is the Python client?", "README.md", "start-in-two-minutes", ".venv/bin/python"),
    ("Where does grpcurl come from?", "README.md", "start-in-two-minutes", "puts one into"),
    ("How do I reset everything?", "README.md", "start-in-two-minutes", "rm -r contactsvc-data"),
    ("Which licence does it have?", "README.md", "licence", "MIT"),
    ("What happens to the old primary?", "README.md", "the-primary-rule", "demoted in the same atomic step"),
    ("How do I create an API key?", "docs/operations.md", "from-an-empty-directory-to-a-tls-server", "keys create"),
    ("Which permission does a call need?", "docs/operations.md", "api-keys", "`read,write,delete`"),
    ("How do I rotate a key?", "docs/operations.md", "from-an-empty-directory-to-a-tls-server", "keys rotate"),
    ("How do I enable TLS?", "docs/operations.md", "from-an-empty-directory-to-a-tls-server", "--tls-cert"),
    ("Why are calls refused as OVERLOADED?", "docs/operations.md", "limits", "`--max-in-flight`"),
    ("How much memory does it need?", "docs/operations.md", "limits", "512 MiB"),
    ("How do I upgrade?", "docs/operations.md", "upgrades", "doctor --fix"),
    ("How do I restore a backup?", "docs/backup.md", "restore-drill", "contactsvc import live.jsonl"),
    ("How do I import a spreadsheet?", "docs/backup.md", "csv", "`client_id`, `type`, `value`"),
    ("How do I import Google Contacts?", "docs/imports.md", "google-contacts", "`E-mail N - Value`"),
    ("What does OVERLOADED mean?", "docs/errors-and-retries.md", "reasons", "OVERLOADED"),
    ("Is it safe to repeat a write?", "docs/errors-and-retries.md", "request-ids", "safe to repeat"),
    ("Where is the metric of refused calls?", "docs/observability.md", "metrics", "contactsvc_rejected_calls_total"),
    ("How do I trace calls?", "docs/observability.md", "traces", "--tracing on"),
    ("Which settings are there?", "docs/configuration.md", "", "CONTACTSVC_DEFAULT_REGION"),
    ("Why is my number refused?", "docs/values.md", "phone-and-fax", "--default-region"),
    ("What is left of an erased client?", "docs/databases.md", "erased-values", "oplog"),
    ("Does it survive a power cut?", "docs/guarantees.md", "writes", "power cut"),
    ("What does a call cost?", "docs/benchmarks.md", "", "CPU"),
    ("What are the limits of a field?", "docs/api.md", "createcontactmethodrequest", "1-512 characters"),
    ("How do I call it from TypeScript?", "docs/typescript.md", "install", "npm"),
    ("How do I call it from a browser?", "docs/browsers.md", "grpc-web", "createGrpcWebTransport"),
    ("How do I call it from Go?", "docs/other-languages.md", "examples", "examples/go"),
    ("How do I verify an address?", "docs/verification.md", "a-form-in-30-lines", "start_verification"),
    ("How do I contribute?", "CONTRIBUTING.md", "add-a-field", "make protos"),
]


@pytest.mark.parametrize(
    ("page", "anchor", "words"), [row[1:] for row in QUESTIONS], ids=[row[0].removesuffix("?") for row in QUESTIONS]
)
def test_a_question_is_answered_within_one_click(page: str, anchor: str, words: str) -> None:
    path: Path = ROOT / page

    assert path == README or page in {link.partition("#")[0] for link in links(README)}, relative(path)
    assert not anchor or anchor in anchors(path)
    assert words in path.read_text()
