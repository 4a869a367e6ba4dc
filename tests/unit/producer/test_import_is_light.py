from __future__ import annotations

import subprocess
import sys

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
    assert loaded_by("memrepo.cli") & (HEAVY - {"click"}) == set()


def test_the_api_is_listed_completely_and_in_order() -> None:
    public = {
        name for name, value in vars(memrepo).items() if not name.startswith("_") and not is_module(value)
    }

    assert memrepo.__all__ == sorted(public)


def is_module(value: object) -> bool:
    return type(value).__name__ == "module"
