"""How a store is reached: what every backend that speaks over a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Limits of the connections to a store.

    ``connections_max``: as many as threads that call the store, so that none waits for another's connection.
    ``connect_timeout_s``, ``read_timeout_s``: how long silence may last before the answer counts as lost;
    ``request_timeout_s``: how long a request may take in all, beside its body's 64 KiB a second, however it drips.
    Each request is tried once. ``spool_dir``: where bodies lie while they are sent in parts; None: the system's folder
    for temporary files, which may be in memory. ``begin``: make a folder that is not there.
    """

    connections_max: int = 32
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 20.0
    request_timeout_s: float = 30.0
    spool_dir: Path | None = None
    begin: bool = True
