"""Git bundles, version 2 (gitformat-bundle): a header of prerequisites and refs, then a pack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SIGNATURE = b"# v2 git bundle\n"


class NotABundleError(ValueError):
    """The bytes are no git bundle of version 2."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's parts. ``refs`` maps full names (and ``HEAD``) to ids."""

    prerequisites: tuple[str, ...]
    refs: Mapping[str, str]
    pack: bytes


def encode_bundle(prerequisites: Iterable[str], refs: Mapping[str, str], pack: bytes) -> bytes:
    """Return a bundle; prerequisites and refs are written sorted, so that equal input gives equal bytes."""
    lines = [f"-{sha} \n" for sha in sorted(prerequisites)]
    lines += [f"{sha} {name}\n" for name, sha in sorted(refs.items())]
    return b"".join([_SIGNATURE, "".join(lines).encode(errors="surrogateescape"), b"\n", pack])


def decode_bundle(data: bytes) -> Bundle:
    """Return a bundle's parts.

    Raises:
        NotABundleError: the header is not that of a bundle of version 2.
    """
    if not data.startswith(_SIGNATURE):
        raise NotABundleError("no bundle of version 2 begins like this")
    end = data.find(b"\n\n", len(_SIGNATURE) - 1)
    if end < 0:
        raise NotABundleError("the header does not end")
    prerequisites = []
    refs = {}
    for line in data[len(_SIGNATURE) : end].decode(errors="surrogateescape").split("\n"):
        sha, _, rest = line.partition(" ")
        if sha.startswith("-"):
            prerequisites.append(sha[1:])
        elif sha:
            refs[rest] = sha
    return Bundle(tuple(prerequisites), refs, data[end + 2 :])
