"""What is in the sdist, in the wheel, and on a package page."""

from __future__ import annotations

import re
from email.message import Message

from packaging.version import Version

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.fresh.packages import ROOT, Packages, lower_bound
from tests.fresh.pythons import supported_versions

DOCUMENTED_IN = ("docs/", "examples/")
SOURCES = ("producer/", "worker/")


def tracked(*prefixes: str) -> set[str]:
    """Return the files that git knows, below some folders."""
    listed = Processes(Counters()).run(["git", "ls-files", "-z"], env=environment(), cwd=ROOT, timeout_s=30)
    return {name for name in listed.decode().split("\0") if name.startswith(prefixes)}


def test_the_sdist_is_the_source_with_its_documents_and_nothing_else(packages: Packages) -> None:
    pages = {path.name for path in ROOT.glob("*.md")}
    expected = (
        tracked(*SOURCES, *DOCUMENTED_IN) | pages | {"pyproject.toml", "LICENSE", ".gitignore", "PKG-INFO"}
    )

    assert packages.names_in_sdist() == expected - {"examples/demo.py"}
    assert {"README.md", "ARCHITECTURE.md", "CHANGELOG.md"} <= pages


def test_the_wheel_is_the_two_packages_with_their_types(packages: Packages) -> None:
    code = {name for name in packages.names_in_wheel() if ".dist-info/" not in name}

    assert code == {name.partition("/")[2] for name in tracked(*SOURCES)}
    assert {"memrepo/py.typed", "memrepo_worker/py.typed"} <= code
    assert any(name.endswith("/licenses/LICENSE") for name in packages.names_in_wheel())


def test_the_package_page_names_the_project_and_leads_nowhere_that_is_not(packages: Packages) -> None:
    metadata = packages.metadata.metadata
    assert isinstance(metadata, Message)
    urls = [value.partition(", ")[2] for value in metadata.get_all("Project-URL") or []]
    page = str(metadata.get_payload())

    assert urls
    assert all(url.startswith("https://") for url in urls)
    assert "# memrepo" in page
    assert re.findall(r"\]\((?!https://)[^)]*\)", page) == []
    assert "docs/api.md" in page


def test_the_page_names_the_pythons_from_the_oldest_that_is_accepted(packages: Packages) -> None:
    assert packages.metadata.metadata["Requires-Python"] == f">={supported_versions()[0]}"


def test_every_dependency_says_from_which_version_on_it_will_do(packages: Packages) -> None:
    bounds = {requirement.name: Version(lower_bound(requirement)) for requirement in packages.requirements()}

    assert {"celery", "redis", "pygit2", "boto3", "google-cloud-storage", "flower"} <= bounds.keys()
