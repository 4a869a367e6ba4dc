"""What somebody who may write into one organisation's part of the bucket can do to the agents of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha1

from memrepo_worker.git.bundles import decode_bundle, encode_bundle
from memrepo_worker.git.objects import (
    MODE_FILE,
    Commit,
    GitObject,
    Ident,
    Kind,
    TreeEntry,
    encode_commit,
    encode_tree,
    object_id,
)
from memrepo_worker.git.packs import join_packs
from memrepo_worker.journal.entry import HEAD_BRANCH, encode_entry, encode_joined
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.interface import ALWAYS, Store
from tests.support.bombs import entry_of_many_paths, zeros
from tests.support.hostile import ORG, Hostile

LARGE_BYTES = 256 * 1024**2
HUGE = 99_999_999_999_999_999_999
REFS = 300_000
COLD_ENTRIES = 150
AGENTS, COLD_AGENTS, REFS_AGENTS = 128, 40, 24
_SOMEBODY = Ident("Somebody", "somebody@example.org", 1_700_000_000)
_PUTS = 4


@dataclass
class BucketWriter:
    """Writes journals of agents that nobody has asked for yet, and then asks for them, as an agent would.

    They are written before anything is measured: how a store takes in what others write is not the worker's doing.
    """

    store: Store
    asking: Hostile

    def loads(self) -> Mapping[str, Callable[[], Callable[[], None]]]:
        """Return every load by its name: each is made ready by a call, and gives what does a round."""
        return {
            "a base beyond all numbers": lambda: self._ready(sound_entries(1), AGENTS, base=True),
            "a billion paths": lambda: self._ready([entry_of_many_paths()], AGENTS),
            "256 MiB in 256 KB": lambda: self._ready([entry_of_a_large_ledger(LARGE_BYTES)], AGENTS),
            "300,000 refs": lambda: self._ready([entry_of_refs(REFS)], REFS_AGENTS),
            "cold journals": lambda: self._ready(sound_entries(COLD_ENTRIES), COLD_AGENTS),
        }

    def _ready(self, entries: Sequence[bytes], agents: int, *, base: bool = False) -> Callable[[], None]:
        """Write a journal for so many agents; each round asks for the next one, and when none is left for nothing."""
        names = [f"bucket-{number}" for number in range(agents)]

        def put(agent: str) -> None:
            layout = Layout.of(ORG, agent)
            for seq, entry in enumerate(entries, 1):
                self.store.put(layout.entry(seq), entry, ALWAYS)
            if base:
                self.store.put(layout.base(HUGE), entries[0], ALWAYS)

        with ThreadPoolExecutor(_PUTS) as threads:
            list(threads.map(put, names))

        def harm() -> None:
            if names:
                self.asking.answers(
                    names.pop(),
                    lambda repo: repo.get_history(limit=1),
                    lambda repo: repo.list_files(limit=1),
                    lambda repo: repo.commit({"a.md": "x"}, "m"),
                )

        return harm


def sound_entries(number: int) -> list[bytes]:
    """Return a journal as it should be, of so many commits to one file."""
    entries, parents = list[bytes](), tuple[str, ...]()
    for seq in range(number):
        blob = GitObject(Kind.BLOB, b"%d" % seq)
        tree = encode_tree({"a.md": TreeEntry(MODE_FILE, object_id(blob))})
        commit = encode_commit(Commit(object_id(tree), parents, _SOMEBODY, _SOMEBODY, "a commit\n"))
        objects = {object_id(item): item for item in (blob, tree, commit)}
        entries.append(encode_entry(objects, {HEAD_BRANCH: object_id(commit)}, parents, ()))
        parents = (object_id(commit),)
    return entries


def entry_of_a_large_ledger(size_bytes: int) -> bytes:
    """Return an entry whose ledger unpacks to so many bytes."""
    sound = decode_bundle(sound_entries(1)[0])
    digest = sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    digest.update(bytes(size_bytes))
    pack = join_packs([sound.pack, zeros(1, size_bytes)]) or b""
    return encode_joined((), {HEAD_BRANCH: sound.refs[HEAD_BRANCH]}, digest.hexdigest(), bytes(pack))


def entry_of_refs(number: int) -> bytes:
    """Return an entry with so many branches."""
    sound = decode_bundle(sound_entries(1)[0])
    tip = sound.refs[HEAD_BRANCH]
    refs = {**sound.refs, **{f"refs/heads/{one}": tip for one in range(number)}}
    return encode_bundle((), refs, bytes(sound.pack))
