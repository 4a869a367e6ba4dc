"""docs/getting-started.md, its every block as it stands there, on a Debian with nothing else on it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fresh.debian.conftest import Note
from tests.fresh.debian.root import Root
from tests.fresh.packages import ROOT

SUITE = "trixie"
USER = "engineer"
HOME = f"/home/{USER}"

_SCRIPT = """
set -eu
cd {home}
{install}
{up} > up.log 2>&1 &
up=$!
until grep -q "memrepo is up" up.log; do kill -0 $up || {{ cat up.log; exit 1; }}; sleep 0.2; done
{second_terminal}
eval "$(grep '^  export ' up.log)"
{program}
echo "--- in Flower"
python - <<'END'
import base64, json, re, urllib.request
url, user, password = re.search(r"Flower  (\\S+)  .user (\\S+), password ([^\\s,]+)", open("up.log").read()).groups()
login = base64.b64encode(f"{{user}}:{{password}}".encode()).decode()
asked = urllib.request.Request(url + "/api/tasks", headers={{"Authorization": "Basic " + login}})
for task in json.load(urllib.request.urlopen(asked)).values():
    print(task["name"], task["kwargs"], task["state"])
END
kill $up
wait $up
"""


def blocks() -> list[str]:
    """Return the page's blocks of shell, in order."""
    text = (ROOT / "docs/getting-started.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def machine(new_debian: Callable[[str], Root], checkout: Path, tmp_path: Path) -> Iterator[Root]:
    """A new Debian with git, an ordinary user, and the checkout in that user's home."""
    root = new_debian(SUITE).copy(tmp_path / "root")
    root.run(["apt-get", "update", "--quiet"])
    root.run(["apt-get", "install", "--yes", "--no-install-recommends", "git"])
    root.run(["useradd", "--create-home", USER])
    shutil.copytree(checkout, root.folder / f"{HOME}/memrepo".lstrip("/"), symlinks=True)
    root.run(["chown", "--recursive", f"{USER}:", HOME])
    yield root
    root.remove()


@pytest.mark.timeout(900)
def test_from_nothing_to_a_commit_that_is_seen_in_flower_and_restored_by_stock_git(
    machine: Root, took: Note
) -> None:
    install, up, *second_terminal, program = blocks()
    assert up == "memrepo up\n"
    script = _SCRIPT.format(
        home=HOME, install=install, up=up.strip(), second_terminal="\n".join(second_terminal), program=program
    )

    ran = machine.run(
        ["bash", "-c", script], user=f"{USER}:{USER}", cwd=HOME, env={"HOME": HOME}, timeout_s=600
    )
    took("getting started", ran.seconds)

    printed, _, in_flower = ran.output.partition("--- in Flower\n")
    assert printed.count("likes tea") == 2, "by cat, and out of stock git"
    assert re.search(r"^\w{7,} Note what happened\n\w{7,} Note a wish\n", printed, re.MULTILINE), (
        "out of stock git"
    )
    assert "asked for tea\nasked again\n" in printed
    for name in ("memrepo.create_repo", "memrepo.commit", "memrepo.get_history"):
        assert re.search(rf"^{name} acme/agent-42.* SUCCESS$", in_flower, re.MULTILINE)
