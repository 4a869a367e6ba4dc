"""Makes repositories as the Letta server did: git in a working folder, then an upload of whatever files' times changed.

Written anew from its description. The working folder is what is in the store at every commit; files that git removed
are not removed in the store, which is the root of the fault that hides commits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from typing_extensions import override

from memrepo_worker.git.bounds import GitBounds
from memrepo_worker.git.command import Git, ObjectFolder
from memrepo_worker.processes import Stdin
from memrepo_worker.store.interface import ALWAYS, Store
from tests.support.stock_git import stock_git

NAME, EMAIL = "Legacy", "legacy@example.org"


@dataclass
class LegacyRepository:
    """One agent's repository in the legacy layout; ``acknowledged`` are the shas that its commits returned."""

    store: Store
    org_id: str
    agent_id: str
    acknowledged: list[str] = field(default_factory=list)
    _uploaded: set[str] = field(default_factory=set)

    @property
    def prefix(self) -> str:
        return f"{self.org_id}/{self.agent_id}/repo.git/"

    def create(self, files: Mapping[str, bytes]) -> None:
        self._folder = TemporaryDirectory()
        work = self.work
        self._git(work, "init", "--quiet", "-b", "main", str(work))
        # git versions differ in when they collect by themselves: here each commit says.
        self._git(work, "config", "gc.auto", "0")
        self._commit(work, files, "Initial commit")
        self._upload(work, {})

    def commit(self, changes: Mapping[str, bytes | None], message: str, *, gc: bool = False) -> str:
        """Commit as it did; with ``gc``, git packs objects and refs before the upload, as `git commit` may."""
        work = self.work
        self._make_like_the_store(work)
        before = _times(work)
        self._git(work, "reset", "--quiet", "--hard")
        sha = self._commit(work, changes, message)
        if gc:
            self._git(work, "gc", "--quiet")
            self._git(work, "pack-refs", "--all", "--prune")
        self._upload(work, before)
        return sha

    @property
    def work(self) -> Path:
        return Path(self._folder.name)

    def log(self) -> list[str]:
        """What it would show itself, newest first: the loose ref wins."""
        self._make_like_the_store(self.work)
        return self._git(self.work, "log", "--format=%H", "main").decode().split()

    def tree_of(self, sha: str) -> str:
        return self._git(self.work, "rev-parse", f"{sha}^{{tree}}").decode().strip()

    def _commit(self, work: Path, changes: Mapping[str, bytes | None], message: str) -> str:
        for path, content in changes.items():
            target = work / path
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        self._git(work, "add", "--all")
        self._git(work, "commit", "--quiet", "-m", message)
        sha = self._git(work, "rev-parse", "HEAD").decode().strip()
        self.acknowledged.append(sha)
        return sha

    def _make_like_the_store(self, work: Path) -> None:
        """Have what a download of everything would give: what git removed here is still in the store."""
        for name in self._uploaded:
            path = work / ".git" / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.store.get(self.prefix + name).data)

    def _upload(self, work: Path, before: Mapping[str, int]) -> None:
        for name, time_ns in _times(work).items():
            if before.get(name) != time_ns:
                self.store.put(self.prefix + name, (work / ".git" / name).read_bytes(), ALWAYS)
                self._uploaded.add(name)

    def _git(self, work: Path, *arguments: str) -> bytes:
        return _ServerGit.of(work).run(arguments)


class _ServerGit(Git):
    """git as the Letta server ran it: in a working folder, with the repository's own settings."""

    work: Path

    @classmethod
    def of(cls, work: Path) -> _ServerGit:
        plain = stock_git()
        made = cls(plain.processes, plain.search_path, plain.timeout_s)
        object.__setattr__(made, "work", work)
        return made

    @override
    def run(
        self,
        arguments: Sequence[str],
        *,
        repo: Path | ObjectFolder | None = None,
        stdin: Stdin = b"",
        stdout: IO[bytes] | None = None,
        timeout_s: float | None = None,
        bounds: GitBounds | None = None,
        output_bytes_max: int | None = None,
    ) -> bytes:
        return self.processes.run(
            ["git", "-C", str(self.work), *arguments],
            env={
                "PATH": self.search_path,
                "HOME": str(self.work),
                "GIT_CONFIG_NOSYSTEM": "1",
                **{f"GIT_{who}_NAME": NAME for who in ("AUTHOR", "COMMITTER")},
                **{f"GIT_{who}_EMAIL": EMAIL for who in ("AUTHOR", "COMMITTER")},
            },
            timeout_s=60,
        )


def _times(work: Path) -> dict[str, int]:
    root = work / ".git"
    return {
        str((Path(folder) / name).relative_to(root)): (Path(folder) / name).stat().st_mtime_ns
        for folder, _, names in os.walk(root)
        for name in names
    }
