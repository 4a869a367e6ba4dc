"""The sizes that memrepo accepts. Producer and worker each hold their own and both check."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of a request; each is a setting (``MEMREPO_`` + the field's name in capitals)."""

    path_bytes_max: int = 4096
    component_bytes_max: int = 255
    path_depth_max: int = 128
    file_bytes_max: int = 8 * MIB
    request_bytes_max: int = 32 * MIB
    message_bytes_max: int = 64 * KIB
    changes_max: int = 1000
