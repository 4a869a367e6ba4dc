"""The sizes and names that memrepo accepts, which producer and worker both check; and how long things are kept.

All lifetimes follow from one, the horizon. A message that is older is not executed, so what it needs need not live
longer; and what says that it was executed, or must not be, outlives every message that may still name it, whoever's
clock is wrong by a horizon: a retry at the horizon's end may be delivered again at its own. docs/operations.md
("Lifetimes") has them as a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KIB = 1024
MIB = 1024 * KIB

HORIZON_S = 24 * 3600
"""How old a request may be when it is executed, by the worker's clock; older ones are refused as expired."""

KEPT_HORIZONS = 2
"""How many horizons it is known of a request that it was settled, begun or cancelled."""

REQUEST_KEPT_S = HORIZON_S
"""Of a large request's body at the broker: as long as a request may wait. It goes when the request is settled."""

RECORD_KEPT_S = KEPT_HORIZONS * HORIZON_S
"""Of a job's record while it says "started", "waiting for the store" or "cancelled"; and of the mark of a write that
has ended. Ledger lines in the store are kept as long, by ``KEPT_HORIZONS``."""

RESULT_KEPT_S = 3600
"""Of a result that lies in its job's record, if ``MEMREPO_RESULT_EXPIRES_S`` says nothing else."""

LARGE_RESULT_KEPT_S = 300
"""Of a result that lies beside it, if ``MEMREPO_RESULT_BODY_EXPIRES_S`` says nothing else."""

FETCHED_KEPT_S = 60
"""Of such a result once it was fetched, for others who know its id."""

MARKS_SPAN_S = 1800
"""How long one set of marks of ended writes is filled: it lives for ``RECORD_KEPT_S`` after its last."""

PortableNames = Literal["everywhere", "posix"]
"""Where the names of files must be storable: on Windows too, or on Linux and macOS alone."""

PORTABLE_NAMES: tuple[PortableNames, ...] = ("everywhere", "posix")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold; each is a setting (``MEMREPO_`` + the field's name in capitals).

    The sizes are upper bounds. ``portable_names`` says which names are taken; all that use one broker have the same.
    """

    path_bytes_max: int = 4096
    component_bytes_max: int = 255
    path_depth_max: int = 128
    file_bytes_max: int = 8 * MIB
    request_bytes_max: int = 32 * MIB
    message_bytes_max: int = 64 * KIB
    changes_max: int = 1000
    portable_names: PortableNames = "everywhere"

    def __post_init__(self) -> None:
        """Refuse a rule for names that there is not."""
        if self.portable_names not in PORTABLE_NAMES:
            raise ValueError(f"portable_names must be one of {', '.join(PORTABLE_NAMES)}")
