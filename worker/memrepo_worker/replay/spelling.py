"""Trees that hold the same files, spelled otherwise: modes padded with zeros, old modes, empty folders, another order.

Some tools write such trees, and git did before 2005. Their ids differ from those of the trees that git writes of the
same files, so whether only the spelling differs is found by writing them again.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, MutableMapping

from memrepo_worker.git.batch import Run, read_objects, sizes_of
from memrepo_worker.git.command import GitError
from memrepo_worker.git.objects import (
    MODE_EXECUTABLE,
    MODE_FILE,
    MODE_TREE,
    TreeEntry,
    decode_tree,
    encode_tree,
    object_id,
)

_Tree = Mapping[str, TreeEntry]
EMPTY_TREE = object_id(encode_tree({}))


def add_canonical_trees(run: Run, roots: Iterable[str], known: MutableMapping[str, str]) -> None:
    """Add, for these trees and all below them, the ids of the trees that git would write of the same files.

    Raises:
        GitError: a tree is not there.
    """
    trees = _read_trees(run, roots, known)
    waiting = list(trees)
    while waiting:
        sha = waiting[-1]
        below = [child for child in _folders(trees[sha]) if child not in known] if sha not in known else []
        if below:
            waiting += below
        else:
            known.setdefault(sha, _canonical(trees[sha], known))
            waiting.pop()


def _read_trees(run: Run, roots: Iterable[str], known: Mapping[str, str]) -> dict[str, _Tree]:
    """Read these trees and all below them that are not known yet, level by level."""
    trees: dict[str, _Tree] = {}
    level = {sha for sha in roots if sha not in known}
    while level:
        sizes = sizes_of(run, level, "tree")
        if missing := level - sizes.keys():
            raise GitError(f"tree {min(missing)} is not there")
        read = {sha: decode_tree(data) for sha, data in read_objects(run, sizes, "tree")}
        trees |= read
        below = {child for entries in read.values() for child in _folders(entries)}
        level = below - trees.keys() - known.keys()
    return trees


def _canonical(entries: _Tree, known: Mapping[str, str]) -> str:
    written = {}
    for name, entry in entries.items():
        mode = int(entry.mode, 8)
        if stat.S_ISDIR(mode):
            if known[entry.sha] != EMPTY_TREE:
                written[name] = TreeEntry(MODE_TREE, known[entry.sha])
        elif stat.S_ISREG(mode):
            written[name] = TreeEntry(MODE_EXECUTABLE if mode & stat.S_IXUSR else MODE_FILE, entry.sha)
        else:
            written[name] = entry
    return object_id(encode_tree(written))


def _folders(entries: _Tree) -> list[str]:
    return [entry.sha for entry in entries.values() if stat.S_ISDIR(int(entry.mode, 8))]
