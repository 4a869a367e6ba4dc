"""A Lua script: one step inside Redis that nobody can see half of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Protocol, TypeAlias

from redis.exceptions import NoScriptError

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
        try:
            return client.evalsha(self.digest, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self.source, len(keys), *keys, *args)


OWNED = """
local function owned(owners, shard, token)
    local owner = redis.call('HGET', owners, shard)
    return owner and string.sub(owner, 1, #token + 1) == token .. ' '
end
"""
"""The fence: whether a token is the present owner's. Put before the scripts that need it."""
