"""A Lua script: one step inside Redis that nobody can see half of, kept as a file in ``lua/`` beside its module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from typing import Any, Protocol, TypeAlias

Argument = bytes | str | int | float

Answer: TypeAlias = Any
"""What a script returns: bytes, numbers, None, lists of them. Whoever runs one knows its form."""


class ScriptRunner(Protocol):
    """What a script needs of a client."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Argument) -> Answer:
        """Run a script that the server knows."""
        ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Argument) -> Answer:
        """Run a script and make the server know it."""
        ...


@dataclass(frozen=True)
class Script:
    """A Lua script, sent by its digest; it is loaded where the server does not know it."""

    source: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)

    def run(self, client: ScriptRunner, keys: Sequence[Argument], args: Sequence[Argument]) -> Answer:
        """Run it in one round trip (two when the server has forgotten it) and return Redis' answer."""
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - a client that sends nothing loads no library

        try:
            return client.evalsha(self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self.source, len(keys), *keys, *args)


def lua(package: str, name: str) -> str:
    """Return the source of a script: the file ``lua/NAME.lua`` of a package."""
    return (files(package) / "lua" / f"{name}.lua").read_text()
