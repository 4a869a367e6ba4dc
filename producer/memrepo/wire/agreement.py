"""What all that use one broker must have alike: compared with what the first worker recorded there, if any has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from memrepo.errors import InvalidRequestError
from memrepo.wire.keys import NAMES_KEY, SHARDS_KEY

_NONE = "-"
_SHOWN_CHARS = 20


def check_shards(recorded: bytes | str | None, shards: int) -> None:
    """Compare the number of shards with the one that is recorded under ``SHARDS_KEY``.

    Raises:
        InvalidRequestError: they differ, so that an agent would have two queues.
    """
    theirs = _text(recorded)
    if theirs is not None and theirs != str(shards):
        raise InvalidRequestError.of(
            "MEMREPO_SHARDS",
            f"is {shards} here, but the workers of this broker use {theirs[:_SHOWN_CHARS]}; to change it, empty all "
            f"queues, stop all workers and delete the key {SHARDS_KEY}",
            recorded=int(theirs)
            if theirs.isascii() and theirs.isdigit() and len(theirs) < _SHOWN_CHARS
            else None,
        )


def check_names(recorded: bytes | str | None, portable_names: str) -> None:
    """Compare which names of files are taken with what is recorded under ``NAMES_KEY``.

    Raises:
        InvalidRequestError: they differ, so that workers would refuse what is taken here, or the other way round.
    """
    theirs = _text(recorded)
    if theirs and theirs != portable_names:
        raise InvalidRequestError.of(
            "MEMREPO_PORTABLE_NAMES",
            f"is {portable_names} here, but the workers of this broker use {theirs}; to change it, stop all producers "
            f"and workers and delete the key {NAMES_KEY}",
            recorded=theirs,
        )


@dataclass(frozen=True, slots=True)
class CellsRecord:
    """Which cell a Redis is, and of which: what lies under ``CELLS_KEY``.

    ``own`` is its name, empty for a Redis without one. ``lists`` are the lists of names that are taken: one, or two
    while it is changed, the new one first; an empty list is said by who knows of no cells.
    """

    own: str
    lists: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, own: str, names: Iterable[str]) -> CellsRecord:
        """Return the record of a cell whose list is not changed just now."""
        return cls(own, (tuple(sorted(names)),))

    @classmethod
    def read(cls, recorded: bytes | str) -> CellsRecord:
        """Read a record; of what is none, an empty list of a Redis without a name comes at worst."""
        text = _text(recorded)
        own, *lists = ("" if part == _NONE else part for part in (text or "").split() or [_NONE])
        return cls(own, tuple(tuple(filter(None, names.split(","))) for names in lists))

    def __str__(self) -> str:
        """Write it as it is recorded."""
        return " ".join([self.own or _NONE, *(",".join(names) or _NONE for names in self.lists)])

    def accepting(self, own: str, names: Iterable[str]) -> CellsRecord:
        """Return the record with another list in front; who has the one before goes on being taken."""
        new = tuple(sorted(names))
        return CellsRecord(own, (new, *[one for one in self.lists if one != new][:1]))


def check_cells(recorded: bytes | str | None, own: str, names: Iterable[str]) -> None:
    """Compare which cells there are, and which of them this is, with what is recorded under ``CELLS_KEY``.

    Raises:
        InvalidRequestError: they differ, so that an agent would be looked for in one cell and served in another.
    """
    if recorded is None:
        return
    found, here = CellsRecord.read(recorded), tuple(sorted(names))
    if here not in found.lists:
        ours = f"is {', '.join(here)}" if here else "is not set"
        theirs = " or ".join(", ".join(names) or "none" for names in found.lists) or "what is no list"
        broker = f"cell {own}" if own else "this broker"
        raise InvalidRequestError.of(
            "MEMREPO_CELLS",
            f"{ours} here, but the workers of {broker} use {theirs}; to change it for all, run "
            "`memrepo cells --accept` with the new list (docs/several-cells.md)",
            recorded=str(found),
        )
    if own and found.own and found.own != own:
        raise InvalidRequestError.of(
            "MEMREPO_CELLS", f"says that cell {own} is where cell {found.own} is", recorded=str(found)
        )


def _text(recorded: bytes | str | None) -> str | None:
    return recorded.decode(errors="replace") if isinstance(recorded, bytes) else recorded
