"""The worker's settings: the only place of ``memrepo_worker`` that reads the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from memrepo.limits import MIB, Limits
from memrepo.routing import SHARDS_DEFAULT
from memrepo.settings import (
    BODIES_BYTES_MAX_DEFAULT,
    BROKER_URL_DEFAULT,
    environment,
    limits_from_env,
    number,
)

SECRETS = frozenset({"flower_basic_auth"})
"""Fields that are never shown; passwords inside URLs are masked besides."""


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker reaches queue and store, and how much it takes on.

    Each field is read from ``MEMREPO_`` + its name in capitals. Durations are in seconds, sizes in bytes.
    """

    broker_url: str = BROKER_URL_DEFAULT
    result_url: str = BROKER_URL_DEFAULT
    store_url: str = ""
    cache_dir: Path = Path("memrepo-data/cache")
    shards: int = SHARDS_DEFAULT
    concurrency: int = 16
    result_expires_s: int = 3600
    soft_shutdown_timeout_s: float = 15.0
    lease_s: float = 8.0
    group_requests_max: int = 128
    group_bytes_max: int = 32 * MIB
    parked_bytes_max: int = 256 * MIB
    bodies_bytes_max: int = BODIES_BYTES_MAX_DEFAULT
    result_body_expires_s: int = 300
    flower_port: int = 5555
    flower_basic_auth: str = field(default="", repr=False)
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> WorkerSettings:
        """Read ``MEMREPO_…`` variables; what is not set keeps its default.

        Raises:
            InvalidRequestError: a variable is not a number where one is needed; the message names it.
        """
        env = environment() if env is None else env
        values: dict[str, Any] = {
            item.name: _value(env, f"MEMREPO_{item.name.upper()}", getattr(cls, item.name))
            for item in fields(cls)
            if item.name != "limits"
        }
        if not env.get("MEMREPO_RESULT_URL"):
            values["result_url"] = values["broker_url"]
        return cls(limits=limits_from_env(env), **values)


def _value(env: Mapping[str, str], name: str, default: str | Path | float) -> str | Path | float:
    if isinstance(default, (int, float)):
        return number(env, name, default)
    text = env.get(name)
    return type(default)(text) if text else default
