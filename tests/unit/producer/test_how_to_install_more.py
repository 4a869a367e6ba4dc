from __future__ import annotations

import shlex
from collections.abc import Callable
from importlib import metadata

import pytest

from memrepo.installed import install_command

CameFrom = Callable[[str | None], None]


@pytest.fixture
def came_from(monkeypatch: pytest.MonkeyPatch) -> CameFrom:
    """Have it that pip noted this when it installed memrepo."""

    class Installed:
        recorded: str | None = None

        def read_text(self, name: str) -> str | None:
            return self.recorded if name == "direct_url.json" else None

    installed = Installed()
    monkeypatch.setattr(metadata, "distribution", lambda _: installed)

    def record(recorded: str | None) -> None:
        installed.recorded = recorded

    return record


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ('{"url": "file:///home/ann/memrepo", "dir_info": {}}', ["/home/ann/memrepo[worker]"]),
        (
            '{"url": "file:///home/ann/my%20code", "dir_info": {"editable": true}}',
            ["--editable", "/home/ann/my code[worker]"],
        ),
        (
            '{"url": "file:///dist/memrepo-0.1.0-py3-none-any.whl", "archive_info": {}}',
            ["/dist/memrepo-0.1.0-py3-none-any.whl[worker]"],
        ),
        (
            '{"url": "https://git.example/memrepo", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
            ["memrepo[worker] @ git+https://git.example/memrepo@abc"],
        ),
        (
            '{"url": "https://files.example/memrepo-0.1.0.tar.gz", "archive_info": {}}',
            ["memrepo[worker] @ https://files.example/memrepo-0.1.0.tar.gz"],
        ),
        (None, ["memrepo[worker]"]),
        ("no JSON", ["memrepo[worker]"]),
        ("[]", ["memrepo[worker]"]),
        ('{"url": "", "dir_info": 5}', ["memrepo[worker]"]),
    ],
)
def test_an_extra_is_installed_from_where_memrepo_came(
    came_from: CameFrom, recorded: str | None, told: list[str]
) -> None:
    came_from(recorded)

    assert shlex.split(install_command("worker")) == ["pip", "install", *told]


def test_without_an_extra_it_is_installed_anew(came_from: CameFrom) -> None:
    came_from(None)

    assert install_command() == "pip install memrepo"


def test_where_it_is_not_installed_at_all_its_name_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", not_found)

    assert install_command("s3") == "pip install 'memrepo[s3]'"
