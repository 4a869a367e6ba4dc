from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import memrepo

LISTED = "import sys; import {name}; print('\\n'.join(sys.modules))"
HEAVY = {
    "celery",
    "kombu",
    "redis",
    "memrepo_worker",
    "git",
    "pygit2",
    "dulwich",
    "boto3",
    "botocore",
    "google.cloud",
    "flower",
    "click",
}


def loaded_by(name: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LISTED.format(name=name)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_memrepo_loads_nothing_heavy() -> None:
    assert loaded_by("memrepo") & HEAVY == set()


def test_importing_the_command_line_loads_no_worker_and_no_celery() -> None:
    assert loaded_by("memrepo.cli.main") & (HEAVY - {"click"}) == set()


def test_importing_memrepo_loads_the_api_only_when_it_is_used() -> None:
    assert "pydantic" not in loaded_by("memrepo")
    assert "pydantic" not in loaded_by("memrepo.cli.main")
    assert "pydantic" in loaded_by("memrepo; memrepo.MemoryRepos")


def test_the_api_is_listed_completely_and_in_order() -> None:
    source = ast.parse(Path(memrepo.__file__).read_text())
    (checked,) = [node for node in source.body if isinstance(node, ast.If)]
    read_by_type_checkers = {
        alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }

    assert memrepo.__all__ == sorted(read_by_type_checkers)
    assert set(memrepo.__all__) <= set(dir(memrepo))
    assert all(getattr(memrepo, name) is not None for name in memrepo.__all__)


def test_what_keeps_the_api_from_being_loaded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise AttributeError("module 'reads' has no attribute 'GetCommitRequest'")

    monkeypatch.setattr("importlib.import_module", broken)
    monkeypatch.delitem(vars(memrepo), "MemoryRepos", raising=False)

    with pytest.raises(ImportError, match=r"cannot be loaded: module 'reads' has no attribute"):
        from memrepo import MemoryRepos  # noqa: F401


def test_a_name_that_the_api_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'MemoryRepoz'"):
        _ = memrepo.MemoryRepoz  # type: ignore[attr-defined]
