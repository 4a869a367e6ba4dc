"""README's two commands as they stand there, on a Debian with nothing else on it, as an ordinary user."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memrepo.settings import environment
from tests.fresh.debian.conftest import Note
from tests.fresh.debian.root import Root
from tests.fresh.packages import ROOT

QUICK = environment().get("QUICK") == "1"
SUITES = environment().get("SUITES", "trixie" if QUICK else "trixie bookworm").split()
NEEDED = ("git", "make")  # beside Python, as the README says
USER = "engineer"
FOLDER = f"/home/{USER}/memrepo"
OF_THE_DEMO = (
    "trees are equal to the original's, to the bit",
    "200 commits acknowledged",
    "Everything has stopped",
)


def readme_commands() -> list[str]:
    """Return the commands of the README's first block of code."""
    block = re.search(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert block is not None
    return re.findall(r"^make [\w-]+", block[1], re.MULTILINE)


@pytest.fixture(params=SUITES)
def machine(
    request: pytest.FixtureRequest, new_debian: Callable[[str], Root], checkout: Path, tmp_path: Path
) -> Iterator[Root]:
    """A new Debian with git and make, an ordinary user, and the clone in that user's home."""
    root = new_debian(request.param).copy(tmp_path / "root")
    root.run(["apt-get", "update", "--quiet"])
    root.run(["apt-get", "install", "--yes", "--no-install-recommends", *NEEDED])
    root.run(["useradd", "--create-home", USER])
    shutil.copytree(checkout, root.folder / FOLDER.lstrip("/"), symlinks=True)
    root.run(["chown", "--recursive", f"{USER}:", FOLDER])
    yield root
    root.remove()


@pytest.mark.timeout(3600)
def test_both_commands_do_what_they_promise_for_an_ordinary_user(
    machine: Root, request: pytest.FixtureRequest, took: Note
) -> None:
    versions = " with ".join(
        machine.run(command).output.strip() for command in (["python3", "--version"], ["git", "--version"])
    )
    for command in readme_commands():
        quick = command == "make test" and QUICK
        ran = machine.run(
            [*command.split()[:-1], "test-quick" if quick else command.split()[-1]],
            user=f"{USER}:{USER}", cwd=FOLDER, env={"HOME": f"/home/{USER}"}, timeout_s=1800,
        )  # fmt: skip
        if command == "make demo":
            assert [line for line in OF_THE_DEMO if line not in ran.output] == []
        took(f"{request.node.callspec.id}, {versions}: {command}{'-quick' if quick else ''}", ran.seconds)

    assert readme_commands() == ["make demo", "make test"]
