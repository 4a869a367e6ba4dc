"""What commands believe of a running ``memrepo up``, and when."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.exceptions import Exit

from memrepo.cli.ending import telling
from memrepo.cli.up_state import DATA_DIR_DEFAULT, announced, completed, find_up, is_not_ready, under_way
from memrepo.errors import BrokerUnavailableError

VARIABLES = {
    "MEMREPO_BROKER_URL": "redis://:secret@127.0.0.1:7000/0",
    "MEMREPO_STORE_URL": "file:///data/store",
    "MEMREPO_SHARDS": "8",
}


def test_it_is_found_while_it_runs_and_not_afterwards(tmp_path: Path) -> None:
    with announced(tmp_path, VARIABLES):
        found = find_up(tmp_path)
        assert found is not None
        assert found.variables == VARIABLES
        assert str(tmp_path) in str(found)
        assert "secret" not in str(found)

    assert find_up(tmp_path) is None
    assert not found.path.exists()


def test_what_one_that_was_killed_left_behind_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "up.json"
    path.parent.mkdir()
    path.write_text(json.dumps(VARIABLES))
    path.chmod(0o600)

    assert find_up(tmp_path) is None


def test_one_that_comes_after_it_replaces_what_was_left(tmp_path: Path) -> None:
    test_what_one_that_was_killed_left_behind_is_not_believed(tmp_path)

    with announced(tmp_path, {"MEMREPO_SHARDS": "4"}):
        found = find_up(tmp_path)
    assert found is not None
    assert found.variables == {"MEMREPO_SHARDS": "4"}


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with announced(tmp_path, VARIABLES):
            assert (tmp_path / "run" / "up.json").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o644])
def test_what_others_may_read_or_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    with announced(tmp_path, VARIABLES):
        (tmp_path / "run" / "up.json").chmod(mode)

        assert find_up(tmp_path) is None


def test_the_environment_goes_first_and_the_rest_comes_from_what_runs(tmp_path: Path) -> None:
    with announced(tmp_path, VARIABLES):
        env, found = completed({"MEMREPO_SHARDS": "16", "MEMREPO_STORE_URL": "", "HOME": "/h"}, tmp_path)

    assert found is not None
    assert env == {**VARIABLES, "MEMREPO_SHARDS": "16", "HOME": "/h"}


@pytest.mark.parametrize(
    "env",
    [
        {"MEMREPO_BROKER_URL": "redis://elsewhere/0"},
        {"MEMREPO_STORE_URL": "s3://bucket"},
        {"MEMREPO_RESULT_URL": "redis://elsewhere/1"},
    ],
)
def test_of_a_system_that_the_environment_does_not_mean_nothing_is_taken(
    tmp_path: Path, env: dict[str, str]
) -> None:
    with announced(tmp_path, VARIABLES):
        assert completed(env, tmp_path) == (env, None)


def test_where_the_environment_says_it_all_nothing_is_taken(tmp_path: Path) -> None:
    with announced(tmp_path, VARIABLES):
        assert completed(VARIABLES, tmp_path) == (VARIABLES, None)


def test_one_that_starts_or_ends_is_not_ready_and_one_that_serves_is(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert not is_not_ready({}, tmp_path)

    with under_way(tmp_path):
        assert is_not_ready({}, tmp_path)
        with announced(tmp_path, VARIABLES):
            assert not is_not_ready({}, tmp_path)
        assert is_not_ready({}, tmp_path)
        assert not is_not_ready({"MEMREPO_CELLS": "a=redis://elsewhere/0"}, tmp_path)

    assert not is_not_ready({}, tmp_path)


@pytest.mark.parametrize("is_starting", [True, False])
def test_a_broker_that_is_not_ready_yet_is_told_as_that(
    is_starting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BROKER_URL", "RESULT_URL", "CELLS", "STORE_URL"):
        monkeypatch.delenv(f"MEMREPO_{name}", raising=False)
    (DATA_DIR_DEFAULT / "run").mkdir(parents=True)
    starting = under_way(DATA_DIR_DEFAULT) if is_starting else nullcontext()
    with starting, pytest.raises(Exit) as ended, telling(lambda: False):
        raise BrokerUnavailableError("The broker cannot be used: it asks for a password.")

    told = capsys.readouterr().err
    assert ended.value.exit_code == 5
    assert told.startswith("Error: `memrepo up` is starting or ending in ./memrepo-data") == is_starting
    assert "it asks for a password." in told
    assert told.count("\n") == 1
