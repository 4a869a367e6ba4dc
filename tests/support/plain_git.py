"""Git as people run it: in a folder, obeying the configuration of the repository that is there."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

from memrepo.settings import environment

IDENT = {
    f"GIT_{who}_{what}": "nobody@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def plain_git(
    folder: Path, *arguments: str, stdin: bytes = b"", fine: bool = True, locale: str = "C"
) -> bytes:
    """Run git and return its output; unless ``fine``, it may fail."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**_environment(folder), "LC_ALL": locale},
        input=stdin,
        capture_output=True,
        timeout=30,
        check=False,
        start_new_session=True,  # no terminal to ask for a password
    )
    assert done.returncode == 0 or not fine, done.stderr.decode()
    return done.stdout


def plain_git_on_a_terminal(folder: Path, *arguments: str) -> None:
    """Run git with a terminal as its standard output, where it starts a pager."""
    ours, its = pty.openpty()
    try:
        subprocess.run(
            ["git", *arguments], cwd=folder, env=_environment(folder), stdout=its, timeout=30, check=False
        )
    finally:
        os.close(ours)
        os.close(its)


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": environment()["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "LC_ALL": "C",
        "TERM": "xterm",
        **IDENT,
    }
