"""Two real data nodes, one a replica of the other, and three real Sentinels that watch them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.support.ports import LOOPBACK, answers, begun_at_a_free_port, free_port
from tests.support.started import started
from tests.support.valkey import NO_RETRY, SERVER, Valkey, valkey
from tests.support.waiting import wait_for

NAME = "main"
DOWN_AFTER = "down-after-milliseconds"
DOWN_AFTER_MS = 1000
"""How long a server may be silent before its Sentinels call it down."""
PATIENCE_MS = 300_000
"""More than any machine that has much else to do lets a server wait."""
QUORUM = 2
OPTIONS: Mapping[str, int] = {DOWN_AFTER: DOWN_AFTER_MS, "failover-timeout": 5000}
"""What Sentinels are told of the server that they watch."""


@dataclass
class Watched:
    """The servers; which of the nodes is the primary changes."""

    nodes: Mapping[int, Valkey]
    """The data nodes, by the ports at which Sentinels and clients reach them."""
    sentinel_ports: Sequence[int]
    login: str = ""
    query: str = ""
    database: int = 0
    sentinel_password: str | None = None
    """Of the Sentinels' default user."""
    patient: bool = False
    """Whether Sentinels call down what was killed here, and nothing else: see ``watched``."""

    @property
    def url(self) -> str:
        """Their address."""
        return self.url_with(self.query)

    def url_with(self, query: str) -> str:
        """Return their address with another query."""
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in self.sentinel_ports)
        return f"sentinel://{self.login}{hosts}/{NAME}/{self.database}{query}"

    @property
    def primary(self) -> Valkey:
        """The primary, as the Sentinels say now."""
        return self.nodes[self.primary_port() or 0]

    def primary_port(self) -> int | None:
        """Return the primary's port if all Sentinels that answer agree on it."""
        said = {found for port in self.sentinel_ports if (found := self._primary_by(port)) is not None}
        return said.pop() if len(said) == 1 else None

    def fail_over(self, *, coordinated: bool = True) -> None:
        """Have the Sentinels make the other node the primary, and wait until the former one has become its replica.

        Not ``coordinated``, as where Sentinels are not of Valkey 9, the former primary goes on for some ten seconds as
        if it still were one; what it was told then is lost.
        """
        former = wait_for(self.primary_port, "the Sentinels to agree on a primary")
        how = ["COORDINATED"] if coordinated else []
        wait_for(lambda: self._ask_for_failover(how), "a Sentinel to begin the failover")
        wait_for(lambda: self.primary_port() not in (former, None), "the other to be the primary", 30)
        wait_for(lambda: _role(self.nodes[former]) == "slave", "the former primary to be a replica", 60)

    def kill_primary(self) -> Valkey:
        """End the primary as a crash would; return it once the other node is the primary, for ``bring_back``."""
        former = wait_for(self.primary_port, "the Sentinels to agree on a primary")
        dead = self.nodes[former]
        dead.kill()
        self._set(DOWN_AFTER, DOWN_AFTER_MS)
        wait_for(lambda: self.primary_port() not in (former, None), "the other node to be the primary", 60)
        if self.patient:
            self._set(DOWN_AFTER, PATIENCE_MS)
        return dead

    def bring_back(self, dead: Valkey) -> None:
        """Start a node that was killed as a replica; its Sentinels would make it one, too, ten seconds later."""
        dead.start()
        with dead.client() as client:
            port = wait_for(self.primary_port, "the Sentinels to agree on a primary")
            client.replicaof(LOOPBACK, str(port))

    def wait_until_followed(self) -> None:
        """Wait until the primary has its replica again, with all that was written: another failover may come.

        Until then the former primary may go on as if it still were one, and what it is told is lost.
        """
        wait_for(self._is_settled, "no Sentinel to be at a failover", 60)
        written, _ = wait_for(self._offsets, "the replica to follow", 60)

        def has_all() -> bool:
            offsets = self._offsets()
            return offsets is not None and offsets[1] >= written

        wait_for(has_all, "the replica to have what was written", 60)

    def _is_settled(self) -> bool:
        """Whether the Sentinels that answer agree on a primary, and none calls it down, or makes another one it."""
        flags = [found for port in self.sentinel_ports if (found := self._flags_by(port)) is not None]
        return self.primary_port() is not None and all(found == "master" for found in flags)

    def _flags_by(self, port: int) -> str | None:
        """Return how a Sentinel sees the primary; None of one that has ended, while one that is slow says nothing."""
        try:
            with self._sentinel(port) as sentinel:
                return str(sentinel.sentinel_master(NAME)["flags"])
        except redis.ConnectionError:
            return None
        except redis.RedisError:
            return ""

    def be_patient(self) -> None:
        """Have the Sentinels call no server down by themselves."""
        self.patient = True
        self._set(DOWN_AFTER, PATIENCE_MS)

    def _set(self, option: str, value: int) -> None:
        for port in self.sentinel_ports:
            with self._sentinel(port) as sentinel:
                sentinel.execute_command("SENTINEL", "SET", NAME, option, value)

    def _ask_for_failover(self, how: Sequence[str]) -> bool:
        for port in self.sentinel_ports:
            with suppress(redis.RedisError), self._sentinel(port) as sentinel:
                return bool(sentinel.execute_command("SENTINEL", "FAILOVER", NAME, *how))
        return False

    def _offsets(self) -> tuple[int, int] | None:
        """Return how much was written to the primary, and of it to its replica; None where it is not followed."""
        with suppress(redis.RedisError, KeyError), self.primary.client() as client:
            about = client.info("replication")
            follower = about.get("slave0", {})
            if follower.get("state") == "online":
                return int(about["master_repl_offset"]), int(follower["offset"])
        return None

    def end_first_sentinel(self) -> None:
        """End the one that an address names first."""
        with suppress(redis.RedisError), self._sentinel(self.sentinel_ports[0]) as sentinel:
            sentinel.shutdown(nosave=True)

    @contextmanager
    def forgotten_by(self, ports: Sequence[int]) -> Iterator[None]:
        """Have some of the Sentinels watch no server of the name within the block, and the same one afterwards."""
        primary = str(wait_for(self.primary_port, "the Sentinels to agree on a primary"))
        for port in ports:
            with self._sentinel(port) as sentinel:
                sentinel.execute_command("SENTINEL", "REMOVE", NAME)
        try:
            yield
        finally:
            for port in ports:
                with self._sentinel(port) as sentinel:
                    sentinel.execute_command("SENTINEL", "MONITOR", NAME, LOOPBACK, primary, QUORUM)
                    for option, value in OPTIONS.items():
                        sentinel.execute_command("SENTINEL", "SET", NAME, option, value)
            self.wait_until_complete()

    def look_every(self, period_ms: int) -> None:
        """Set how often the Sentinels ask what the nodes are, and tell each other."""
        for port in self.sentinel_ports:
            with self._sentinel(port) as sentinel:
                for name in ("INFO-PERIOD", "PUBLISH-PERIOD"):
                    sentinel.execute_command("SENTINEL", "DEBUG", name, period_ms)

    def wait_until_complete(self) -> None:
        """Wait until the Sentinels know the replica and each other."""
        for port in self.sentinel_ports:
            wait_for(lambda port=port: self._knows_all(port), "the Sentinels to know each other")  # type: ignore[misc]

    def _knows_all(self, port: int) -> bool:
        with suppress(redis.RedisError), self._sentinel(port) as sentinel:
            about = sentinel.sentinel_master(NAME)
            return bool(about["num-slaves"] == 1 and about["num-other-sentinels"] == 2)
        return False

    def _primary_by(self, port: int) -> int | None:
        with suppress(redis.RedisError), self._sentinel(port) as sentinel:
            found = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
            return None if found is None else int(found[1])
        return None

    def _sentinel(self, port: int) -> redis.Redis:
        return redis.Redis(
            LOOPBACK,
            port,
            password=self.sentinel_password,
            decode_responses=True,
            socket_timeout=5,
            retry=NO_RETRY,
        )


def _role(node: Valkey) -> str:
    with suppress(redis.RedisError), node.client() as client:
        return str(client.role()[0])
    return ""


DATA = ("--repl-diskless-sync", "yes")
"""What the data nodes are started with."""


@contextmanager
def watched(
    folder: Path, *options: str, look_every_ms: int | None = None, patient: bool = False
) -> Iterator[Watched]:
    """Run them until the block ends; ``options`` are of both data nodes.

    ``patient``: Sentinels call down what ``kill_primary`` has ended, and nothing that is only slow. On a machine that
    has much else to do they make another node the primary otherwise, beside one that lives: what that is told is lost.
    ``look_every_ms`` is how often the Sentinels ask the nodes what they are, instead of every ten seconds: so long it
    takes them to find a replica, without which no failover begins.
    """
    with ExitStack() as stack:
        first = stack.enter_context(valkey(folder / "first", "everysec", *DATA, *options))
        following = ("--replicaof", f"{LOOPBACK} {first.port}")
        second = stack.enter_context(valkey(folder / "second", "everysec", *DATA, *options, *following))
        with first.client() as client:
            wait_for(lambda: client.info("replication")["connected_slaves"] == 1, "the replica to follow")
        ports = [
            stack.enter_context(sentinel(folder / f"sentinel-{number}", first.port)) for number in range(3)
        ]
        servers = Watched({first.port: first, second.port: second}, ports)
        if look_every_ms is not None:
            servers.look_every(look_every_ms)
        servers.wait_until_complete()
        if patient:
            servers.be_patient()
        yield servers


@contextmanager
def sentinel(folder: Path, primary_port: int, *lines: str) -> Iterator[int]:
    """Run one Sentinel until the block ends, and give its port; ``lines`` are more of its configuration."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        yield begun_at_a_free_port(lambda: _begin_sentinel(folder, primary_port, lines, stack))


def _begin_sentinel(folder: Path, primary_port: int, lines: Sequence[str], stack: ExitStack) -> int:
    port, settings = free_port(), folder / "sentinel.conf"
    own = (
        f"port {port}",
        f"bind {LOOPBACK}",
        f"dir {folder}",
        f"sentinel monitor {NAME} {LOOPBACK} {primary_port} {QUORUM}",
        *(f"sentinel {option} {NAME} {value}" for option, value in OPTIONS.items()),
    )
    settings.write_text("\n".join((*own, *lines, "")))
    arguments = [SERVER, str(settings), "--sentinel"]
    stack.enter_context(started(arguments, folder=folder, ready=lambda: answers(port)))
    return port
