"""The paths that a request names: as the models take them, and how many there may be."""

from __future__ import annotations

from memrepo.errors import TooLargeError
from memrepo.limits import Limits
from memrepo.validation import values

LIST_LIMIT_MAX = 10_000


def strip_slash(path: str) -> str:
    """Strip one leading slash, as a Letta server does."""
    return path.removeprefix("/")


def strip_slashes(paths: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Strip one leading slash of each."""
    return None if paths is None else tuple(map(strip_slash, paths))


def check_path_list(paths: tuple[str, ...] | None, limits: Limits) -> None:
    """Check the paths that a request is restricted to."""
    if paths is not None and len(paths) > LIST_LIMIT_MAX:
        raise TooLargeError.of(
            "paths", f"{len(paths)} paths, over the {LIST_LIMIT_MAX} that one request may name"
        )
    for index, path in enumerate(paths or ()):
        values.check_path(path, limits, f"paths[{index}]")


def bytes_of_paths(paths: tuple[str, ...] | None) -> int:
    """Return how many bytes they take, roughly."""
    return sum(map(len, paths or ()))
