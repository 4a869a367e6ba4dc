"""A memory of any size is folded within a bound of memory, of the process that folds and of each git that it starts.

``LONG=1`` folds one of 2 GB; the short form one that would not fit into the bound either.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from random import Random

import pytest

from memrepo.limits import KIB, MIB
from memrepo.settings import environment
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.journal.entry import HEAD_BRANCH, encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ABSENT
from tests.support.writers import AGENT, writer

LONG = environment().get("LONG") == "1"
LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
ENTRIES = 2_050 if LONG else 66  # a run of 2,048 would be over what an entry may be, and stays in parts
FILE_BYTES = MIB if LONG else 768 * KIB
TAKEN_MAX = 64 * MIB if LONG else 32 * MIB
GIT_MAX = 256 * MIB

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel is asked for the peak in Linux's words"
)


def append_large_files(store: LocalStore) -> None:
    """Append entries of a commit each, which adds a file that does not compress; of those there are few at a time."""
    random, parents = Random(7), b""
    for seq in range(1, ENTRIES + 1):
        blob = GitObject(Kind.BLOB, random.randbytes(FILE_BYTES))
        entries = b"100644 a-%d\0" % (seq % 10) + bytes.fromhex(object_id(blob))
        tree = GitObject(Kind.TREE, entries)
        who = b"a <a@example.org> %d +0000" % (1_700_000_000 + seq)
        text = b"tree %s\n%sauthor %s\ncommitter %s\n\nstep\n" % (
            object_id(tree).encode(),
            parents,
            who,
            who,
        )
        made = GitObject(Kind.COMMIT, text)
        sha = object_id(made)
        needed = [parents.split()[1].decode()] if parents else []
        objects = {object_id(item): item for item in (blob, tree, made)}
        store.put(LAYOUT.entry(seq), encode_entry(objects, {HEAD_BRANCH: sha}, needed, ()), ABSENT)
        parents = b"parent %s\n" % sha.encode()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("is_warm", [True, False], ids=["beside a warm repository", "from the store"])
def test_folding_takes_no_more_memory_than_its_bound(*, is_warm: bool, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    append_large_files(store)
    warm = []
    if is_warm:
        with writer(store, tmp_path / "cache") as one:
            assert one.messages()
            warm = [str(one.warm().path / "objects")]

    told = Processes(Counters()).run(
        [
            sys.executable,
            "-m",
            "tests.support.folding_program",
            str(tmp_path / "store"),
            str(tmp_path / "scratch"),
            *warm,
        ],
        env={"PATH": os.defpath},
        timeout_s=3600,
    )
    found = json.loads(told)

    print(found)
    assert found["folded"] == 64 * ((ENTRIES - 1) // 64)
    assert found["taken"] <= TAKEN_MAX
    assert found["git"] <= GIT_MAX
