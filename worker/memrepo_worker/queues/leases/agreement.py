"""What all that use one broker must have alike: recorded there by the first worker, and the same after that."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from redis import Redis, ResponseError

from memrepo.errors import InvalidRequestError, StoreUnavailableError
from memrepo.wire import agreement
from memrepo.wire.agreement import CellsRecord
from memrepo.wire.keys import CELLS_KEY, NAMES_KEY, SHARDS_KEY, STORE_KEY

_ACCEPT = (
    "to have this broker serve the store that is named here, stop all workers and run `memrepo store accept`"
)


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """Which store a broker's workers serve: the id that lies in it, and the last worker's address, for people."""

    id: str
    name: str

    def __str__(self) -> str:
        return f"{self.id} ({self.name})"


def claim_shard_count(broker: Redis, shards: int) -> None:
    """Record the number of shards if nobody has yet.

    Raises:
        InvalidRequestError: the broker's number is another one.
    """
    _record(broker, SHARDS_KEY, shards)
    check_shards(broker, shards)


def check_shards(broker: Redis, shards: int) -> None:
    """Compare the number of shards with the broker's, if it has one.

    Raises:
        InvalidRequestError: the broker's number is another one.
    """
    agreement.check_shards(broker.get(SHARDS_KEY), shards)


def agree_on_names(broker: Redis, portable_names: str) -> None:
    """Record which names of files are taken if nobody has yet.

    Raises:
        InvalidRequestError: the broker's rule is another one.
    """
    _record(broker, NAMES_KEY, portable_names)
    check_names(broker, portable_names)


def check_names(broker: Redis, portable_names: str) -> None:
    """Compare which names of files are taken with the broker's rule, if it has one.

    Raises:
        InvalidRequestError: it is another one, so that workers would refuse what is taken here, or the other way round.
    """
    agreement.check_names(broker.get(NAMES_KEY), portable_names)


def agree_on_cells(broker: Redis, own: str, names: Iterable[str]) -> None:
    """Record which cell this is, and which there are, if nobody has yet; no names where there are no cells.

    Raises:
        InvalidRequestError: the broker's list is another one, or it is another cell.
    """
    names = tuple(names)
    _record(broker, CELLS_KEY, str(CellsRecord.of(own, names)))
    check_cells(broker, own, names)


def check_cells(broker: Redis, own: str, names: Iterable[str]) -> None:
    """Compare which cells there are, and which this is, with the broker's record, if it has one.

    Raises:
        InvalidRequestError: the broker's list is another one, or it is another cell.
    """
    agreement.check_cells(broker.get(CELLS_KEY), own, names)


def recorded_cells(broker: Redis) -> CellsRecord | None:
    """Return what is recorded of the cells, or None before the first worker."""
    found = broker.get(CELLS_KEY)
    return None if found is None else CellsRecord.read(found)


def accept_cells(broker: Redis, record: CellsRecord) -> None:
    """Record another list of cells in place of what was recorded."""
    broker.set(CELLS_KEY, str(record))


def claim_store(broker: Redis, store: StoreRecord) -> None:
    """Record the store that all workers of this broker serve if nobody has yet, and where it is now if it was moved.

    Raises:
        InvalidRequestError: the broker's workers serve another one: an agent would have a memory in each.
    """
    _record(broker, STORE_KEY, f"{store.id} {store.name}")
    check_store_identity(broker, store.id, store.name)
    if recorded_store(broker) != store:
        with suppress(ResponseError):  # a full broker takes no write, and a worker begins there all the same
            accept_store(broker, store)


def check_store_identity(broker: Redis, identity: str | None, name: str) -> None:
    """Compare a store with the broker's, if it has one; ``identity`` is None for a store that has none yet.

    Raises:
        InvalidRequestError: it is another one.
        StoreUnavailableError: it has no identity though the broker's store has one: an empty folder or bucket.
    """
    recorded = recorded_store(broker)
    if recorded is None or recorded.id == identity:
        return
    if identity is None:
        raise StoreUnavailableError(
            f"the store {name} has no identity, so it is not the store of this broker, {recorded}: an empty folder "
            f"where a volume is not mounted, or another one. Mount or name the right one; {_ACCEPT}.",
            {"recorded": recorded.id},
        )
    raise InvalidRequestError.of(
        "MEMREPO_STORE_URL",
        f"names the store {StoreRecord(identity, name)} here and this broker's workers serve {recorded}, so that "
        f"agents' memories would be split; {_ACCEPT}",
        recorded=recorded.id,
    )


def recorded(broker: Redis) -> dict[str, bytes | str]:
    """Return all that is recorded, by its key: what a server that loses its data has to be told again."""
    found = {key: broker.get(key) for key in (SHARDS_KEY, NAMES_KEY, CELLS_KEY, STORE_KEY)}
    return {key: value for key, value in found.items() if value is not None}


def recorded_store(broker: Redis) -> StoreRecord | None:
    """Return the store that the broker's workers serve, or None before the first of them."""
    found = broker.get(STORE_KEY)
    if found is None:
        return None
    text = found.decode(errors="replace") if isinstance(found, bytes) else str(found)
    identity, _, name = text.partition(" ")
    return StoreRecord(identity, name)


def accept_store(broker: Redis, store: StoreRecord) -> None:
    """Record a store in place of whatever was recorded.

    No worker of another store may run, since each keeps to the store that it began with.
    """
    broker.set(STORE_KEY, f"{store.id} {store.name}")


def _record(broker: Redis, key: str, value: str | int) -> None:
    """Write a key that nobody has written yet; one that is there is only looked at, as a full broker takes no write."""
    if not broker.exists(key):
        broker.set(key, value, nx=True)
