"""How much a history stands for, held against the limits of commits: files, messages, and what one commit holds.

Few bytes can stand for any number of paths, so every tree is counted once, and what it holds is added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from memrepo.limits import Limits
from memrepo_worker.bounds import Bounds
from memrepo_worker.git.batch import Run, read_objects, sizes_of
from memrepo_worker.git.command import GitOverBoundsError
from memrepo_worker.git.objects import TreeEntry


@dataclass(frozen=True, slots=True)
class _Tree:
    entries: int
    file_bytes: int
    below: tuple[str, ...]


@dataclass
class Weights:
    """Adds up what trees hold. Trees are noted in any order; what is asked for comes after all were."""

    run: Run
    limits: Limits
    large_files: dict[str, int] = field(default_factory=dict)
    _trees: dict[str, _Tree] = field(default_factory=dict)
    _sums: dict[str, tuple[int, int]] = field(default_factory=dict)

    def look_at(self, sha: str, prefix: str, entries: Mapping[str, TreeEntry]) -> None:
        """Note one tree, with the path at which it was met first."""
        files = {name: entry.sha for name, entry in entries.items() if entry.is_file}
        sizes = sizes_of(self.run, set(files.values()), "blob") if files else {}
        for name, blob in files.items():
            if sizes.get(blob, 0) > self.limits.file_bytes_max:
                self.large_files.setdefault(prefix + name, sizes[blob])
        below = tuple(entry.sha for entry in entries.values() if entry.is_tree)
        self._trees[sha] = _Tree(len(entries), sum(sizes.get(blob, 0) for blob in files.values()), below)

    def require_walkable(self, roots: Sequence[str], entries_max: int = Bounds().walk_entries_max) -> None:
        """Check that each commit can be walked.

        Raises:
            GitOverBoundsError: one stands for more files and folders than a worker ever looks at for one request.
        """
        most = max((self._sum(root)[0] for root in roots), default=0)
        if most > entries_max:
            raise GitOverBoundsError(
                f"a commit of it holds {most} files and folders, over MEMREPO_WALK_ENTRIES_MAX ({entries_max})"
            )

    def file_bytes(self, root: str) -> int:
        """Return how large the files of a commit are together, by its tree."""
        return self._sum(root)[1]

    def _sum(self, root: str) -> tuple[int, int]:
        """Return entries and bytes at and below a tree. Without recursion: trees may be deep."""
        waiting = [root]
        while waiting:
            sha = waiting[-1]
            tree = self._trees.get(sha, _Tree(0, 0, ()))
            if sha in self._sums or not (unknown := [each for each in tree.below if each not in self._sums]):
                parts = [self._sums[each] for each in tree.below]
                self._sums[sha] = (
                    tree.entries + sum(entries for entries, _ in parts),
                    tree.file_bytes + sum(file_bytes for _, file_bytes in parts),
                )
                waiting.pop()
            else:
                waiting += unknown
        return self._sums[root]


def long_messages(run: Run, limits: Limits) -> Iterator[str]:
    """Yield the commits whose message is longer than one may be."""
    commits = run(["log", "--all", "--format=%H"], b"").decode().split()
    sizes = sizes_of(run, commits, "commit")
    large = {sha: size for sha, size in sizes.items() if size > limits.message_bytes_max}
    for sha, data in read_objects(run, large, "commit"):
        if len(data.partition(b"\n\n")[2]) > limits.message_bytes_max:
            yield sha
