"""What the backends that speak over a network send, counted by a proxy; and what they make of what goes wrong there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from memrepo.limits import KIB, MIB
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    Store,
    UnavailableError,
)
from memrepo_worker.store.meanwhile import IsAnswered, meanwhile
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from memrepo_worker.threads.giving_way import Pace, keeping
from tests.support.gcs_server import GcsServer
from tests.support.ports import LOOPBACK, closed_port
from tests.support.proxy import Proxy, proxy
from tests.support.seaweedfs import SeaweedFs
from tests.support.waiting import wait_for

Server = SeaweedFs | GcsServer
OPTIONS = StoreOptions(connections_max=8, connect_timeout_s=5, read_timeout_s=10)
SMALL = b"x" * 2000


@pytest.fixture(params=["s3_server", "gcs_server"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def wire(server: Server) -> Iterator[Proxy]:
    with proxy(server.endpoint_url) as one:
        yield one


@pytest.fixture
def store(server: Server, wire: Proxy, request: pytest.FixtureRequest) -> Store:
    """A store behind the proxy, with a connection that is open already, and that has put something before."""
    opened = open_store(server.store_url(request.node.name.partition("[")[0], wire.url), OPTIONS)
    with pytest.raises(NotThereError):
        opened.get("warm-up")
    opened.put("warm-up", SMALL, ALWAYS)
    opened.delete(["warm-up"])
    wire.turns = 0
    return opened


def test_a_conditional_create_is_one_round_trip(store: Store, wire: Proxy) -> None:
    store.put("key", SMALL, ABSENT)
    assert wire.turns == 1


def test_what_is_to_be_done_meanwhile_is_done_once_with_the_request_on_its_way(
    store: Store, wire: Proxy
) -> None:
    turns: list[int] = []

    def work(is_answered: IsAnswered) -> None:
        wait_for(lambda: wire.turns == 1, "the request to be with the server")  # which it is without our help
        turns.append(wire.turns)
        wait_for(is_answered, "the answer to be there")

    with meanwhile(work):
        store.put("key", SMALL, ABSENT)
        store.get("key")

    assert turns == [1]


def test_so_is_one_that_loses(store: Store, wire: Proxy) -> None:
    store.put("key", SMALL, ABSENT)
    with pytest.raises(PreconditionFailedError):
        store.put("key", SMALL, ABSENT)
    assert wire.turns == 2


def test_so_are_every_get_and_every_miss(store: Store, wire: Proxy) -> None:
    store.put("key", SMALL, ABSENT)
    wire.turns = 0
    for number in range(1, 11):
        store.get("key")
        with pytest.raises(NotThereError):
            store.get("none")
        assert wire.turns == 2 * number


def test_a_put_of_half_a_mebibyte_is_one_round_trip_too(store: Store, wire: Proxy) -> None:
    store.put("key", bytes(1 << 19), ABSENT)
    assert wire.turns == 1


def test_a_large_body_is_sent_in_small_pieces_at_the_pace_of_its_thread(store: Store) -> None:
    class Noting(Pace):
        def send(self, size_bytes: int) -> None:
            sizes.append(size_bytes)

    sizes: list[int] = []
    with keeping(Noting(lambda: True)):
        store.put("key", b"x" * 3 * MIB, ABSENT)
    assert sum(sizes) >= 3 * MIB
    assert max(sizes) <= 64 * KIB


def test_a_lost_answer_is_unavailable_and_the_create_was_sent_once(store: Store, wire: Proxy) -> None:
    wire.loses_answers = True
    with pytest.raises(UnavailableError):
        store.put("key", SMALL, ABSENT)
    assert wire.turns == 1
    wire.loses_answers = False
    assert store.get("key").data == SMALL


def test_every_request_is_sent_once(store: Store, wire: Proxy) -> None:
    wire.loses_answers = True
    requests: list[Callable[[], object]] = [
        lambda: store.get("key"),
        lambda: store.put("key", SMALL, ALWAYS),
        lambda: list(store.list("")),
        lambda: store.delete(["key"]),
    ]
    for number, request in enumerate(requests, start=1):
        with pytest.raises(UnavailableError):
            request()
        assert wire.turns == number


def test_threads_keep_their_connections(store: Store, wire: Proxy) -> None:
    with ThreadPoolExecutor(OPTIONS.connections_max) as threads:
        list(threads.map(lambda number: store.put(f"key/{number}", SMALL, ALWAYS), range(80)))
    assert wire.connections <= OPTIONS.connections_max


def test_a_server_that_is_away_is_unavailable(server: Server) -> None:
    store = open_store(server.store_url("away", f"http://{LOOPBACK}:{closed_port()}"), OPTIONS)
    for request in (
        lambda: store.get("key"),
        lambda: store.put("key", SMALL, ABSENT),
        lambda: list(store.list("")),
    ):
        with pytest.raises(UnavailableError):
            request()


@pytest.mark.timeout(30)
def test_a_server_that_says_nothing_is_unavailable_after_the_time_out(server: Server) -> None:
    with proxy(server.endpoint_url, delay_s=300) as slow:
        options = StoreOptions(connect_timeout_s=5, read_timeout_s=0.2)
        store = open_store(server.store_url("slow", slow.url), options)
        with pytest.raises(UnavailableError):
            store.put("key", SMALL, ABSENT)


def test_a_bucket_that_is_not_there_is_refused_by_name(server: Server) -> None:
    store = open_store(server.store_url().replace("://memrepo/", "://nowhere/"), OPTIONS)
    for request in (lambda: store.put("key", SMALL, ABSENT), lambda: list(store.list(""))):
        with pytest.raises(RefusedError, match="nowhere"):
            request()


def test_s3_wrong_credentials_are_refused(s3_server: SeaweedFs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = open_store(s3_server.store_url("refused"), OPTIONS)
    with pytest.raises(RefusedError, match="check the credentials"):
        store.put("key", SMALL, ABSENT)


def test_s3_no_credentials_are_refused(s3_server: SeaweedFs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    store = open_store(s3_server.store_url("refused"), OPTIONS)
    with pytest.raises(RefusedError, match="credentials"):
        store.put("key", SMALL, ABSENT)


@pytest.mark.parametrize(
    "before", ["[default]\n", "[default]\naws_access_key_id = old\naws_secret_access_key = x\n"]
)
def test_s3_credentials_that_are_renewed_in_their_file_are_picked_up(
    before: str, s3_server: SeaweedFs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(before)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    store = open_store(s3_server.store_url("renewed"), OPTIONS)
    with pytest.raises(RefusedError, match="redentials"):
        store.put("key", SMALL, ABSENT)
    credentials.write_text(s3_server.credentials.read_text())
    wait_for(lambda: is_taken(store), "the store to have the new credentials")
    assert store.get("key").data == SMALL


def is_taken(store: Store) -> bool:
    with suppress(RefusedError):
        store.put("key", SMALL, ALWAYS)
        return True
    return False


def test_s3_a_large_create_asks_before_it_sends_its_body(s3_server: SeaweedFs) -> None:
    with proxy(s3_server.endpoint_url) as wire:
        store = open_store(s3_server.store_url("asks", wire.url), OPTIONS)
        store.put("key", bytes(1 << 20), ABSENT)
        assert wire.turns == 2


def test_gcs_a_large_create_is_one_round_trip_too(gcs_server: GcsServer) -> None:
    with proxy(gcs_server.endpoint_url) as wire:
        store = open_store(gcs_server.store_url("large", wire.url), OPTIONS)
        store.put("key", bytes(9 << 20), ABSENT)
        assert wire.turns == 1
