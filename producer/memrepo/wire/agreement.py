"""What all that use one broker must have alike: compared with what the first worker recorded there, if any has."""

from __future__ import annotations

from memrepo.errors import InvalidRequestError
from memrepo.wire.keys import NAMES_KEY, SHARDS_KEY


def check_shards(recorded: bytes | str | None, shards: int) -> None:
    """Compare the number of shards with the one that is recorded under ``SHARDS_KEY``.

    Raises:
        InvalidRequestError: they differ, so that an agent would have two queues.
    """
    if recorded is not None and int(recorded) != shards:
        raise InvalidRequestError.of(
            "MEMREPO_SHARDS",
            f"is {shards} here, but the workers of this broker use {int(recorded)}; to change it, empty all queues, "
            f"stop all workers and delete the key {SHARDS_KEY}",
            recorded=int(recorded),
        )


def check_names(recorded: bytes | str | None, portable_names: str) -> None:
    """Compare which names of files are taken with what is recorded under ``NAMES_KEY``.

    Raises:
        InvalidRequestError: they differ, so that workers would refuse what is taken here, or the other way round.
    """
    theirs = recorded.decode(errors="replace") if isinstance(recorded, bytes) else recorded
    if theirs and theirs != portable_names:
        raise InvalidRequestError.of(
            "MEMREPO_PORTABLE_NAMES",
            f"is {portable_names} here, but the workers of this broker use {theirs}; to change it, stop all producers "
            f"and workers and delete the key {NAMES_KEY}",
            recorded=theirs,
        )
