"""Is a store safe? Tried out, since servers that ignore conditions answer as if they did not.

The journal rests on the conditional create and on strong consistency. A store without them loses acknowledged
commits silently, so a worker refuses to start on one.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from memrepo.clock import Clock, system_clock
from memrepo.json_text import read_json
from memrepo_worker.files.regular import make_way, read_regular
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    NotThereError,
    ObjectTooLargeError,
    PreconditionFailedError,
    RefusedError,
    Store,
    StoreError,
    UnavailableError,
)
from memrepo_worker.store.lifecycle import HasLifecycle

PREFIX = ".memrepo-probe/"
"""Where the probe writes, below the store's own prefix; no agent's id begins with a dot."""

RACERS = 16
_BYTES_MAX = 100
LEFT_OVER_AGE_S = 3600
VERDICT_AGE_S_MAX = 24 * 3600
VERDICTS = "store-verdicts.json"


class UnsafeStoreError(Exception):
    """The store breaks a rule that memrepo rests on; the message names both. Use another store, or mend this one."""

    def __init__(self, store: Store, rule: str) -> None:
        super().__init__(f"{store.name} is not safe for memrepo: {rule}")


class _Won(Enum):
    YES = "yes"
    NO = "no"


def probe(store: Store, clock: Clock = system_clock) -> None:
    """Try out what a worker needs, every right of it, and clean up; also after a probe that was cut off.

    Nothing is written before it is known that it may be removed again.

    Raises:
        UnsafeStoreError: it breaks a rule.
        RefusedError: a right is missing; the message names each.
        UnavailableError: it could not be tried out.
    """
    with _keys(store, clock) as key:
        _check_rights(store, key("rights"))
        _remove_left_over(store, clock)
        _check_reads_and_lists(store, key("read"))
        _check_create_over_existing(store, key("create"))
        _check_delete(store, key("delete"))
        _check_race(store, key("race"))


def token_of_trial(now_s: float) -> str:
    """Return how keys of a trial begin, by which they are removed later where it is cut off."""
    return f"{int(now_s)}-{uuid.uuid4().hex}"


def probe_daily(store: Store, cache_dir: Path, clock: Clock) -> None:
    """Try the store out unless it was found safe within a day; only good verdicts are kept.

    Raises:
        UnsafeStoreError, UnavailableError, RefusedError: as ``probe``.
    """
    path = cache_dir / VERDICTS
    verdicts = _read_verdicts(path)
    now = clock()
    if 0 <= now - verdicts.get(store.name, float("-inf")) < VERDICT_AGE_S_MAX:
        return
    probe(store, clock)
    _write_verdicts(path, {**verdicts, store.name: now})


def check_lifecycle(store: Store) -> None:
    """Check that no lifecycle rule of the bucket removes what the store keeps. Pass the store undecorated.

    Raises:
        UnsafeStoreError: a rule does; the message names it.
        UnavailableError, RefusedError: the rules could not be read.
    """
    if isinstance(store, HasLifecycle) and (rules := store.expiring_rules()):
        raise UnsafeStoreError(store, f"lifecycle rules of the bucket take objects away: {', '.join(rules)}")


def _check_rights(store: Store, key: str) -> None:
    """Check that everything that a worker does is let through, on a key that is there only if it may be removed."""
    missing: dict[str, RefusedError] = {}
    for right, ask in (
        ("delete", lambda: store.delete([key])),  # of what is not there
        ("get", lambda: _read(store, key)),
        ("list", lambda: _is_listed(store, key)),
    ):
        _try_right(right, ask, missing)
    if "delete" not in missing:
        _try_right("create", lambda: store.put(key, b"first", ABSENT), missing)
        if "create" not in missing:
            _try_right("overwrite", lambda: store.put(key, b"second", ALWAYS), missing)
    if missing:
        first = next(iter(missing.values()))
        raise RefusedError(f"the right to {', '.join(missing)} is missing: {first}") from first


def _try_right(right: str, ask: Callable[[], object], missing: dict[str, RefusedError]) -> None:
    try:
        ask()
    except RefusedError as error:
        missing[right] = error


def _check_delete(store: Store, key: str) -> None:
    store.put(key, b"first", ABSENT)
    store.delete([key])
    if _read(store, key) is not None or _is_listed(store, key):
        raise UnsafeStoreError(store, "it shows an object after a finished delete")


def _remove_left_over(store: Store, clock: Clock) -> None:
    """Remove what probes left that were cut off before they could clean up; one that goes on is younger."""
    old = [line.key for line in store.list(PREFIX) if clock() - _began_s(line.key) > LEFT_OVER_AGE_S]
    if old:
        store.delete(old)


def _began_s(key: str) -> float:
    began, _, _ = key.removeprefix(PREFIX).partition("-")
    return float(began) if began.isascii() and began.isdigit() else float("inf")


def _check_reads_and_lists(store: Store, key: str) -> None:
    if _read(store, key) is not None or _is_listed(store, key):
        raise UnsafeStoreError(store, "it shows an object that nobody wrote")
    store.put(key, b"first", ABSENT)
    if _read(store, key) != b"first":
        raise UnsafeStoreError(store, "a get after a finished put does not show it (a cached miss?)")
    sizes = [line.size for line in store.list(key) if line.key == key]
    if not sizes:
        raise UnsafeStoreError(store, "a list after a finished put does not show it")
    if sizes != [len(b"first")]:
        raise UnsafeStoreError(store, "a list does not say how many bytes a get gives")
    store.put(key, b"second", ALWAYS)
    if _read(store, key) != b"second":
        raise UnsafeStoreError(store, "a get after a finished put shows older bytes")


def _check_create_over_existing(store: Store, key: str) -> None:
    store.put(key, b"first", ABSENT)
    with suppress(PreconditionFailedError):
        store.put(key, b"second", ABSENT)
        raise UnsafeStoreError(
            store, "a conditional create of a key that exists succeeds: it ignores the condition"
        )
    if _read(store, key) != b"first":
        raise UnsafeStoreError(store, "a conditional create that failed changed the object")


def _check_race(store: Store, key: str) -> None:
    start = threading.Barrier(RACERS)
    bodies = [f"racer {number}".encode() for number in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as threads:
        outcomes: dict[bytes, _Won | UnavailableError] = dict(
            zip(bodies, threads.map(lambda body: _create(store, key, body, start), bodies), strict=True)
        )
    stored = _read(store, key)
    winners = [body for body, won in outcomes.items() if won is _Won.YES]
    unknown = {body: error for body, error in outcomes.items() if isinstance(error, UnavailableError)}
    possible = [*unknown]
    if len(winners) > 1:
        raise UnsafeStoreError(store, f"{len(winners)} of {RACERS} racing creates of one key succeeded")
    if stored is None and possible and not winners:
        error = unknown[possible[0]]
        raise UnavailableError(f"none of {RACERS} racing creates came through: {error}") from error
    if stored not in (winners or possible):
        raise UnsafeStoreError(
            store, "after racing creates of one key it keeps bytes of another than the winner"
        )


def _create(store: Store, key: str, body: bytes, start: threading.Barrier) -> _Won | UnavailableError:
    """Try a create; an error says that it is not known who won."""
    start.wait()
    try:
        store.put(key, body, ABSENT)
    except PreconditionFailedError:
        return _Won.NO
    except UnavailableError as error:
        return error
    return _Won.YES


def _read(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key, _BYTES_MAX).data
    except NotThereError:
        return None
    except ObjectTooLargeError as error:
        raise UnsafeStoreError(store, f"it shows an object that nobody wrote: {error}") from error


def _is_listed(store: Store, key: str) -> bool:
    return any(line.key == key for line in store.list(key))


class _Keys:
    def __init__(self, now_s: float) -> None:
        self._token = token_of_trial(now_s)
        self.given: list[str] = []

    def __call__(self, purpose: str) -> str:
        self.given.append(f"{PREFIX}{self._token}-{purpose}")
        return self.given[-1]


@contextmanager
def _keys(store: Store, clock: Clock) -> Iterator[_Keys]:
    """Give out keys that nobody else uses, and remove their objects in the end."""
    keys = _Keys(clock())
    try:
        yield keys
    finally:
        with suppress(StoreError):
            store.delete(keys.given)


def _read_verdicts(path: Path) -> dict[str, float]:
    """Return when which store was found safe; a file that makes no sense counts as none."""
    try:
        verdicts = read_json(read_regular(path))
        return {str(name): float(when) for name, when in verdicts.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_verdicts(path: Path, verdicts: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(f".{uuid.uuid4().hex}")
    written.write_text(json.dumps(verdicts))
    make_way(path)
    written.replace(path)
