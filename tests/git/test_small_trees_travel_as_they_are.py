"""Of what travels, small trees are not compressed: stock git reads them, and little would be spared."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from memrepo_worker.git.objects import MODE_FILE, GitObject, Kind, TreeEntry, encode_tree, object_id
from memrepo_worker.git.packs import encode_pack, pack_to_send
from tests.support.stock_git import empty_repository, git

RANDOM = Random(7)
SMALL, LARGE = 20, 100


def tree_of(count: int) -> GitObject:
    return encode_tree(
        {f"note-{number}.md": TreeEntry(MODE_FILE, RANDOM.randbytes(20).hex()) for number in range(count)}
    )


TREES = {count: tree_of(count) for count in (SMALL, LARGE)}


@pytest.mark.parametrize("count", [0, 1, SMALL, LARGE])
def test_stock_git_reads_a_tree_of_any_size(count: int, tmp_path: Path) -> None:
    repo = empty_repository(tmp_path / "repo.git")
    item = tree_of(count)

    git(repo, "unpack-objects", "-q", stdin=pack_to_send({object_id(item): item}))

    assert git(repo, "cat-file", "tree", object_id(item)) == item.data


def test_a_small_tree_is_there_as_it_is_and_a_large_one_compressed() -> None:
    assert TREES[SMALL].data in pack_to_send({"": TREES[SMALL]})
    assert TREES[LARGE].data not in pack_to_send({"": TREES[LARGE]})


def test_what_is_no_tree_is_compressed_however_small() -> None:
    text = GitObject(Kind.BLOB, b"one line, again and again\n" * 20)

    assert len(pack_to_send({object_id(text): text})) < len(text.data) / 2


def test_a_small_tree_takes_half_as_much_again_at_most() -> None:
    item = TREES[SMALL]
    objects = {object_id(item): item}

    assert len(pack_to_send(objects)) < 1.5 * len(encode_pack(objects).data)
