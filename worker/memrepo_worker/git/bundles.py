"""Git bundles, version 2 (gitformat-bundle): a header of prerequisites and refs, then a pack."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO

from memrepo.limits import MIB
from memrepo_worker.threads.giving_way import joined

_SIGNATURE = b"# v2 git bundle\n"
_ANY_SIGNATURE = re.compile(rb"# v(\d{1,9}) git bundle\n")
_PREREQUISITE = re.compile(rb"-([0-9a-f]{40})(?: [^\0]*)?\Z")
_REF = re.compile(rb"([0-9a-f]{40}) ([^\0]+)\Z")

HEADER_BYTES_MAX = 8 * MIB
"""How long the header of a stranger's bundle may be: some 100,000 refs."""


class NotABundleError(ValueError):
    """The bytes are no git bundle of version 2."""


class BundleVersionError(NotABundleError):
    """It is a bundle, and of another version: it may ask for things that nobody here knows."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's parts. ``refs`` maps full names (and ``HEAD``) to ids."""

    prerequisites: tuple[str, ...]
    refs: Mapping[str, str]
    pack: bytes | memoryview


def encode_bundle(prerequisites: Iterable[str], refs: Mapping[str, str], pack: bytes | memoryview) -> bytes:
    """Return a bundle; prerequisites and refs are written sorted, so that equal input gives equal bytes."""
    lines = [f"-{sha} \n" for sha in sorted(prerequisites)]
    lines += [f"{sha} {name}\n" for name, sha in sorted(refs.items())]
    return joined([_SIGNATURE, "".join(lines).encode(errors="surrogateescape"), b"\n", pack])


def decode_bundle(data: bytes | memoryview, header_bytes_max: int = HEADER_BYTES_MAX) -> Bundle:
    """Return a bundle's parts. Ids are whole, and each ref is there once; names are as they are in the bundle.

    Raises:
        BundleVersionError: it is of another version.
        NotABundleError: the header is not that of a bundle of version 2, or longer than it may be.
    """
    head = data if isinstance(data, bytes) else bytes(data[: len(_SIGNATURE) + header_bytes_max])
    signature = _ANY_SIGNATURE.match(head)
    if signature is None:
        if _SIGNATURE.startswith(head):
            raise NotABundleError(_cut_off(len(head)))
        raise NotABundleError("no bundle of version 2 begins like this")
    if signature[0] != _SIGNATURE:
        raise BundleVersionError(
            f"it is a bundle of version {int(signature[1])}, and version 2 is what is read"
        )
    end = head.find(b"\n\n", len(_SIGNATURE) - 1, len(_SIGNATURE) + header_bytes_max)
    if end < 0:
        if len(data) < len(_SIGNATURE) + header_bytes_max:
            raise NotABundleError(_cut_off(len(data)))
        raise NotABundleError(f"the header does not end within {header_bytes_max} bytes")
    prerequisites: list[str] = []
    refs: dict[str, str] = {}
    for number, line in enumerate(BytesIO(head[len(_SIGNATURE) : max(end, len(_SIGNATURE))]), start=2):
        _take_line(line.removesuffix(b"\n"), number, prerequisites, refs)
    return Bundle(tuple(prerequisites), refs, data[end + 2 :])


def _cut_off(size: int) -> str:
    return f"it was cut off: it ends after {size} bytes, within its header"


def _take_line(line: bytes, number: int, prerequisites: list[str], refs: dict[str, str]) -> None:
    if needed := _PREREQUISITE.match(line):
        prerequisites.append(needed[1].decode())
        return
    ref = _REF.match(line)
    if ref is None:
        raise NotABundleError(
            f"line {number} of its header names no ref, and no commit that it needs, by 40 lower-case digits"
        )
    name = ref[2].decode(errors="surrogateescape")
    if name in refs:
        raise NotABundleError(f"line {number} of its header names a ref for the second time")
    refs[name] = ref[1].decode()
