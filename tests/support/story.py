"""A history told commit by commit, which knows what must come of it: trees, and what is left out where and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.support.histories import EXECUTABLE, FILE, LINK, SUBMODULE, Scribe

Content = bytes | tuple[str, bytes | str]

WINDOWS = 'has one of : " * < > ? |, which Windows cannot store (MEMREPO_PORTABLE_NAMES=posix takes it)'
DEVICE = "has a component that Windows reserves for a device (MEMREPO_PORTABLE_NAMES=posix takes it)"
TRAILING = "has a component that ends with a dot or space, which Windows drops (MEMREPO_PORTABLE_NAMES=posix takes it)"
BACKSLASH = "has a backslash, which separates names on Windows"
CONTROL = "has a control character"
NOT_UTF8 = "is not UTF-8 (it has bytes of another encoding)"
MODULES = ".gitmodules would configure submodules, which memrepo does not keep"
TOO_LARGE = "is over file_bytes_max (8388608 bytes)"

_BY_MODE = {LINK: "is a symbolic link", SUBMODULE: "is a submodule"}
_VERDICTS = ("same_tree", "same_but_for_spelling", "same_files")


@dataclass
class Story:
    """A main line of commits under way. ``files`` is what the next commit holds; ``refused`` says which paths
    memrepo does not keep now, and why (links and submodules are known by their modes)."""

    seed: int
    scribe: Scribe = field(default_factory=Scribe)
    files: dict[str, Content] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    head: str | None = None
    refs: dict[str, str] = field(default_factory=dict)
    # What must come of it.
    kept_trees: list[str] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    first_left_out: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self._before: dict[str, Content] = {}

    def put(self, path: str, content: Content, refused: str | None = None) -> None:
        self.files[path] = content
        if refused is not None:
            self.refused[path] = refused

    def drop(self, *paths: str) -> None:
        for path in paths:
            del self.files[path]
            self.refused.pop(path, None)

    def move(self, before: str, after: str) -> None:
        """Rename a folder, with all that is in it."""
        for path in [path for path in self.files if path.startswith(before)]:
            self.files[after + path.removeprefix(before)] = self.files.pop(path)

    def text(self, lines: int = 20, end: bytes = b"\n") -> bytes:
        return b"".join(b"line %d%b" % (self.random.randrange(1000), end) for _ in range(lines))

    def side(self, *parents: str, files: Mapping[str, Content], **how: object) -> str:
        """Make a commit that is not on the main line."""
        return self.scribe.commit(files, *parents, **how)  # type: ignore[arg-type]

    def commit(self, *others: str, tree: str | None = None, **how: object) -> str:
        """Make the next commit of the main line; ``others`` are its further parents, ``tree`` an own spelling."""
        parents = (*([self.head] if self.head else []), *others)
        whole = self.scribe.tree(self.files) if tree is None else tree
        self.head = self.scribe.commit(whole, *parents, **how)  # type: ignore[arg-type]
        self._note(self.head, whole)
        return self.head

    def reason(self, path: str) -> str | None:
        content = self.files[path]
        mode = content[0] if isinstance(content, tuple) else FILE
        return _BY_MODE.get(mode) or self.refused.get(path)

    def _note(self, sha: str, whole: str) -> None:
        reasons = {path: self.reason(path) for path in self.files}
        kept = {path: self._plain(path) for path, reason in reasons.items() if reason is None}
        tree = Scribe().tree(kept)
        self.kept_trees.append(tree)
        if len(kept) < len(self.files):
            verdict = "same_files"
        else:
            verdict = "same_tree" if tree == whole else "same_but_for_spelling"
        self.verdicts[verdict] += 1
        for path, reason in reasons.items():
            if reason is not None and self._before.get(path) != self.files[path]:
                self.left_out[reason] += 1
                self.first_left_out.setdefault((path, reason), sha)
        self._before = dict(self.files)

    def _plain(self, path: str) -> Content:
        content = self.files[path]
        if not isinstance(content, tuple):
            return content
        mode, data = content
        return (EXECUTABLE if mode == EXECUTABLE else FILE), data

    def write(self, folder: Path) -> Path:
        assert self.head is not None
        return self.scribe.write(folder, {"refs/heads/main": self.head, **self.refs})

    def outcome(self) -> dict[str, object]:
        """What the report of a replay must say, exactly."""
        named = [(_printable(path), sha, reason) for (path, reason), sha in self.first_left_out.items()]
        return {
            "commits": len(self.kept_trees),
            "without_commit": len(self.kept_trees) - len(runs(self.kept_trees)),
            "side_commits": len(self._reachable()) - len(self.kept_trees),
            **{verdict: self.verdicts[verdict] for verdict in _VERDICTS},
            "left_out": dict(self.left_out),
            "left_out_files": sorted(named),
            "first_different": None,
            "equal": True,
        }

    def _reachable(self) -> set[str]:
        """Return all commits that lead to the head."""
        assert self.head is not None
        found, waiting = set(), [self.head]
        while waiting:
            sha = waiting.pop()
            if sha not in found:
                found.add(sha)
                head = self.scribe.objects[sha].data.partition(b"\n\n")[0].split(b"\n")
                waiting += [line[7:].decode() for line in head if line.startswith(b"parent ")]
        return found


def runs(values: list[str]) -> list[str]:
    """Return the values without immediate repetitions: a commit that changes nothing makes no commit."""
    return [value for index, value in enumerate(values) if index == 0 or value != values[index - 1]]


def _printable(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="replace")
