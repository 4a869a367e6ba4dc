"""Which branches and tags a memory may have: the rule for requests, imports and adoptions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from memrepo.errors import InvalidRequestError
from memrepo.validation.names import PathSet
from memrepo.validation.values import check_branch
from memrepo_worker.git.objects import printable

REFS_MAX = 256
"""How many branches and tags a memory may have."""


class RefNames:
    """Full names of refs that stock git can hold side by side on every file system.

    Loose refs are files: ``a`` and ``a/b`` exclude each other, and case may not tell two apart.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._paths = PathSet()
        for name in names:
            self._paths.add(name)

    def clash(self, name: str) -> str | None:
        """Say beside which of these a ref cannot be, or None."""
        clash = self._paths.clash(name)
        if clash is None:
            return None
        return f"does not go beside {clash.other}: git keeps refs as files and folders"

    def add(self, name: str) -> str | None:
        """Add a ref of others, ``refs/heads/…`` or ``refs/tags/…``; or say why it is refused, and leave it out."""
        try:
            check_branch(name.split("/", 2)[2], "name")
        except InvalidRequestError as error:
            return error.message.removeprefix("name: ")
        fault = self.clash(name)
        if fault is None:
            self._paths.add(name)
        return fault


@lru_cache(maxsize=64)
def fault_of_refs(names: frozenset[str]) -> str | None:
    """Say what is wrong with the names of a memory's branches and tags, or None.

    Kept for the last that were asked about: one entry after another has the same ones.
    """
    if len(names) > REFS_MAX:
        return f"has {len(names)} branches and tags, over {REFS_MAX}"
    beside = RefNames()
    for name in sorted(names):
        fault = beside.add(name)
        if fault is not None:
            return f"has {printable(name)!r}, which {fault}"
    return None
