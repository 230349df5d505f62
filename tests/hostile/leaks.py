"""Forms in which a code or a secret could leak, and searches for them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from contactsvc.v1 import contact_methods_pb2 as pb

# Bytes of a form that are looked for: too many to be found by chance, and few enough to be looked up in one pass.
_WINDOW = 12
_DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "md5": lambda text: hashlib.md5(text, usedforsecurity=False).digest(),
    "sha1": lambda text: hashlib.sha1(text, usedforsecurity=False).digest(),
    "sha256": lambda text: hashlib.sha256(text).digest(),
    "sha512": lambda text: hashlib.sha512(text).digest(),
    "sha3": lambda text: hashlib.sha3_256(text).digest(),
    "blake2s": lambda text: hashlib.blake2s(text).digest(),
    **{
        f"blake2b-{size}": lambda text, size=size: hashlib.blake2b(text, digest_size=size).digest()  # type: ignore[misc]
        for size in (16, 20, 32, 64)
    },
}


def encodings_of(raw: bytes) -> dict[str, bytes]:
    """Return bytes in the forms that texts give them."""
    return {
        "raw": raw,
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "base64": base64.b64encode(raw).rstrip(b"="),
        "base64url": base64.urlsafe_b64encode(raw).rstrip(b"="),
    }


def digests_of(code: str, record_id: str, request_ids: Iterable[str]) -> dict[bytes, str]:
    """Return the beginnings of digests of a code, of the code with its record, and of the requests that carried it.

    The digests are plain ones, which are as good as the code: there are only a million.
    """
    texts = {"code": code.encode()}
    for separator in ("", ":", "|", " ", "\x1f", "\0"):
        texts[f"code{separator}id"] = f"{code}{separator}{record_id}".encode()
        texts[f"id{separator}code"] = f"{record_id}{separator}{code}".encode()
    for request_id in request_ids:
        request = pb.CheckContactMethodVerificationRequest(id=record_id, code=code, request_id=request_id)
        serialized = request.SerializeToString(deterministic=True)
        texts[f"request {request_id}"] = serialized
        texts[f"named request {request_id}"] = request.DESCRIPTOR.full_name.encode() + serialized
    return {
        form[:_WINDOW]: f"{encoding} {algorithm} of {what!r}"
        for (what, text), (algorithm, digest) in itertools.product(texts.items(), _DIGESTS.items())
        for encoding, form in encodings_of(digest(text)).items()
    }


def digests_in(places: Mapping[str, bytes], digests: Mapping[bytes, str]) -> Iterator[str]:
    """Yield which digests were found where."""
    for place, content in places.items():
        # Files that are made in advance are mostly empty.
        dense = re.sub(rb"\0{16,}", bytes(_WINDOW), content)
        for position in range(len(dense) - _WINDOW + 1):
            if (window := dense[position : position + _WINDOW]) in digests:
                yield f"{digests[window]} in {place}"


def secrets_in(places: Mapping[str, bytes], secrets: Iterable[bytes]) -> Iterator[str]:
    """Yield in which form secrets were found where."""
    for secret, (place, content) in itertools.product(secrets, places.items()):
        for encoding, form in {**encodings_of(secret), "repr": repr(secret).encode()[2:-1]}.items():
            if form in content:
                yield f"{encoding} of a secret in {place}"
