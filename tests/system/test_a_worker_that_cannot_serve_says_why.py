"""One line on standard error and an exit code that says what kind: what a person, a supervisor and a log each need."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.commands import memrepo
from tests.support.ports import closed_port
from tests.support.systems import System


@pytest.fixture
def env(system: System, tmp_path: Path) -> dict[str, str]:
    """An environment in which a worker could serve: a broker that has no store yet."""
    return {
        "MEMREPO_BROKER_URL": system.broker_url.removesuffix("/0") + "/9",
        "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
    }


def refusal(folder: Path, env: dict[str, str], code: int = 5) -> str:
    ended = memrepo("worker", folder=folder, env=env)
    assert ended.code == code
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_without_git(env: dict[str, str], tmp_path: Path) -> None:
    assert "git cannot be started" in refusal(tmp_path, env | {"PATH": str(tmp_path)})


def test_with_an_old_git(env: dict[str, str], tmp_path: Path) -> None:
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\necho git version 2.38.5\n")
    git.chmod(0o755)

    assert "git 2.39 or newer is needed, this is: git version 2.38.5" in refusal(
        tmp_path, env | {"PATH": str(git.parent)}
    )


def test_with_an_unreachable_broker(env: dict[str, str], tmp_path: Path) -> None:
    url = f"redis://:secret@127.0.0.1:{closed_port()}/0"
    said = refusal(tmp_path, env | {"MEMREPO_BROKER_URL": url})

    assert "The broker at redis://:***@127.0.0.1" in said
    assert "cannot be reached: nobody listens there: Connection refused" in said


def test_with_an_unwritable_store(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "the store cannot be used" in refusal(
        tmp_path, env | {"MEMREPO_STORE_URL": (tmp_path / "file" / "store").as_uri()}
    )


def test_without_a_store(env: dict[str, str], tmp_path: Path) -> None:
    said = refusal(tmp_path, env | {"MEMREPO_STORE_URL": ""}, code=2)

    assert (
        "the store cannot be used: MEMREPO_STORE_URL is not set: name a store (file://, s3://, gs://), or run "
        "`memrepo up`, which brings one on this machine"
    ) in said


@pytest.mark.parametrize("command", [("worker",), ("up", "--port", "0")])
def test_with_a_store_in_memory(env: dict[str, str], tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = memrepo(*command, folder=tmp_path, env=env | {"MEMREPO_STORE_URL": "memory://"})

    assert ended.code == 2
    assert ended.stdout == ""
    assert "would lose every commit when its process ends: use file://, s3://, gs://\n" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_doctor_finds_a_store_in_memory_unfit(env: dict[str, str], tmp_path: Path) -> None:
    ended = memrepo("doctor", folder=tmp_path, env=env | {"MEMREPO_STORE_URL": "memory://"})

    assert ended.code == 2
    assert "FAIL  store" in ended.stdout


def test_with_a_setting_that_makes_no_sense(env: dict[str, str], tmp_path: Path) -> None:
    assert "MEMREPO_LEASE_S: must be between" in refusal(tmp_path, env | {"MEMREPO_LEASE_S": "0"}, code=2)


def test_the_settings_that_it_would_serve_with_are_shown_without_secrets(
    env: dict[str, str], tmp_path: Path
) -> None:
    secret = {"MEMREPO_BROKER_URL": "redis://:s3cr3t@h/0", "MEMREPO_FLOWER_BASIC_AUTH": "w:s3cr3t"}
    ended = memrepo("worker", "--show-settings", "--log-level", "debug", folder=tmp_path, env=env | secret)

    shown = dict(line.split("=", 1) for line in ended.stdout.splitlines())
    assert (ended.code, ended.stderr) == (0, "")
    assert shown["MEMREPO_BROKER_URL"] == "redis://:***@h/0"
    assert shown["MEMREPO_STORE_URL"] == env["MEMREPO_STORE_URL"]
    assert shown["MEMREPO_LOG_LEVEL"] == "DEBUG"
    assert "s3cr3t" not in ended.stdout


def test_with_an_unwritable_cache(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "cannot be written" in refusal(
        tmp_path, env | {"MEMREPO_CACHE_DIR": str(tmp_path / "file" / "cache")}
    )


def test_doctor_names_everything_that_is_wrong_at_once(env: dict[str, str], tmp_path: Path) -> None:
    ended = memrepo(
        "doctor", "--json", folder=tmp_path, env=env | {"PATH": "", "MEMREPO_STORE_URL": "ftp://x"}
    )

    assert ended.code == 5
    assert {finding["check"]: finding["ok"] for finding in json.loads(ended.stdout)} == {
        "settings": True,
        "python": True,
        "packages": True,
        "git": False,
        "cache": True,
        "broker": True,
        "store": False,
        "flower": True,
        "workers": True,
    }


def test_doctor_is_content_where_a_worker_can_serve(env: dict[str, str], tmp_path: Path) -> None:
    ended = memrepo("doctor", folder=tmp_path, env=env)

    assert ended.code == 0
    assert len(re.findall(r"^ok ", ended.stdout, re.MULTILINE)) == 9
    assert "workers  none serves this broker now: start one with `memrepo worker`" in ended.stdout
    assert list((tmp_path / "store").rglob("*probe*/*")) == []
