"""With somebody else's certificate nothing is said to a server, on no connection of anybody: counted at the server."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from memrepo import BrokerUnavailableError, MemoryRepo, MemoryRepos, Settings
from memrepo.redis.address import parse_redis_url
from memrepo.redis.client import connect
from memrepo.redis.errors import Action, meaning_of
from memrepo.settings import environment
from memrepo_worker.trouble import TELL_EVERY_S
from tests.support.commands import MEMREPO, memrepo
from tests.support.ports import LOOPBACK, answers, free_port
from tests.support.proxy import Proxy, proxy
from tests.support.sentinel import sentinel
from tests.support.started import started
from tests.support.tls import Certificate, certificate_for, listening, tls_before
from tests.support.valkey import valkey
from tests.support.waiting import wait_for, wait_for_text

Result = TypeVar("Result")

LARGE = "x" * 100_000  # travels beside its message
TIMEOUT_S = 30.0
UNVERIFIED = "its certificate cannot be verified"


@dataclass
class Guarded:
    """A server that speaks TLS; its certificate can be exchanged, and nobody keeps a connection from before."""

    proxy: Proxy
    trusted: Certificate

    @property
    def url(self) -> str:
        return f"rediss://{LOOPBACK}:{self.proxy.port}/0?ssl_ca_certs={self.trusted.certificate}"

    def show(self, certificate: Certificate) -> None:
        self.proxy.show(certificate.shown())


def guarded(folder: Path, trusted: Certificate, stack: ExitStack) -> Guarded:
    server = stack.enter_context(valkey(folder, "no"))
    return Guarded(stack.enter_context(proxy(server.url, tls=trusted.shown())), trusted)


@dataclass
class Both:
    """Broker and result store, each by itself, and what is set to use them."""

    broker: Guarded
    results: Guarded
    foreign: Certificate
    env: dict[str, str]

    def show(self, certificate: Certificate) -> None:
        for one in (self.broker, self.results):
            one.show(certificate)

    def said(self) -> tuple[int, int]:
        """How often anybody has said anything to each."""
        return self.broker.proxy.turns, self.results.proxy.turns


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    trusted = certificate_for(LOOPBACK, tmp_path / "trusted")
    with ExitStack() as stack:
        broker, results = (guarded(tmp_path / name, trusted, stack) for name in ("broker", "results"))
        env = {
            "PATH": environment()["PATH"],
            "MEMREPO_BROKER_URL": broker.url,
            "MEMREPO_RESULT_URL": results.url,
            "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
            "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
            "MEMREPO_FLOWER_BASIC_AUTH": "me:secret",
            "MEMREPO_LEASE_S": "2",
        }
        yield Both(broker, results, certificate_for(LOOPBACK, tmp_path / "foreign"), env)


def test_nobody_says_anything_to_a_foreign_certificate_and_all_go_on_with_the_right_one(
    both: Both, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "memrepo.log"
    flowers_folder = tmp_path / "flower"
    flowers_folder.mkdir()
    ready = lambda: "ready: " in log.read_text()  # noqa: E731 - said where it is needed
    settings = Settings(both.broker.url, both.results.url, enqueue_timeout_s=TIMEOUT_S)
    with (
        started([MEMREPO, "worker"], folder=tmp_path, ready=ready, env=both.env),
        started(
            [MEMREPO, "flower", "--port", str(port)],
            folder=flowers_folder,
            ready=lambda: answers(port),
            env=both.env,
        ),
        MemoryRepos(settings=settings) as repos,
    ):
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        repo.commit({"a.md": LARGE}, "m", create_repo_if_missing=True).result(timeout_s=TIMEOUT_S)
        job = repo.get_file("a.md")
        assert job.result(timeout_s=TIMEOUT_S).text == LARGE

        both.show(both.foreign)
        before = both.said()
        # The cut may be met first; then the certificate is told with the next line of that trouble.
        refused = f"does not take the heartbeat: {UNVERIFIED}"
        wait_for_text(log, refused, "the heartbeat to be refused", TELL_EVERY_S + 20)
        for command in ("doctor", "shards", "flower"):
            ended = memrepo(command, folder=tmp_path, env=both.env)
            assert UNVERIFIED in ended.stdout + ended.stderr
        with (
            MemoryRepos(broker_url=both.broker.url, result_url=both.results.url) as others,
            pytest.raises(BrokerUnavailableError, match=UNVERIFIED),
        ):
            others.repo(org_id="acme", agent_id="agent-1").commit({"a.md": LARGE}, "m").wait_enqueued()
        with pytest.raises(BrokerUnavailableError, match=UNVERIFIED):
            repo.commit({"a.md": "y"}, "m")
        assert both.said() == before

        both.show(both.broker.trusted)
        wait_for(lambda: commits(repo, f"{LARGE}, too"), "the running client to be served again")
        assert all(now > then for now, then in zip(both.said(), before, strict=True))
        assert (
            "insecure" not in log.read_text()
        )  # as kombu would say of what it is told without a certificate


def commits(repo: MemoryRepo, content: str) -> bool:
    """Tell whether a commit is taken, and made."""
    with suppress(BrokerUnavailableError):  # what the last try met, which may be a moment old
        return repo.commit({"a.md": content}, "m").result(timeout_s=TIMEOUT_S).created
    return False


def test_a_handshake_that_began_before_the_certificate_was_exchanged_serves_nobody(tmp_path: Path) -> None:
    trusted, foreign = (certificate_for(LOOPBACK, tmp_path / name) for name in ("trusted", "foreign"))
    heard: list[bytes] = []
    with (
        listening(lambda connection: heard.append(connection.recv(1))) as port,
        proxy(f"redis://{LOOPBACK}:{port}", tls=trusted.shown()) as guard,
        socket.create_connection((LOOPBACK, guard.port), timeout=TIMEOUT_S) as plain,
    ):
        client = Handshake(plain, trusted)
        client.begin()
        guard.show(foreign.shown())
        client.finish()  # what it was shown was the right one
        assert client.say(b"PING\r\n") == b""

        assert guard.turns == 0
        assert heard == []


class Handshake:
    """A client of TLS, one half of the handshake after the other."""

    def __init__(self, plain: socket.socket, trusted: Certificate) -> None:
        self._plain = plain
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(trusted.certificate))
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=LOOPBACK)

    def begin(self) -> None:
        """Greet the server, and take its certificate."""
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self._send()
        self._receive()

    def finish(self) -> None:
        """Verify it, and tell the server so."""
        self._whole(self._tls.do_handshake)
        self._send()

    def say(self, words: bytes) -> bytes:
        """Say something; return what is answered before the connection is closed."""
        self._tls.write(words)
        self._send()
        return self._whole(self._tls.read)

    def _whole(self, step: Callable[[], Result]) -> Result:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._receive()

    def _send(self) -> None:
        self._plain.sendall(self._goes.read())

    def _receive(self) -> None:
        if data := self._plain.recv(1 << 16):
            self._came.write(data)
        else:
            self._came.write_eof()


@pytest.mark.parametrize("foreign", ["nobody", "the sentinel", "the primary"])
def test_both_the_sentinel_and_the_primary_that_it_names_must_prove_who_they_are(
    tmp_path: Path, foreign: str
) -> None:
    trusted = certificate_for(LOOPBACK, tmp_path / "trusted")
    other = certificate_for(LOOPBACK, tmp_path / "foreign")
    with ExitStack() as stack:
        server = stack.enter_context(valkey(tmp_path / "valkey", "no"))
        shown = other if foreign == "the primary" else trusted
        primary = stack.enter_context(tls_before(server.port, shown))
        plain = stack.enter_context(sentinel(tmp_path / "sentinel", primary))
        shown = other if foreign == "the sentinel" else trusted
        asked = stack.enter_context(proxy(f"redis://{LOOPBACK}:{plain}", tls=shown.shown()))
        url = f"sentinel://{LOOPBACK}:{asked.port}/main/0?ssl=true&ssl_ca_certs={trusted.certificate}"
        with connect(parse_redis_url(url, "URL"), connect_timeout_s=2, timeout_s=2) as client:
            met = None
            with suppress(Exception):
                client.set("key", 1)
            try:
                client.get("key")
            except Exception as error:  # noqa: BLE001 - looked at below
                met = meaning_of(error)

        with server.client() as admin:
            assert bool(admin.exists("key")) == (foreign == "nobody")
        assert bool(asked.connections) == (foreign != "the sentinel")
        assert met is None if foreign == "nobody" else met is not None
        if met is not None:
            assert met.action is Action.REFUSE
            assert UNVERIFIED in met.reason
