"""What a running ``memrepo up`` has written into its data folder, so that other commands in the same place find it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from memrepo.json_text import read_json

DATA_DIR_DEFAULT = Path("memrepo-data")
"""Where ``memrepo up`` keeps everything, and where the others look for it."""

_FILE = Path("run", "up.json")
_UNDER_WAY = Path("run", "up.running")
_ADDRESSES = ("MEMREPO_BROKER_URL", "MEMREPO_RESULT_URL", "MEMREPO_CELLS", "MEMREPO_STORE_URL")


@dataclass(frozen=True)
class UpState:
    """The settings of a ``memrepo up`` that runs now, as variables of the environment, and the file that says so."""

    path: Path
    variables: Mapping[str, str]

    def __str__(self) -> str:
        return f"the running `memrepo up`, {self.path}"


@contextmanager
def announced(data: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Have others find these settings until the block ends, or this process does, however it ends.

    The file is for its owner alone, as settings hold passwords. It is believed as long as this process holds its lock.
    """
    path = data / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(dict(variables), file)
        file.flush()
        new.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def under_way(data: Path) -> Iterator[None]:
    """Have others know until the block ends that a ``memrepo up`` has this folder: also before and after it serves.

    Only who has the folder for itself may call it.
    """
    path = data / _UNDER_WAY
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # whoever looks holds it for a moment
        yield


def is_not_ready(env: Mapping[str, str], data: Path = DATA_DIR_DEFAULT) -> bool:
    """Whether a ``memrepo up`` that others would use here is starting or ending just now."""
    if any(env.get(name) for name in _ADDRESSES) or find_up(data) is not None:
        return False
    with suppress(OSError), (data / _UNDER_WAY).open() as file:
        return _is_held(file)
    return False


def find_up(data: Path = DATA_DIR_DEFAULT) -> UpState | None:
    """Return the state of a ``memrepo up`` that runs on this folder now, or None.

    A file that others could have written is not believed: it would send an agent's memory to them.
    """
    path = data / _FILE
    with suppress(OSError, ValueError), path.open() as file:
        if _is_ours(file) and _is_held(file):
            value = read_json(file.read())
            if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
                return UpState(path, value)
    return None


def completed(
    env: Mapping[str, str], data: Path = DATA_DIR_DEFAULT
) -> tuple[Mapping[str, str], UpState | None]:
    """Return an environment in which what is not set is as the running ``memrepo up`` has it; and that state, if used.

    It is not used where the environment names another broker or store: half of it would fit nothing.
    """
    found = find_up(data)
    if found is None:
        return env, None
    broker = found.variables.get(
        "MEMREPO_BROKER_URL"
    )  # where results are, too, unless another place is named
    if any(env.get(name) and env[name] != found.variables.get(name, broker) for name in _ADDRESSES):
        return env, None
    missing = {name: value for name, value in found.variables.items() if not env.get(name)}
    return ({**env, **missing}, found) if missing else (env, None)


def _is_ours(file: IO[str]) -> bool:
    status = os.fstat(file.fileno())
    return status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _is_held(file: IO[str]) -> bool:
    """Whether the process that wrote a file still runs: it holds the lock as long."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
