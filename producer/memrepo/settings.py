"""The producer's settings: the only place of ``memrepo`` that reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from memrepo.errors import InvalidRequestError
from memrepo.limits import MIB, Limits
from memrepo.routing import SHARDS_DEFAULT

BROKER_URL_DEFAULT = "redis://127.0.0.1:6379/0"

BODIES_BYTES_MAX_DEFAULT = 512 * MIB
"""What large requests and results may take on the broker, all together."""

URL_SCHEMES = ("redis://", "rediss://", "redis+socket://")

Number = TypeVar("Number", int, float)


def environment() -> Mapping[str, str]:
    """Return the process environment: the one door for ``memrepo``."""
    return os.environ  # noqa: TID251 - this is the door


@dataclass(frozen=True)
class Settings:
    """How a producer reaches the queue and what it lets through. Durations are in seconds."""

    broker_url: str = BROKER_URL_DEFAULT
    result_url: str = BROKER_URL_DEFAULT
    shards: int = SHARDS_DEFAULT
    connect_timeout_s: float = 2.0
    enqueue_timeout_s: float = 4.0
    result_expires_s: int = 3600
    poll_interval_s: float = 1.0
    max_queue_depth: int = 10_000
    resend_after_s: float = 30.0
    bodies_bytes_max: int = BODIES_BYTES_MAX_DEFAULT
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse an address of something else than Redis, and timeouts of nothing."""
        check_url(self.broker_url, "MEMREPO_BROKER_URL")
        check_url(self.result_url, "MEMREPO_RESULT_URL")
        for name in (
            "shards",
            "connect_timeout_s",
            "enqueue_timeout_s",
            "result_expires_s",
            "poll_interval_s",
        ):
            if not getattr(self, name) > 0:
                raise InvalidRequestError.of(f"MEMREPO_{name.upper()}", "must be above 0")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read ``MEMREPO_…`` variables; what is not set keeps its default.

        Raises:
            InvalidRequestError: a variable is not a number where one is needed; the message names it.
        """
        env = environment() if env is None else env
        broker_url = env.get("MEMREPO_BROKER_URL") or BROKER_URL_DEFAULT
        numbers: dict[str, Any] = {
            item.name: number(env, f"MEMREPO_{item.name.upper()}", item.default)
            for item in fields(cls)
            if isinstance(item.default, int | float)
        }
        result_url = env.get("MEMREPO_RESULT_URL") or broker_url
        return cls(broker_url=broker_url, result_url=result_url, limits=limits_from_env(env), **numbers)

    def at(self, broker_url: str | None, result_url: str | None) -> Settings:
        """Return these settings with other addresses; results are kept at a new broker unless told otherwise."""
        broker = broker_url or self.broker_url
        return replace(
            self, broker_url=broker, result_url=result_url or (broker if broker_url else self.result_url)
        )


def limits_from_env(env: Mapping[str, str]) -> Limits:
    """Read the limits, e.g. ``MEMREPO_FILE_BYTES_MAX``."""
    default = Limits()
    return Limits(
        **{
            item.name: number(env, f"MEMREPO_{item.name.upper()}", getattr(default, item.name))
            for item in fields(Limits)
        }
    )


def number(env: Mapping[str, str], name: str, default: Number) -> Number:
    """Return a variable as a non-negative number of the default's type."""
    text = env.get(name)
    if not text:
        return default
    try:
        value = type(default)(text)
    except ValueError:
        raise InvalidRequestError.of(name, f"{text!r} is not a number") from None
    if value < 0:
        raise InvalidRequestError.of(name, "must not be negative")
    return value


def check_url(url: str, field: str) -> None:
    """Check that an address names a Redis-compatible server.

    Raises:
        InvalidRequestError: it does not; the message shows the address without its password.
    """
    if not url.startswith(URL_SCHEMES):
        raise InvalidRequestError.of(field, f"{masked(url)} does not begin with {', '.join(URL_SCHEMES)}")
    try:
        urlsplit(url).port  # noqa: B018 - reading it checks it
    except ValueError:
        raise InvalidRequestError.of(field, f"{masked(url)} has no port that is a number") from None


def masked(url: str) -> str:
    """Return a URL with its password, and secrets in its query, replaced by ``***``."""
    without_password = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", r"\1***", without_password)


def shown(settings: Settings) -> dict[str, str]:
    """Return the settings as variables of the environment, passwords masked."""
    plain = {item.name: getattr(settings, item.name) for item in fields(settings) if item.name != "limits"}
    plain |= asdict(settings.limits)
    return {f"MEMREPO_{name.upper()}": masked(str(value)) for name, value in plain.items()}
