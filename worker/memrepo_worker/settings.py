"""The worker's settings: the only place of ``memrepo_worker`` that reads the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from memrepo.cells import cell_named
from memrepo.errors import InvalidRequestError
from memrepo.limits import LARGE_RESULT_KEPT_S, MIB, RESULT_KEPT_S, Limits
from memrepo.redis.address import masked
from memrepo.routing import SHARDS_DEFAULT
from memrepo.settings import (
    BODIES_BYTES_MAX_DEFAULT,
    BROKER_URL_DEFAULT,
    MANY,
    Addresses,
    check_limits,
    check_range,
    environment,
    limits_from_env,
    number,
    show_cells,
    text_of,
)
from memrepo_worker.bounds import Bounds, CacheLimits
from memrepo_worker.git.bounds import GitCaps
from memrepo_worker.logs import FORMATS, LEVELS, Format, LogOptions

SECRETS = frozenset({"flower_basic_auth"})
"""Fields that are never shown; passwords inside URLs are masked besides."""

_SPACE = re.compile(r"[\s\x00-\x1f\x7f]")
_OFF = "off"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "cache_repos_max": (1, MANY),
    "cache_bytes_max": (1, MANY),
    "cache_memory_bytes_max": (1, MANY),
    "shards": (1, 100_000),
    "concurrency": (1, 10_000),
    "result_expires_s": (1, MANY),
    "soft_shutdown_timeout_s": (0, 86_400),
    "lease_s": (0.1, 3600),
    "tip_proof_s": (0, 86_400),
    "journal_check_s": (0, MANY),
    "group_requests_max": (1, MANY),
    "group_bytes_max": (1, MANY),
    "parked_bytes_max": (1, MANY),
    "bodies_bytes_max": (1, MANY),
    "result_body_expires_s": (1, MANY),
    "turn_time_s": (0.01, 3600),
    "turn_results_bytes_max": (1, MANY),
    "walk_entries_max": (1, MANY),
    "compared_bytes_max": (1, MANY),
    "edited_bytes_max": (1, MANY),
    "fork_bytes_max": (1, MANY),
    "hanging_turns_max": (0, 10_000),
    "cold_open_bytes_max": (1, MANY),
    "entry_bytes_max": (256 * MIB, MANY),
    "agent_results_bytes_max": (1, MANY),
    "foreign_allocation_bytes_max": (MIB, MANY),
    "foreign_cpu_s_max": (1, MANY),
    "foreign_unpacked_bytes_max": (MIB, MANY),
    "metrics_port": (0, 65_535),
    "flower_port": (0, 65_535),
}
"""The least and the most of each number."""

TIP_PROOF_IN_CELLS_S = 30.0
"""How old the proof of a tip may be where a memory may have moved here from another cell."""

_OFF_BY_DEFAULT: Mapping[str, type[float] | type[int]] = {
    "MEMREPO_TIP_PROOF_S": float,
    "MEMREPO_METRICS_PORT": int,
}
"""The numbers that may be off."""


@dataclass(frozen=True)
class WorkerSettings(Addresses):
    """How a worker reaches queue and store, how much it takes on, and what it tells.

    Each field is read from ``MEMREPO_`` + its name in capitals. Durations are in seconds, sizes in bytes; None is
    ``off``. Where ``cells`` are listed, a process serves one of them, ``cell``; broker and results are that one's then,
    and nobody's until it is named.
    """

    broker_url: str = field(default=BROKER_URL_DEFAULT, repr=False)
    result_url: str = field(default="", repr=False)  # the broker's
    store_url: str = field(default="", repr=False)
    cache_dir: Path = Path("memrepo-data/cache")
    cache_repos_max: int = CacheLimits.repos_max
    cache_bytes_max: int = CacheLimits.disk_bytes_max
    cache_memory_bytes_max: int = CacheLimits.memory_bytes_max
    shards: int = SHARDS_DEFAULT
    concurrency: int = 16
    result_expires_s: int = RESULT_KEPT_S
    soft_shutdown_timeout_s: float = 15.0
    lease_s: float = 8.0
    tip_proof_s: float | None = None
    journal_check_s: float = 300.0
    group_requests_max: int = 128
    group_bytes_max: int = 32 * MIB
    parked_bytes_max: int = 256 * MIB
    bodies_bytes_max: int = BODIES_BYTES_MAX_DEFAULT
    result_body_expires_s: int = LARGE_RESULT_KEPT_S
    turn_time_s: float = Bounds().turn_time_s
    turn_results_bytes_max: int = Bounds().turn_results_bytes_max
    walk_entries_max: int = Bounds().walk_entries_max
    compared_bytes_max: int = Bounds().compared_bytes_max
    edited_bytes_max: int = Bounds().edited_bytes_max
    fork_bytes_max: int = Bounds().fork_bytes_max
    hanging_turns_max: int = Bounds().hanging_turns_max
    cold_open_bytes_max: int = Bounds().cold_open_bytes_max
    entry_bytes_max: int = Bounds().entry_bytes_max
    agent_results_bytes_max: int = Bounds().agent_results_bytes_max
    foreign_allocation_bytes_max: int = GitCaps.allocation_bytes_max
    foreign_cpu_s_max: int = GitCaps.cpu_s_max
    foreign_unpacked_bytes_max: int = GitCaps.unpacked_bytes_max
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    fold: bool = True
    flower_port: int = 5555
    flower_basic_auth: str = field(default="", repr=False)
    log_level: str = "INFO"
    log_format: str = "text"
    log_requests: bool = False
    cells: str = field(default="", repr=False)
    cell: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what no worker can work with; the message names the variable."""
        self.settle_addresses()
        if _SPACE.search(self.store_url):
            raise _wrong("store_url", "has white space in it: remove it, or write it as %20")
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None:
                check_range(f"MEMREPO_{name.upper()}", value, least, most)
        check_limits(self.limits)
        _check_choice("log_level", self.log_level, LEVELS)
        _check_choice("log_format", self.log_format, FORMATS)

    def of_cell(self, name: str) -> WorkerSettings:
        """Return the settings for one of the cells."""
        one = cell_named(self.each_cell, name)
        return replace(self, broker_url=one.broker_url, result_url=one.result_url, cell=name)

    def of_each_cell(self) -> Sequence[WorkerSettings]:
        """Return the settings for the cell that is chosen, for each of them if none is, or these if there are none."""
        return [self.of_cell(name) for name in self.each_cell if not self.cell] or [self]

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> WorkerSettings:
        """Read ``MEMREPO_…`` variables; what is not set keeps its default.

        Raises:
            InvalidRequestError: a variable makes no sense; the message names it.
        """
        env = environment() if env is None else env
        values: dict[str, Any] = {
            item.name: _value(env, f"MEMREPO_{item.name.upper()}", getattr(cls, item.name))
            for item in fields(cls)
            if item.name != "limits"
        }
        values["log_level"] = values["log_level"].upper()
        values["log_format"] = values["log_format"].lower()
        if values["cells"] and not text_of(env, "MEMREPO_TIP_PROOF_S"):
            values["tip_proof_s"] = TIP_PROOF_IN_CELLS_S
        cell = values.pop("cell")
        settings = cls(limits=limits_from_env(env), **values)
        return settings.of_cell(cell) if cell else settings

    @property
    def log(self) -> LogOptions:
        """How much the worker tells, and in which form."""
        return LogOptions(self.log_level, cast("Format", self.log_format), self.log_requests)

    @property
    def bounds(self) -> Bounds:
        """What a turn may take."""
        return Bounds(
            turn_time_s=self.turn_time_s,
            turn_results_bytes_max=self.turn_results_bytes_max,
            walk_entries_max=self.walk_entries_max,
            compared_bytes_max=self.compared_bytes_max,
            edited_bytes_max=self.edited_bytes_max,
            fork_bytes_max=self.fork_bytes_max,
            hanging_turns_max=self.hanging_turns_max,
            cold_open_bytes_max=self.cold_open_bytes_max,
            entry_bytes_max=self.entry_bytes_max,
            agent_results_bytes_max=self.agent_results_bytes_max,
        )

    @property
    def cache_limits(self) -> CacheLimits:
        """How much of warm repositories is kept."""
        return CacheLimits(self.cache_repos_max, self.cache_bytes_max, self.cache_memory_bytes_max)

    @property
    def git_caps(self) -> GitCaps:
        """What git may take on bytes that others wrote."""
        return GitCaps(
            self.foreign_allocation_bytes_max,
            self.foreign_cpu_s_max,
            self.foreign_unpacked_bytes_max,
            self.limits.file_bytes_max,
            self.entry_bytes_max,
        )


def shown(settings: WorkerSettings) -> dict[str, str]:
    """Return the settings as variables of the environment, secrets masked."""
    plain = {item.name: getattr(settings, item.name) for item in fields(settings) if item.name != "limits"}
    plain |= {name: "***" for name in SECRETS if plain[name]}
    plain |= asdict(settings.limits)
    values = {name: _shown(value) for name, value in plain.items()}
    show_cells(values, settings.cells)
    return {f"MEMREPO_{name.upper()}": value for name, value in values.items()}


def _shown(value: object) -> str:
    if value is None:
        return _OFF
    return str(int(value)) if isinstance(value, bool) else masked(str(value))


def _value(
    env: Mapping[str, str], name: str, default: str | Path | float | None
) -> str | Path | float | None:
    if default is None:
        off = text_of(env, name).lower() in ("", _OFF)
        return None if off else number(env, name, _OFF_BY_DEFAULT[name]())
    if isinstance(default, bool):
        return _flag(env, name, default=default)
    if isinstance(default, (int, float)):
        return number(env, name, default)
    text = text_of(env, name)
    return type(default)(text) if text else default


def _flag(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = text_of(env, name).lower()
    if text and text not in (*_YES, *_NO):
        raise InvalidRequestError.of(name, f"is none of {', '.join((*_YES, *_NO))}")
    return text in _YES if text else default


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise _wrong(name, f"is {value!r}: it must be one of {', '.join(choices)}")


def _wrong(name: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError.of(f"MEMREPO_{name.upper()}", reason)
