"""What this machine has: Python, libraries, git, and the folder and disk of the cache."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from memrepo.limits import MIB
from memrepo_worker.cli.checks.check import Found, NotFitError
from memrepo_worker.git.command import GIT_VERSION_MIN, Git, GitError
from memrepo_worker.settings import WorkerSettings

PYTHON_MIN = (3, 11)
"""The least that ``pyproject.toml`` asks for."""

_LEFT_MIN = 0.05
"""A disk of which a smaller part is left is almost full."""
_LEFT_BYTES_MIN = 512 * MIB
"""Less has little room, whatever part of the disk it is."""

_OF_OTHERS = 0o077


@dataclass(frozen=True)
class Machine:
    """Where we run, as it says of itself."""

    python: tuple[int, ...] = sys.version_info[:3]
    installed: Callable[[str], str] = metadata.version
    """The version of a distribution; raises PackageNotFoundError."""
    disk: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage
    """All bytes of the disk that a path is on, those that are used and those that are free."""


def check_python(machine: Machine) -> Found:
    """Check that Python is new enough."""
    version = ".".join(map(str, machine.python))
    if machine.python < PYTHON_MIN:
        least = ".".join(map(str, PYTHON_MIN))
        raise NotFitError(f"Python {version} is too old: make the virtual environment with {least} or newer")
    return Found(f"{version}, {sys.executable}")


def check_libraries(machine: Machine) -> Found:
    """Check that what memrepo builds on is there, in versions that it was made for."""
    wrong = [*_unfit(machine, metadata.requires("memrepo") or ())]
    if wrong:
        names = ", ".join(str(requirement) for requirement in wrong)
        found = ", ".join(f"{one.name} {_version(machine, one) or 'is missing'}" for one in wrong)
        quoted = " ".join(f"'{one.name}{one.specifier}'" for one in wrong)
        raise NotFitError(f"{names} is needed, and {found}: pip install {quoted}")
    parts = (f"{name} {machine.installed(name)}" for name in ("memrepo", "celery", "kombu", "redis"))
    return Found(", ".join(parts))


def _unfit(machine: Machine, wanted: Iterable[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, wanted):
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in ("", "worker")):
            continue
        version = _version(machine, requirement)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield requirement


def _version(machine: Machine, requirement: Requirement) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return machine.installed(requirement.name)
    return None


def check_git(git: Git) -> Found:
    """Check that git is there and new enough."""
    try:
        return Found(git.require_version())
    except GitError as error:
        least = ".".join(map(str, GIT_VERSION_MIN))
        raise NotFitError(f"{error}: install git {least} or newer, where PATH finds it first") from error


def unusable_cache(folder: Path, why: str | None) -> str:
    """Return what is said of a cache folder that cannot be used, and what to do."""
    return f"the cache folder {folder} cannot be written: {why}: name one with MEMREPO_CACHE_DIR that can"


def check_cache(settings: WorkerSettings, machine: Machine | None = None) -> Found:
    """Check that the cache folder can be written, has room, and is nobody else's to read."""
    folder = settings.cache_dir
    probe = folder / f"probe-{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        mode = folder.stat().st_mode
        total, _, free = (machine or Machine()).disk(folder)
    except OSError as error:
        raise NotFitError(unusable_cache(folder, error.strerror)) from error
    warnings = []
    if mode & _OF_OTHERS:
        warnings.append(
            f"others of this machine may look into {folder} (mode {mode & 0o777:04o}): chmod 700 {folder}"
        )
    if free < max(_LEFT_BYTES_MIN, _LEFT_MIN * total):
        what = "is almost full" if free < _LEFT_MIN * total else "has little room"
        warnings.append(
            f"its disk {what}, {free // MIB} MiB of {total // MIB} are left: make room, name a folder on another disk "
            "with MEMREPO_CACHE_DIR, or lower MEMREPO_CACHE_BYTES_MAX; while it is full, memories are opened anew for "
            "each turn"
        )
    elif settings.cache_bytes_max > total:
        warnings.append(
            f"it may grow to {settings.cache_bytes_max // MIB} MiB, and its disk has {total // MIB}: lower "
            "MEMREPO_CACHE_BYTES_MAX"
        )
    return Found(str(folder), tuple(warnings))
