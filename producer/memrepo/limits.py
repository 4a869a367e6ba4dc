"""The sizes and names that memrepo accepts. Producer and worker each hold their own and both check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KIB = 1024
MIB = 1024 * KIB

HORIZON_S = 24 * 3600
"""How old a request may be when it is executed, and for how long it is known what became of it."""


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
