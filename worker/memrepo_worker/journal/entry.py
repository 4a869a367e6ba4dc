"""A journal entry: the git bundle that carries new objects, all refs and the ledger lines of one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from memrepo_worker.git.bundles import Bundle, NotABundleError, decode_bundle, encode_bundle
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_pack, is_whole, object_count
from memrepo_worker.journal.ledger import LedgerLine, encode_lines

LEDGER_REF = "refs/memrepo/ledger"
HEAD_BRANCH = "refs/heads/main"
REFS_MAX = 256


class JournalDamagedError(Exception):
    """The journal in the store is not what memrepo wrote: a gap, a broken entry, an object that is missing.

    ``seq`` is the entry where it was found, or the base of that number.
    """

    def __init__(self, message: str, seq: int = 0, *, in_base: bool = False) -> None:
        super().__init__(message)
        self.seq = seq
        self.in_base = in_base

    def within_base(self) -> JournalDamagedError:
        """Return the error for the base of that number."""
        return JournalDamagedError(str(self), self.seq, in_base=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One numbered entry as it is in the store. ``refs`` are the branches and tags after it."""

    seq: int
    data: bytes
    refs: Mapping[str, str]
    prerequisites: tuple[str, ...]
    ledger_sha: str
    pack: bytes


def encode_entry(
    objects: Mapping[str, GitObject],
    refs: Mapping[str, str],
    prerequisites: Iterable[str],
    lines: Iterable[LedgerLine],
) -> bytes:
    """Return the bytes of an entry (or, with no prerequisites, of a base).

    Equal input gives equal bytes with one build of zlib, so the same request makes the same entry again.
    """
    ledger = GitObject(Kind.BLOB, encode_lines(lines))
    ledger_sha = object_id(ledger)
    header = dict(refs)
    header[LEDGER_REF] = ledger_sha
    if HEAD_BRANCH in refs:
        header["HEAD"] = refs[HEAD_BRANCH]
    pack = encode_pack({**objects, ledger_sha: ledger})
    return encode_bundle(prerequisites, header, pack.data)


def decode_entry(seq: int, data: bytes) -> Entry:
    """Return an entry's parts.

    Raises:
        JournalDamagedError: the bytes are no entry.
    """
    try:
        bundle: Bundle = decode_bundle(data)
        object_count(bundle.pack)
    except (NotABundleError, ValueError) as error:
        raise JournalDamagedError(f"entry {seq} is no bundle: {error}", seq) from error
    if not is_whole(bundle.pack):
        raise JournalDamagedError(f"entry {seq} has a pack whose checksum is wrong", seq)
    ledger_sha = bundle.refs.get(LEDGER_REF)
    if ledger_sha is None:
        raise JournalDamagedError(f"entry {seq} has no ledger", seq)
    refs = {name: sha for name, sha in bundle.refs.items() if name.startswith(("refs/heads/", "refs/tags/"))}
    return Entry(seq, data, refs, bundle.prerequisites, ledger_sha, bundle.pack)
