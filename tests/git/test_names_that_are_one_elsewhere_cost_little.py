"""A merge in which very many names are one on macOS or Windows: all are found at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from typing_extensions import override

from memrepo_worker.git.edits import FileEdit, TreeEditor
from memrepo_worker.git.merging.contents import ContentMerger
from memrepo_worker.git.merging.trees import merge_trees
from memrepo_worker.git.objects import GitObject, TreeEntry
from memrepo_worker.git.reader import ObjectMap, Reader

FOLDERS = 300


class CountingReader(Reader):
    """Counts how often a tree is looked at."""

    looked: Counter[str]

    @override
    def tree(self, sha: str) -> Mapping[str, TreeEntry]:
        self.looked[sha] += 1
        return super().tree(sha)


def test_each_is_a_conflict_and_no_folder_is_looked_at_again_for_another_ones() -> None:
    objects: dict[str, GitObject] = {}
    reader = CountingReader(ObjectMap(objects))
    reader.looked = Counter()

    def tree(names: str) -> str:
        editor = TreeEditor(reader)
        made = editor.apply(
            None,
            [FileEdit(f"{folder}/{name}", b"%d" % folder) for folder in range(FOLDERS) for name in names]
            + [FileEdit("z", names.encode())],
        )
        objects.update(editor.objects)
        return made

    base, ours, theirs = tree("b"), tree("ab"), tree("Abc")
    reader.looked.clear()
    merged = merge_trees(reader, base, ours, theirs, ContentMerger())

    assert [(one.path, one.kind) for one in merged.conflicts if one.kind == "name"] == sorted(
        (f"{folder}/A", "name") for folder in range(FOLDERS)
    )
    assert {path for path in merged.edits if path.endswith("/c")} == {
        f"{folder}/c" for folder in range(FOLDERS)
    }
    assert max(times for sha, times in reader.looked.items() if sha not in (base, ours, theirs)) < 20
