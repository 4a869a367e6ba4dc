"""A journal entry: the git bundle that carries new objects, all refs and the ledger lines of one step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from memrepo.limits import KIB, MIB
from memrepo_worker.git.bundles import (
    Bundle,
    BundleVersionError,
    NotABundleError,
    decode_bundle,
    encode_bundle,
)
from memrepo_worker.git.deltas.encoding import Delta
from memrepo_worker.git.objects import GitObject, Kind, object_id, printable
from memrepo_worker.git.packs import in_steps, is_in_file, is_whole, object_count, pack_to_send
from memrepo_worker.journal.ledger import LedgerLine, encode_lines
from memrepo_worker.journal.refs import fault_of_refs

LEDGER_REF = "refs/memrepo/ledger"
ORIGIN_REF = "refs/memrepo/origin"
HEAD_BRANCH = "refs/heads/main"
_OURS = "refs/memrepo/"
BRANCHES = "refs/heads/"
_KINDS = (BRANCHES, "refs/tags/")

HEADER_BYTES_MAX = 256 * KIB
"""How long an entry's header may be: all refs that there may be, and some 4,000 commits that it builds on."""

HEAD_BYTES = HEADER_BYTES_MAX + KIB
"""So many bytes of an entry, or all that it has, show whether its header is one that may be, and what it says."""


class JournalUnreadableError(Exception):
    """The journal in the store cannot be read.

    ``seq`` is the entry where that was found, or the base of that number.
    """

    def __init__(self, message: str, seq: int = 0, *, in_base: bool = False) -> None:
        super().__init__(message)
        self.seq = seq
        self.in_base = in_base

    def within_base(self) -> Self:
        """Return the error for the base of that number."""
        return type(self)(str(self), self.seq, in_base=True)


class JournalDamagedError(JournalUnreadableError):
    """It is not what memrepo writes: a gap, a broken entry, an object that is missing or that none may be."""


class EntryDoesNotFollowError(JournalDamagedError):
    """An entry builds on an object that nothing before it has: what was read before it may be another memory's."""


class NewerJournalError(JournalUnreadableError):
    """It is what a newer memrepo writes: this one does not know what it would pass over."""


_LEDGER_BYTES_LEAST = 16 * MIB
_LEDGER_PER_BYTE = 16


def ledger_bytes_max(entry_bytes: int) -> int:
    """Return how large the ledger in an entry, or a base, of so many bytes may be: ids hardly compress."""
    return _LEDGER_BYTES_LEAST + _LEDGER_PER_BYTE * entry_bytes


@dataclass(frozen=True, slots=True)
class Head:
    """What the header of an entry, base or segment says; ``pack_start`` is where the pack begins.

    ``origin_sha`` is the blob that says what the memory was forked from; None where it was not.
    """

    seq: int
    refs: Mapping[str, str]
    prerequisites: tuple[str, ...]
    ledger_sha: str
    pack_start: int
    origin_sha: str | None = None

    @property
    def named(self) -> set[str]:
        """All that it names: branches, tags, ledger and origin, and what it builds on."""
        origin = () if self.origin_sha is None else (self.origin_sha,)
        return {*self.refs.values(), self.ledger_sha, *origin, *self.prerequisites}


@dataclass(frozen=True, slots=True)
class Entry:
    """One numbered entry. ``refs`` are the branches and tags after it, ``sha256`` and ``size`` those of its bytes.

    ``origin_sha`` is as in ``Head``.
    """

    seq: int
    sha256: str
    size: int
    refs: Mapping[str, str]
    prerequisites: tuple[str, ...]
    ledger_sha: str
    pack: bytes | memoryview
    origin_sha: str | None = None

    @property
    def held_bytes(self) -> int:
        """How many of its bytes are in memory: all, or its header where the pack lies in a file."""
        return self.size - len(self.pack) + KIB if is_in_file(self.pack) else self.size

    def without_pack(self) -> Self:
        """Return it for who has taken in its objects: what it says, and nothing of its pack."""
        return replace(self, pack=b"")

    @property
    def head(self) -> Head:
        """What its header says."""
        start = self.size - len(self.pack)
        return Head(self.seq, self.refs, self.prerequisites, self.ledger_sha, start, self.origin_sha)


def encode_entry(
    objects: Mapping[str, GitObject],
    refs: Mapping[str, str],
    prerequisites: Iterable[str],
    lines: Iterable[LedgerLine],
    deltas: Mapping[str, Delta] | None = None,
    origin_sha: str | None = None,
) -> bytes:
    """Return the bytes of an entry (or, with no prerequisites, of a base).

    ``deltas`` are those by which some of the objects follow from others: of the entry, or of the commits that it needs.

    Equal input gives equal bytes with one build of zlib, so the same request makes the same entry again.
    """
    ledger = GitObject(Kind.BLOB, encode_lines(lines))
    ledger_sha = object_id(ledger)
    pack = pack_to_send({**objects, ledger_sha: ledger}, deltas)
    return encode_joined(prerequisites, refs, ledger_sha, pack, origin_sha)


def encode_joined(
    prerequisites: Iterable[str],
    refs: Mapping[str, str],
    ledger_sha: str,
    pack: bytes,
    origin_sha: str | None = None,
) -> bytes:
    """Return the bytes of an entry, segment or base whose pack is there already; the ledger is in it."""
    header = {**refs, LEDGER_REF: ledger_sha}
    if origin_sha is not None:
        header[ORIGIN_REF] = origin_sha
    if HEAD_BRANCH in refs:
        header["HEAD"] = refs[HEAD_BRANCH]
    return encode_bundle(prerequisites, header, pack)


def decode_entry(seq: int, data: bytes | memoryview, between: Callable[[], object] = lambda: None) -> Entry:
    """Return an entry's parts, held against the rules for what is written: ids, names and number of its refs.

    ``between`` is called between steps of a millisecond or less.

    Raises:
        NewerJournalError: it has what this version does not know.
        JournalDamagedError: the bytes are no entry.
    """
    head, pack = _decoded(seq, data)
    try:
        object_count(pack)
    except ValueError as error:
        raise JournalDamagedError(f"entry {seq} is no bundle: {error}", seq) from error
    if not is_whole(pack, between):
        raise JournalDamagedError(f"entry {seq} has a pack whose checksum is wrong", seq)
    digest = hashlib.sha256()
    for piece in in_steps(data):
        between()
        digest.update(piece)
    return Entry(
        seq,
        digest.hexdigest(),
        len(data),
        head.refs,
        head.prerequisites,
        head.ledger_sha,
        pack,
        head.origin_sha,
    )


def decode_head(seq: int, beginning: bytes | memoryview) -> Head:
    """Return what the header says; ``beginning`` is all of the entry, or ``HEAD_BYTES`` of it.

    Raises:
        NewerJournalError, JournalDamagedError: as ``decode_entry``.
    """
    return _decoded(seq, beginning)[0]


def _decoded(seq: int, beginning: bytes | memoryview) -> tuple[Head, bytes | memoryview]:
    """Return what the header says, and what follows on it."""
    try:
        bundle: Bundle = decode_bundle(beginning, HEADER_BYTES_MAX)
    except BundleVersionError as error:
        raise NewerJournalError(f"entry {seq} is none of this version: {error}", seq) from error
    except NotABundleError as error:
        raise JournalDamagedError(f"entry {seq} is no bundle: {error}", seq) from error
    refs = {name: sha for name, sha in bundle.refs.items() if name.startswith(_KINDS)}
    _check_names(seq, bundle.refs, refs)
    start = len(beginning) - len(bundle.pack)
    ledger, origin = bundle.refs[LEDGER_REF], bundle.refs.get(ORIGIN_REF)
    return Head(seq, refs, bundle.prerequisites, ledger, start, origin), bundle.pack


def _check_names(seq: int, header: Mapping[str, str], refs: Mapping[str, str]) -> None:
    """Check which names a header has, and those of the branches and tags among them."""
    for name in header.keys() - refs.keys() - {LEDGER_REF, ORIGIN_REF, "HEAD"}:
        if name.startswith(_OURS):
            raise NewerJournalError(
                f"entry {seq} names {printable(name)!r}, which this version does not know", seq
            )
        raise JournalDamagedError(f"entry {seq} names a ref that is neither a branch nor a tag", seq)
    if LEDGER_REF not in header:
        raise JournalDamagedError(f"entry {seq} has no ledger", seq)
    if "HEAD" in header and header["HEAD"] != refs.get(HEAD_BRANCH):
        raise JournalDamagedError(f"entry {seq} has a HEAD that is not at main", seq)
    if ORIGIN_REF in header and not refs:
        raise JournalDamagedError(f"entry {seq} has an origin, and no branch", seq)
    fault = fault_of_refs(frozenset(refs))
    if fault is not None:
        raise JournalDamagedError(f"entry {seq} {fault}", seq)
