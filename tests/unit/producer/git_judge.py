"""Stock git's own judgement of names: the reference that our rules are held against."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # the empty blob
TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # the empty tree
PROTECTED = ("-c", "core.protectNTFS=true", "-c", "core.protectHFS=true")


@dataclass(frozen=True)
class GitJudge:
    """Asks git in an empty repository, with the checks for all platforms on."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> GitJudge:
        judge = cls(folder)
        judge._git("init", "--bare", "-b", "main", ".")
        judge._git("hash-object", "-w", "-t", "tree", "--stdin")
        return judge

    def checks_out(self, paths: Sequence[str]) -> bool:
        """Tell whether git takes these files into an index, as they are, and reads their tree back."""
        (self.folder / "index").unlink(missing_ok=True)
        lines = b"".join(f"100644 {BLOB} 0\t".encode() + path.encode() + b"\0" for path in paths)
        if self._git("update-index", "-z", "--index-info", stdin=lines) is None:
            return False
        tree = self._git("write-tree", "--missing-ok")
        if tree is None or self._git("read-tree", tree.decode().strip()) is None:
            return False
        listed = self._git("ls-files", "-z") or b""
        return sorted(listed.split(b"\0")[:-1]) == sorted(path.encode() for path in paths)

    def is_branch(self, name: str) -> bool:
        """Tell whether git takes a name for a branch, as it is."""
        answer = self._git("check-ref-format", "--branch", name)
        return answer is not None and answer.removesuffix(b"\n") == name.encode()

    def is_author(self, name: str, email: str) -> bool:
        """Tell whether git takes a commit by this author and reads the same author back."""
        ident = f"{name} <{email}> 1700000000 +0000"
        commit = f"tree {TREE}\nauthor {ident}\ncommitter {ident}\n\nm\n"
        sha = self._git("hash-object", "-w", "-t", "commit", "--stdin", stdin=commit.encode())
        if sha is None:
            return False
        read = self._git("log", "-1", "--no-mailmap", "--format=%an%n%ae", sha.decode().strip()) or b""
        return read == f"{name}\n{email}\n".encode()

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes | None:
        """Run git; None if it refuses."""
        done = subprocess.run(
            ["git", *PROTECTED, *arguments],
            cwd=self.folder,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_DIR": str(self.folder),
                "HOME": "/nonexistent",
                "LC_ALL": "C.UTF-8",
            },
            input=stdin,
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.stdout if done.returncode == 0 else None
