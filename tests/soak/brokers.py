"""A primary and its replica behind one address, and what befalls them in the field."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import LOOPBACK
from tests.support.proxy import Proxy, proxy
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

ACL_FILE = Path(__file__).resolve().parents[2] / "docs" / "acl.conf"
PRODUCER, WORKER = "memrepo-producer", "memrepo-worker"
TAIL_S = 1.0
"""For so long the replica is behind when its primary is lost."""


@dataclass
class Brokers:
    """Two servers with the users of ``docs/acl.conf``. Clients know the address alone."""

    primary: Valkey
    replica: Valkey
    address: Proxy

    def url(self, user: str) -> str:
        """Return the address for a user."""
        return f"redis://{user}:{_password(user)}@{LOOPBACK}:{self.address.port}/0"

    def cut_all_connections(self) -> None:
        """Close every client's socket."""
        self.primary.cut_all_connections()

    def kill(self) -> None:
        """End the primary as a crash would."""
        self.primary.kill()

    def start(self) -> None:
        """Start it again."""
        self.primary.start()
        _add_users(self.primary)

    def fail_over(self) -> None:
        """Make the replica the primary; nothing is lost, and connections to the old one stay open."""
        self.follow()
        with self.primary.client() as old, self.replica.client() as new:
            old.execute_command("FAILOVER", "TO", LOOPBACK, self.replica.port)
            wait_for(lambda: new.role()[0] == "master", "the replica to be the primary")
            wait_for(lambda: old.role()[0] == "slave", "the primary to be a replica")
        self.address.lead_to(self.replica.url)
        self.primary, self.replica = self.replica, self.primary

    def lose_the_tail(self) -> None:
        """Lose the primary together with what its replica has not heard of yet."""
        self.follow()
        with self.replica.client() as client:
            client.execute_command("REPLICAOF", LOOPBACK, "1")  # where nobody is
            time.sleep(TAIL_S)
            self.primary.kill()
            client.execute_command("REPLICAOF", "NO", "ONE")
        self.address.lead_to(self.replica.url)
        self.primary, self.replica = self.replica, self.primary
        self.replica.start()
        _add_users(self.replica)

    def follow(self) -> None:
        """Have the replica follow its primary, and wait until it has all."""
        with self.replica.client() as client:
            client.execute_command("REPLICAOF", LOOPBACK, self.primary.port)
            wait_for(lambda: client.role()[3] == "connected", "the replica to follow")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let the primary have no memory left."""
        with self.primary.client() as client:
            client.config_set("maxmemory", int(client.info("memory")["used_memory"]))
            yield
            client.config_set("maxmemory", 0)

    def pause(self, seconds: float) -> None:
        """Have the primary answer nobody for a while."""
        with self.primary.client() as client:
            client.execute_command("CLIENT", "PAUSE", int(seconds * 1000), "ALL")
            time.sleep(seconds)

    def forget_scripts(self) -> None:
        """Have the primary forget every script."""
        with self.primary.client() as client:
            client.script_flush()

    @contextmanager
    def other_passwords(self) -> Iterator[None]:
        """Change both users' passwords and close their connections; put them back afterwards."""
        with self.primary.client() as client:
            for user in (PRODUCER, WORKER):
                client.execute_command("ACL", "SETUSER", user, "resetpass", ">another")
                client.execute_command("CLIENT", "KILL", "USER", user)
            yield
            _add_users(self.primary)

    @contextmanager
    def fewer_rights(self, user: str) -> Iterator[None]:
        """Take from a user what it needs to run scripts; put it back afterwards."""
        with self.primary.client() as client:
            client.execute_command("ACL", "SETUSER", user, "clearselectors", "-eval", "-evalsha")
            yield
            _add_users(self.primary)


def _users() -> dict[str, list[str]]:
    lines = [line.split() for line in ACL_FILE.read_text().splitlines() if line.startswith("user ")]
    return {words[1]: words[2:] for words in lines}


def _password(user: str) -> str:
    return next(word[1:] for word in _users()[user] if word.startswith(">"))


def _add_users(server: Valkey) -> None:
    with server.client() as client:
        for user, rules in _users().items():
            client.execute_command("ACL", "SETUSER", user, "reset", *_joined(rules))


def _joined(rules: list[str]) -> list[str]:
    """Return the rules with each pair of parentheses as one, as the command takes them."""
    joined: list[str] = []
    for rule in rules:
        if joined and joined[-1].startswith("(") and not joined[-1].endswith(")"):
            joined[-1] += f" {rule}"
        else:
            joined.append(rule)
    return joined


@contextmanager
def brokers(folder: Path) -> Iterator[Brokers]:
    """Run both until the block ends."""
    with ExitStack() as stack:
        primary = stack.enter_context(valkey(folder / "first"))
        replica = stack.enter_context(valkey(folder / "second"))
        for server in (primary, replica):
            _add_users(server)
        both = Brokers(primary, replica, stack.enter_context(proxy(primary.url)))
        both.follow()
        yield both
