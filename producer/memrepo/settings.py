"""The producer's settings: the only place of ``memrepo`` that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from memrepo.cells import CELLS_SETTING, Cell, cell_named, masked_cells, parse_cells
from memrepo.errors import InvalidRequestError
from memrepo.lazy import lazy_property
from memrepo.limits import MIB, PORTABLE_NAMES, RESULT_KEPT_S, Limits
from memrepo.redis.address import RedisUrl, masked, parse_redis_url
from memrepo.routing import SHARDS_DEFAULT

BROKER_URL_DEFAULT = "redis://127.0.0.1:6379/0"

BODIES_BYTES_MAX_DEFAULT = 512 * MIB
"""What large requests and results may take on the broker, all together."""

MANY = 2**53
"""The most of what has no other bound: Redis' scripts count exactly up to there."""

Durability = Literal["memory", "disk", "replica"]
"""``memory``: the broker has it. ``disk``: it is in its append-only file, flushed. ``replica``: a replica has it, too:
that promises a copy, and not that every failover finds it."""

DURABILITIES: Sequence[Durability] = ("memory", "disk", "replica")
DURABILITY_SETTING = "MEMREPO_ENQUEUE_DURABILITY"

_DAY_S = 86_400
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "shards": (1, 100_000),
    "connect_timeout_s": (0.001, _DAY_S),
    "enqueue_timeout_s": (0.001, _DAY_S),
    "result_expires_s": (1, MANY),
    "poll_interval_s": (0.001, _DAY_S),
    "agent_depth_max": (0, MANY),
    "shard_depth_max": (0, MANY),
    "resend_after_s": (0, 365 * _DAY_S),
    "bodies_bytes_max": (1, MANY),
}
"""The least and the most of each number; those of the limits are 1 and ``MANY``."""

Number = TypeVar("Number", int, float)
Choice = TypeVar("Choice", bound=str)


def environment() -> Mapping[str, str]:
    """Return the process environment: the one door for ``memrepo``."""
    return os.environ  # noqa: TID251 - this is the door


class Addresses:
    """Where requests go and results are kept, by the settings of producers and workers alike.

    ``cells`` lists several Redis (see ``memrepo.cells``); then the two addresses mean nothing until one of them is
    chosen, whose name is ``cell``.
    """

    broker_url: str
    result_url: str
    cells: str
    cell: str

    def settle_addresses(self) -> None:
        """Have results kept at the broker, unless it is said where.

        Raises:
            InvalidRequestError: an address is not Redis', or stands beside a list of several; it names which.
        """
        if self.result_url == "":  # what is no text is refused below
            object.__setattr__(self, "result_url", self.broker_url)  # a frozen dataclass that is being made
        if self.each_cell and not self.cell:
            _refuse_others_beside_cells(self.broker_url, self.result_url)
        else:
            _ = self.broker, self.results
        if self.cell:
            cell_named(self.each_cell, self.cell)

    @lazy_property
    def broker(self) -> RedisUrl:
        """Where requests are.

        Raises:
            InvalidRequestError: that depends on the agent, as there are several cells and none is chosen.
        """
        require_cell(self.cells, self.cell)
        return parse_redis_url(self.broker_url, "MEMREPO_BROKER_URL")

    @lazy_property
    def results(self) -> RedisUrl:
        """Where results are kept; as ``broker``."""
        require_cell(self.cells, self.cell)
        return parse_redis_url(self.result_url, "MEMREPO_RESULT_URL")

    @lazy_property
    def each_cell(self) -> Mapping[str, Cell]:
        """The cells by name, in its order; none where there is one Redis without a name."""
        return parse_cells(self.cells)


@dataclass(frozen=True, repr=False)
class Settings(Addresses):
    """How a producer reaches the queue and what it lets through. Durations are in seconds."""

    broker_url: str = BROKER_URL_DEFAULT
    result_url: str = ""  # the broker's
    shards: int = SHARDS_DEFAULT
    connect_timeout_s: float = 2.0
    enqueue_timeout_s: float = 4.0
    result_expires_s: int = RESULT_KEPT_S
    poll_interval_s: float = 1.0
    agent_depth_max: int = 2_500
    shard_depth_max: int = 10_000
    resend_after_s: float = 30.0
    bodies_bytes_max: int = BODIES_BYTES_MAX_DEFAULT
    enqueue_durability: Durability = "memory"
    cells: str = field(default="", repr=False)
    cell: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse an address of something else than Redis, and numbers that make no sense; the error names which."""
        self.settle_addresses()
        if self.enqueue_durability not in DURABILITIES:
            raise _no_choice(DURABILITY_SETTING, self.enqueue_durability, DURABILITIES)
        for name, (least, most) in _BOUNDS.items():
            is_whole = isinstance(getattr(Settings, name), int)
            check_range(f"MEMREPO_{name.upper()}", getattr(self, name), least, most, is_whole=is_whole)
        check_limits(self.limits)

    def __repr__(self) -> str:
        """Write the settings without their passwords."""
        return f"Settings({', '.join(f'{name}={value}' for name, value in shown(self).items())})"

    def of_cell(self, name: str) -> Settings:
        """Return the settings for one of the cells."""
        one = cell_named(self.each_cell, name)
        return replace(self, broker_url=one.broker_url, result_url=one.result_url, cell=name)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read ``MEMREPO_…`` variables; what is not set keeps its default.

        Raises:
            InvalidRequestError: a variable is not a number where one is needed; the message names it.
        """
        env = environment() if env is None else env
        broker_url = text_of(env, "MEMREPO_BROKER_URL") or BROKER_URL_DEFAULT
        cells = text_of(env, CELLS_SETTING)
        numbers: dict[str, Any] = {
            item.name: number(env, f"MEMREPO_{item.name.upper()}", item.default)
            for item in fields(cls)
            if isinstance(item.default, int | float)
        }
        return cls(
            broker_url=broker_url,
            result_url=text_of(env, "MEMREPO_RESULT_URL"),
            limits=limits_from_env(env),
            enqueue_durability=choice(env, DURABILITY_SETTING, DURABILITIES, "memory"),
            cells=cells,
            **numbers,
        )

    def at(self, broker_url: str | None, result_url: str | None) -> Settings:
        """Return these settings with other addresses; results are kept at a new broker unless told otherwise.

        A new broker stands in place of all cells.
        """
        if not broker_url:
            return replace(self, result_url=result_url or self.result_url)
        return replace(self, broker_url=broker_url, result_url=result_url or broker_url, cells="", cell="")


def require_cell(cells: str, cell: str) -> None:
    """Check that one of several cells is chosen, where there are cells.

    Raises:
        InvalidRequestError: none is.
    """
    if cells and not cell:
        names = ", ".join(parse_cells(cells))
        raise InvalidRequestError.of("MEMREPO_CELL", f"is not set: say which of the cells is meant, {names}")


def _refuse_others_beside_cells(broker_url: str, result_url: str) -> None:
    """Refuse one address beside a list of several.

    Raises:
        InvalidRequestError: naming the setting.
    """
    for name, url in (("MEMREPO_BROKER_URL", broker_url), ("MEMREPO_RESULT_URL", result_url)):
        if url != BROKER_URL_DEFAULT:
            raise InvalidRequestError.of(
                name, f"is set beside {CELLS_SETTING}, which says it for each cell: unset one of them"
            )


def limits_from_env(env: Mapping[str, str]) -> Limits:
    """Read the limits, e.g. ``MEMREPO_FILE_BYTES_MAX``."""
    default = Limits()
    sizes: dict[str, Any] = {
        item.name: number(env, f"MEMREPO_{item.name.upper()}", getattr(default, item.name))
        for item in fields(Limits)
        if item.name != "portable_names"
    }
    names = choice(env, "MEMREPO_PORTABLE_NAMES", PORTABLE_NAMES, default.portable_names)
    return Limits(**sizes, portable_names=names)


def choice(env: Mapping[str, str], name: str, choices: Sequence[Choice], default: Choice) -> Choice:
    """Return a variable that is one of some words."""
    text = text_of(env, name).lower()
    for one in choices:
        if text == one:
            return one
    if text:
        raise _no_choice(name, text, choices)
    return default


def _no_choice(name: str, text: str, choices: Sequence[str]) -> InvalidRequestError:
    return InvalidRequestError.of(name, f"is {text!r}: it must be one of {', '.join(choices)}")


def check_limits(limits: Limits) -> None:
    """Check that every size is above nothing."""
    for name, value in asdict(limits).items():
        if name != "portable_names":
            check_range(f"MEMREPO_{name.upper()}", value, 1, MANY, is_whole=True)


def text_of(env: Mapping[str, str], name: str) -> str:
    """Return a variable without the blanks around it: files that hold secrets end in a line break."""
    return env.get(name, "").strip()


def number(env: Mapping[str, str], name: str, default: Number) -> Number:
    """Return a variable as a non-negative number of the default's type."""
    text = text_of(env, name)
    if not text:
        return default
    try:
        value = type(default)(text)
    except ValueError:
        raise InvalidRequestError.of(name, f"{text!r} is not a number") from None
    if value < 0:
        raise InvalidRequestError.of(name, "must not be negative")
    return value


def check_range(name: str, value: object, least: float, most: float, *, is_whole: bool = False) -> None:
    """Check that a setting's number is within its bounds, which may themselves be had, and is whole where it must be.

    Raises:
        InvalidRequestError: it is not, or is no number at all.
    """
    if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
        kind = "int" if is_whole else "a number"
        raise InvalidRequestError.of(name, f"must be {kind}, not {type(value).__name__}")
    if not least <= value <= most:  # false of nan, too
        bounds = f"from {least:g} to 2^53" if most == MANY else f"between {least:g} and {most:g}"
        raise InvalidRequestError.of(name, f"must be {bounds}")


def show_cells(values: dict[str, str], cells: str) -> None:
    """In settings that are shown, put the cells, where there are several, in place of one address; no passwords."""
    if cells:
        del values["broker_url"], values["result_url"]
        values["cells"] = masked_cells(cells)


def shown(settings: Settings) -> dict[str, str]:
    """Return the settings as variables of the environment, passwords masked."""
    plain = {
        item.name: masked(str(getattr(settings, item.name)))
        for item in fields(settings)
        if item.name not in ("limits", "cell")
    }
    show_cells(plain, settings.cells)
    plain |= {name: str(value) for name, value in asdict(settings.limits).items()}
    return {f"MEMREPO_{name.upper()}": value for name, value in plain.items()}
