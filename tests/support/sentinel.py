"""Two real data nodes, one a replica of the other, and three real Sentinels that watch them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.support.ports import LOOPBACK, answers, free_port
from tests.support.started import started
from tests.support.valkey import NO_RETRY, SERVER, Valkey, valkey
from tests.support.waiting import wait_for

NAME = "main"
DOWN_AFTER_MS = 1000
"""How long a server may be silent before its Sentinels call it down."""


@dataclass
class Watched:
    """The servers; which of the nodes is the primary changes."""

    nodes: Sequence[Valkey]
    sentinel_ports: Sequence[int]
    login: str = ""

    @property
    def url(self) -> str:
        """Their address, database 0."""
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in self.sentinel_ports)
        return f"sentinel://{self.login}{hosts}/{NAME}/0"

    @property
    def primary(self) -> Valkey:
        """The primary, as the Sentinels say now."""
        port = self.primary_port()
        return next(node for node in self.nodes if node.port == port)

    def primary_port(self) -> int | None:
        """Return the primary's port if all Sentinels that answer agree on it."""
        said = {found for port in self.sentinel_ports if (found := _primary_by(port)) is not None}
        return said.pop() if len(said) == 1 else None

    def fail_over(self, *, coordinated: bool = True) -> None:
        """Have the Sentinels make the other node the primary, and wait until the former one has become its replica.

        Not ``coordinated``, as where Sentinels are not of Valkey 9, the former primary goes on for some ten seconds as
        if it still were one; what it was told then is lost.
        """
        former = self.primary
        how = ["COORDINATED"] if coordinated else []
        wait_for(lambda: self._ask_for_failover(how), "a Sentinel to begin the failover")
        wait_for(lambda: self.primary_port() not in (former.port, None), "the other to be the primary", 30)
        wait_for(lambda: _role(former) == "slave", "the former primary to be a replica", 60)

    def kill_primary(self) -> Valkey:
        """End the primary as a crash would; return it once the other node is the primary, for ``bring_back``."""
        dead = self.primary
        dead.kill()
        wait_for(lambda: self.primary_port() not in (dead.port, None), "the other node to be the primary", 60)
        return dead

    def bring_back(self, dead: Valkey) -> None:
        """Start a node that was killed as a replica; its Sentinels would make it one, too, ten seconds later."""
        dead.start()
        with dead.client() as client:
            client.replicaof(LOOPBACK, str(self.primary.port))

    def wait_until_followed(self) -> None:
        """Wait until the primary has its replica again, with all that was written: another failover may come."""
        wait_for(self._is_followed, "the replica to follow", 60)

    def _ask_for_failover(self, how: Sequence[str]) -> bool:
        with suppress(redis.RedisError), _client(self.sentinel_ports[0]) as sentinel:
            return bool(sentinel.execute_command("SENTINEL", "FAILOVER", NAME, *how))
        return False

    def _is_followed(self) -> bool:
        with suppress(redis.RedisError, StopIteration), self.primary.client() as client:
            about = client.info("replication")
            follower = about.get("slave0", {})
            behind = int(about["master_repl_offset"]) - int(follower.get("offset", 0))
            return bool(follower.get("state") == "online" and behind < 1000)
        return False


def _client(port: int) -> redis.Redis:
    return redis.Redis(LOOPBACK, port, decode_responses=True, socket_timeout=5, retry=NO_RETRY)


def _role(node: Valkey) -> str:
    with suppress(redis.RedisError), node.client() as client:
        return str(client.role()[0])
    return ""


def _primary_by(sentinel_port: int) -> int | None:
    with suppress(redis.RedisError), _client(sentinel_port) as sentinel:
        found = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return None if found is None else int(found[1])
    return None


@contextmanager
def watched(folder: Path, *options: str) -> Iterator[Watched]:
    """Run them until the block ends; ``options`` are of both data nodes."""
    with ExitStack() as stack:
        first = stack.enter_context(valkey(folder / "first", "everysec", *_DATA, *options))
        following = ("--replicaof", f"{LOOPBACK} {first.port}")
        second = stack.enter_context(valkey(folder / "second", "everysec", *_DATA, *options, *following))
        with first.client() as client:
            wait_for(lambda: client.info("replication")["connected_slaves"] == 1, "the replica to follow")
        ports = [
            stack.enter_context(sentinel(folder / f"sentinel-{number}", first.port)) for number in range(3)
        ]
        for port in ports:
            wait_for(lambda port=port: _knows_all(port), "the Sentinels to know each other")  # type: ignore[misc]
        yield Watched((first, second), ports)


_DATA = ("--repl-diskless-sync-delay", "0", "--repl-diskless-sync", "yes")


def _knows_all(port: int) -> bool:
    with suppress(redis.RedisError), _client(port) as sentinel:
        about = sentinel.sentinel_master(NAME)
        return bool(about["num-slaves"] == 1 and about["num-other-sentinels"] == 2)
    return False


@contextmanager
def sentinel(folder: Path, primary_port: int) -> Iterator[int]:
    """Run one Sentinel until the block ends, and give its port."""
    folder.mkdir(parents=True)
    port, settings = free_port(), folder / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind {LOOPBACK}\ndir {folder}\n"
        f"sentinel monitor {NAME} {LOOPBACK} {primary_port} 2\n"
        f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
        f"sentinel failover-timeout {NAME} 5000\n"
    )
    arguments = [SERVER, str(settings), "--sentinel"]
    with started(arguments, folder=folder, ready=lambda: answers(port)):
        yield port
