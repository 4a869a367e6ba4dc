"""The git command line, isolated: no user or system configuration, no hooks, no prompts, no gc behind our back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memrepo_worker.processes import Processes, ProcessFailedError

GIT_VERSION_MIN = (2, 39)  # Debian 12's, the oldest that the tests run on

_COMPARE_TIMEOUT_S = 5.0

_CONFIG = {
    "gc.auto": "0",
    "maintenance.auto": "false",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "protocol.allow": "never",
    "protocol.file.allow": "always",
    "safe.directory": "*",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
}


class GitError(Exception):
    """git is missing, too old, failed, or took too long."""


@dataclass(frozen=True)
class Git:
    """Runs git. ``search_path`` is where it is looked for, as in ``PATH``."""

    processes: Processes
    search_path: str
    timeout_s: float = 60.0

    def run(
        self,
        arguments: Sequence[str],
        *,
        repo: Path | None = None,
        stdin: bytes = b"",
        timeout_s: float | None = None,
    ) -> bytes:
        """Run one git command and return its standard output; ``timeout_s`` stands in for the usual limit.

        Raises:
            GitError: it failed or took longer than the timeout.
        """
        where = [] if repo is None else [f"--git-dir={repo}"]
        try:
            return self.processes.run(
                ["git", *where, *arguments],
                env=self.environment(),
                timeout_s=timeout_s or self.timeout_s,
                stdin=stdin,
            )
        except ProcessFailedError as error:
            raise GitError(str(error)) from error

    def environment(self) -> dict[str, str]:
        """Return the whole environment that git gets."""
        env = {
            "PATH": self.search_path,
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "TZ": "UTC",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TEMPLATE_DIR": "",
            "GIT_CONFIG_COUNT": str(len(_CONFIG)),
        }
        for index, (name, value) in enumerate(_CONFIG.items()):
            env[f"GIT_CONFIG_KEY_{index}"] = name
            env[f"GIT_CONFIG_VALUE_{index}"] = value
        return env

    def require_version(self) -> str:
        """Return git's version.

        Raises:
            GitError: git is not installed, or older than ``GIT_VERSION_MIN``.
        """
        text = self.run(["--version"]).decode(errors="replace").strip()
        match = re.search(r"(\d+)\.(\d+)", text)
        if match is None or (int(match[1]), int(match[2])) < GIT_VERSION_MIN:
            wanted = ".".join(map(str, GIT_VERSION_MIN))
            raise GitError(f"git {wanted} or newer is needed, this is: {text}")
        return text

    def index_pack(self, repo: Path, pack: bytes, *, strict: bool = False) -> None:
        """Add a pack to a repository; objects that it refers to by delta are completed from the repository."""
        options = ["--strict"] if strict else []
        self.run(["index-pack", "--stdin", "--fix-thin", *options], repo=repo, stdin=pack)

    def diff_of_blobs(self, repo: Path, old: str, new: str) -> bytes:
        """Return the patch from one blob to another; gives up after a few seconds."""
        arguments = ["diff", "--text", "--no-color", "--no-ext-diff", "--no-textconv", old, new]
        return self.run(arguments, repo=repo, timeout_s=_COMPARE_TIMEOUT_S)

    def commits_touching(self, repo: Path, start: str, path: str) -> list[str]:
        """Return the commits reachable from ``start`` that changed a file, newest first (``git rev-list -- path``)."""
        return self.run(["--literal-pathspecs", "rev-list", start, "--", path], repo=repo).decode().split()
