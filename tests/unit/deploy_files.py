"""Files in deploy/, read for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from contactsvc.v1 import contact_methods_pb2 as pb

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"].full_name


def documents(name: str) -> list[Any]:
    return [document for document in yaml.safe_load_all((DEPLOY / name).read_text()) if document is not None]


def document(name: str) -> Any:
    (only,) = documents(name)
    return only
