"""Which rights of Redis a process needs, and which of them its user lacks: asked of the server, one by one, at a start.

Nothing is tried out: the server itself says what the user may do (``redis.acl_check_cmd``, since Redis 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memrepo.redis.errors import RIGHTS, MissingRightsError, meaning_of
from memrepo.redis.script import Script, ScriptRunner, lua

_REST = {
    **dict.fromkeys(("eval", "evalsha", "getrange", "hincrby", "hset", "lrange", "ltrim"), "0 0"),
    **dict.fromkeys(("zadd", "zrange", "zrangebyscore", "zremrangebyscore"), "0 0"),
    **dict.fromkeys(
        ("expire", "hdel", "hexists", "hget", "hmget", "hstrlen", "incrby", "lindex", "lpush"), "0"
    ),
    **dict.fromkeys(("publish", "rpush", "sadd", "set", "sismember", "srem", "zrem", "zscore"), "0"),
    "client|tracking": "on",
    "script|load": "0",
    "script|exists": "0",
}
"""What a call has after its key. Servers don't count the arguments here, and may crash where some are missing."""

_MISSING = Script(lua(__package__, "missing_rights"))


@dataclass(frozen=True, slots=True)
class Right:
    """One command, and what it is used on: ``~keys`` or ``&channels``, as ACL rules write it, or nothing."""

    command: str
    place: str = ""

    def __str__(self) -> str:
        """Write it for people."""
        command = self.command.upper().replace("|", " ")
        return f"{command} on {self.place[1:]}" if self.place else command

    @property
    def rule(self) -> tuple[str, ...]:
        """What ``ACL SETUSER`` takes to give it."""
        return (f"+{self.command}", *([self.place] if self.place else []))

    @property
    def call(self) -> str:
        """A call that needs it, with all its arguments."""
        place = self.place[1:].replace("*", "000")
        return " ".join((*self.command.split("|"), *place.split(), *_REST.get(self.command, "").split()))


def rights(place: str, commands: str) -> tuple[Right, ...]:
    """Return the rights to several commands on the same keys or channels."""
    return tuple(Right(command, place) for command in commands.split())


SCRIPTS = rights("", "eval evalsha")
"""What is needed to ask for the others."""


def require_rights(client: ScriptRunner, needed: Sequence[Right], username: str | None) -> None:
    """Ask a server whether its user has all rights that are needed.

    Raises:
        MissingRightsError: some are missing; it names them, and what would give them.
        redis.RedisError: the server does not answer.
    """
    missing = missing_rights(client, needed, username)
    if missing:
        raise MissingRightsError(_told(missing, username))


def missing_rights(client: ScriptRunner, needed: Sequence[Right], username: str | None) -> list[Right]:
    """Ask a server which of these rights its user lacks.

    Raises:
        MissingRightsError: its user may not even be asked about.
        redis.RedisError: the server does not answer.
    """
    try:
        return [needed[number - 1] for number in _MISSING.run(client, [], [one.call for one in needed])]
    except Exception as error:
        if meaning_of(error).is_(RIGHTS):
            raise MissingRightsError(_told(SCRIPTS, username)) from error
        raise


def rules(needed: Sequence[Right]) -> str:
    """Return what ``ACL SETUSER`` takes to give these rights."""
    return " ".join(dict.fromkeys(_rules(needed)))


def _rules(needed: Sequence[Right]) -> Iterator[str]:
    for one in needed:
        yield from one.rule


def _told(missing: Sequence[Right], username: str | None) -> str:
    names = ", ".join(map(str, missing))
    return f"{names} (to give it: ACL SETUSER {username or 'default'} {rules(missing)})"
