"""Comparing what came of a replay with the original: every file of every commit, read back through the queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from memrepo.limits import MIB
from memrepo.models import FileInfo
from memrepo.repo import MemoryRepo
from memrepo.wire.requests.paths import LIST_LIMIT_MAX
from memrepo_worker.git.objects import (
    MODE_EXECUTABLE,
    MODE_FILE,
    MODE_TREE,
    TreeEntry,
    encode_tree,
    object_id,
)
from memrepo_worker.replay.plan import Plan
from memrepo_worker.replay.source import SourceCommit, SourceRepository
from memrepo_worker.replay.window import JobFailedError, Sent, Window

WINDOW = Window(jobs_max=32, bytes_max=64 * MIB, timeout_s=120)

Verdict = Literal["same tree", "same but for spelling", "same files", "different"]
"""How a commit compares: to the bit; but for how the original spells its tree; but for what was left out; or not."""

SOON = 200
"""How many trees are read at once where the original spells them in its own way."""


@dataclass(frozen=True)
class Verifier:
    """Reads an agent's memory at many commits; goes through its own plan of the same history."""

    repo: MemoryRepo
    plan: Plan
    source: SourceRepository

    def verify(self, history: Sequence[SourceCommit], shas: Sequence[str]) -> Iterator[Verdict]:
        """Yield how each commit compares; ``shas`` says what each has become.

        Raises:
            MemoryRepoError: a read failed.
            GitError: the original cannot be read any more.
        """
        try:
            for (index, sha), first_page in WINDOW.results(self._first_pages(shas)):
                self.plan.advance(history[index])
                yield self._compare(history, index, self._files(sha, first_page))
        except JobFailedError as failed:
            raise failed.cause from None

    def _compare(
        self, history: Sequence[SourceCommit], index: int, files: Mapping[str, TreeEntry]
    ) -> Verdict:
        if files != self.plan.files:
            return "different"
        if self.plan.left_out:
            return "same files"
        original, ours = history[index].tree_sha, tree_sha(files)
        if ours == original:
            return "same tree"
        soon = [commit.tree_sha for commit in history[index : index + SOON]]
        same = ours == self.source.canonical_tree(original, soon)
        return "same but for spelling" if same else "different"

    def _first_pages(self, shas: Sequence[str]) -> Iterator[Sent[list[FileInfo], tuple[int, str]]]:
        for index, sha in enumerate(shas):
            yield Sent(self.repo.list_files(ref=sha, limit=LIST_LIMIT_MAX), 0, (index, sha))

    def _files(self, sha: str, first_page: list[FileInfo]) -> dict[str, TreeEntry]:
        """Read the remaining pages, and return all files by path."""
        files, page = list(first_page), first_page
        while len(page) == LIST_LIMIT_MAX:
            page = self.repo.list_files(ref=sha, limit=LIST_LIMIT_MAX, after=page[-1].path).result(120)
            files += page
        return {
            file.path: TreeEntry(MODE_EXECUTABLE if file.executable else MODE_FILE, file.sha)
            for file in files
        }


def tree_sha(files: Mapping[str, TreeEntry]) -> str:
    """Return the id of the tree that holds these files."""
    entries: dict[str, TreeEntry] = {}
    folders: dict[str, dict[str, TreeEntry]] = {}
    for path, entry in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(name, {})[rest] = entry
        else:
            entries[name] = entry
    for name, inside in folders.items():
        entries[name] = TreeEntry(MODE_TREE, tree_sha(inside))
    return object_id(encode_tree(entries))
