"""What is in a history that began elsewhere, held against the rules for what is committed here.

Every tree is looked at once, wherever it stands: few bytes can stand for any number of paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memrepo.limits import Limits
from memrepo.validation.names import SAME_NAME, find_twins
from memrepo.validation.values import fault_of_path
from memrepo.wording import counted
from memrepo_worker.git.batch import Run, read_objects, sizes_of
from memrepo_worker.git.command import Git, GitError, GitOverBoundsError
from memrepo_worker.git.objects import TreeEntry, decode_tree, printable
from memrepo_worker.migration.weights import Weights, long_messages

_OVER = "is over "  # as ``fault_of_path`` says of a limit

EVERYWHERE = "MEMREPO_PORTABLE_NAMES=everywhere"


@dataclass(frozen=True, slots=True)
class RefusedNames:
    """Names in a history that ``rule`` refuses in commits, for one reason; ``first`` is one of their paths."""

    rule: str
    reason: str
    count: int
    first: str

    def __str__(self) -> str:
        return (
            f"{counted(self.count, 'name')} that {self.rule} refuses in commits: {self.first!r} {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found. ``refused`` by the setting that holds here, ``refused_elsewhere`` only by the stricter one.

    ``over_limits`` is what is only larger than a commit could make it. ``no_file`` is the path of something that is no
    regular file.
    """

    refused: tuple[RefusedNames, ...]
    over_limits: tuple[RefusedNames, ...]
    refused_elsewhere: tuple[RefusedNames, ...]
    no_file: str | None


def require_unpacked(git: Git, repo: Path) -> None:
    """Check that all objects of a repository together are not larger than the caps allow, as they say themselves.

    Raises:
        GitOverBoundsError: they are.
    """
    listed = git.run(
        ["cat-file", "--batch-all-objects", "--batch-check=%(objectsize)", "--unordered"], repo=repo
    )
    sizes = (
        int(word) for word in listed.split(b"\n") if word.isdigit()
    )  # what is damaged, git finds fault with
    total, most = sum(sizes), git.caps.unpacked_bytes_max
    if total > most:
        raise GitOverBoundsError(
            f"its objects are {total} bytes unpacked, over MEMREPO_FOREIGN_UNPACKED_BYTES_MAX ({most})"
        )


def trees_of(git: Git, repo: Path) -> Iterator[tuple[str, str, Mapping[str, TreeEntry]]]:
    """Yield every tree of the history of all refs once: its id, the path at which it was met first, and its entries.

    Raises:
        GitError: one is not there.
    """

    def run(arguments: Sequence[str], stdin: bytes) -> bytes:
        return git.run(arguments, repo=repo, stdin=stdin)

    level = dict.fromkeys(run(["log", "--all", "--format=%T"], b"").decode().split(), "")
    seen: set[str] = set()
    while level:
        seen |= level.keys()
        sizes = sizes_of(run, level, "tree")
        if missing := level.keys() - sizes.keys():
            raise GitError(f"tree {min(missing)} is not there")
        below: dict[str, str] = {}
        for sha, data in read_objects(run, sizes, "tree"):
            entries = decode_tree(data)
            yield sha, level[sha], entries
            for name, entry in entries.items():
                if entry.is_tree and entry.sha not in seen:
                    below.setdefault(entry.sha, f"{level[sha]}{name}/")
        level = below


class _Faults:
    """Paths that commits are refused, by reason. Each path is asked about once, in however many commits it is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._strict = replace(limits, portable_names="everywhere")
        self._asked: set[str] = set()
        self.here: dict[str, set[str]] = {}
        self.elsewhere: dict[str, set[str]] = {}

    def look_at(self, prefix: str, entries: Mapping[str, TreeEntry]) -> None:
        """Look at the names of one tree, alone and beside each other."""
        for name in entries:
            path = prefix + name
            if path not in self._asked:
                self._asked.add(path)
                self._ask(path)
        twins = find_twins(entries, entries.keys())
        if twins:
            self.here.setdefault(SAME_NAME, set()).add(prefix + next(iter(twins)))

    def _ask(self, path: str) -> None:
        reason = fault_of_path(path, self._strict)
        if reason is None:
            return
        ours = fault_of_path(path, self._limits)
        found = self.elsewhere if ours is None else self.here
        found.setdefault(ours or reason, set()).add(path)


def look_at(git: Git, repo: Path, limits: Limits) -> Contents:
    """Hold everything that the refs of a repository lead to against the rules.

    Raises:
        GitOverBoundsError: a commit stands for more files than any worker looks at.
        GitError: a tree is not there.
    """

    def run(arguments: Sequence[str], stdin: bytes) -> bytes:
        return git.run(arguments, repo=repo, stdin=stdin)

    faults, weights = _Faults(limits), Weights(run, limits)
    no_file = None
    for sha, prefix, entries in trees_of(git, repo):
        faults.look_at(prefix, entries)
        weights.look_at(sha, prefix, entries)
        others = [name for name, entry in entries.items() if not entry.is_tree and not entry.is_file]
        no_file = no_file or (prefix + others[0] if others else None)
    weights.require_walkable(run(["log", "--all", "--format=%T"], b"").decode().split())
    ours_by = f"MEMREPO_PORTABLE_NAMES={limits.portable_names}"
    over = {reason: faults.here.pop(reason) for reason in list(faults.here) if reason.startswith(_OVER)}
    return Contents(
        _summed(ours_by, faults.here),
        (*_summed(ours_by, over), *_over_limits(run, limits, weights)),
        _summed(EVERYWHERE, faults.elsewhere),
        no_file,
    )


def _over_limits(run: Run, limits: Limits, weights: Weights) -> Iterator[RefusedNames]:
    """Yield what is larger than a commit could make it, or than a read of all files could give."""
    tips = (
        line.split()
        for line in run(["log", "--no-walk", "--all", "--format=%H %T"], b"").decode().splitlines()
    )
    large_tips = [sha for sha, tree in tips if weights.file_bytes(tree) > limits.request_bytes_max]
    for setting, found, reason in (
        (f"MEMREPO_FILE_BYTES_MAX={limits.file_bytes_max}", weights.large_files, "is a larger file"),
        (
            f"MEMREPO_REQUEST_BYTES_MAX={limits.request_bytes_max}",
            large_tips,
            "is a commit whose files are larger together, so that get_files is told to ask for fewer",
        ),
        (
            f"MEMREPO_MESSAGE_BYTES_MAX={limits.message_bytes_max}",
            set(long_messages(run, limits)),
            "has a longer message",
        ),
    ):
        if found:
            yield RefusedNames(setting, reason, len(found), printable(min(found)))


def _summed(rule: str, found: Mapping[str, set[str]]) -> tuple[RefusedNames, ...]:
    return tuple(
        RefusedNames(rule, reason, len(paths), printable(min(paths))) for reason, paths in found.items()
    )
