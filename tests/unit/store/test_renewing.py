"""A client whose credentials are refused is made anew, now and then, and never in a storm."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from memrepo_worker.store.backends.gcs import GcsStore
from memrepo_worker.store.backends.renewing import RENEW_EVERY_S, CredentialsRefusedError, Renewing
from memrepo_worker.store.backends.s3 import S3Store
from memrepo_worker.store.interface import ABSENT, RefusedError, Store, UnavailableError
from memrepo_worker.store.open import open_store
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK


@pytest.fixture
def now_s() -> list[float]:
    return [0.0]


@pytest.fixture
def clients(now_s: list[float]) -> Renewing[int]:
    numbers = count(2)
    return Renewing(1, lambda: next(numbers), clock=lambda: now_s[0])


def refuse(clients: Renewing[int], error: Exception) -> None:
    with pytest.raises(type(error)), clients.request():
        raise error


def test_the_request_after_one_that_was_refused_has_a_new_client(clients: Renewing[int]) -> None:
    refuse(clients, CredentialsRefusedError("expired"))
    with clients.request() as client:
        assert client == 2


@pytest.mark.parametrize(
    "error", [RefusedError("no such bucket"), UnavailableError("503"), ValueError("ours")]
)
def test_what_has_nothing_to_do_with_credentials_changes_no_client(
    clients: Renewing[int], error: Exception
) -> None:
    refuse(clients, error)
    assert clients.current == 1


def test_many_that_are_refused_make_one_client_in_a_while(clients: Renewing[int], now_s: list[float]) -> None:
    for _ in range(100):
        refuse(clients, CredentialsRefusedError("expired"))
    assert clients.current == 2
    now_s[0] += RENEW_EVERY_S
    for _ in range(100):
        refuse(clients, CredentialsRefusedError("expired"))
    assert clients.current == 3


def test_one_that_was_refused_with_an_older_client_makes_none(
    clients: Renewing[int], now_s: list[float]
) -> None:
    late = clients.request()
    late.__enter__()
    refuse(clients, CredentialsRefusedError("expired"))
    now_s[0] += 2 * RENEW_EVERY_S
    error = CredentialsRefusedError("expired")
    assert not late.__exit__(CredentialsRefusedError, error, None), "it is told all the same"
    assert clients.current == 2


def test_the_client_stays_where_none_can_be_made(now_s: list[float]) -> None:
    def cannot() -> int:
        raise RefusedError("the file cannot be read")

    clients = Renewing(1, cannot, clock=lambda: now_s[0])
    refuse(clients, CredentialsRefusedError("expired"))
    assert clients.current == 1


OF_S3 = [
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
]
DENIED = '{"error": {"code": 401, "message": "Invalid Credentials"}}'
ASKED: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("acme/key"),
    "create": lambda store: store.put("acme/key", b"x", ABSENT),
    "list": lambda store: list(store.list("acme/")),
    "delete": lambda store: store.delete(["acme/key"]),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("code", OF_S3)
def test_s3_says_of_credentials_in_several_ways(
    code: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with answering(Answer.of_s3(403 if code != "ExpiredToken" else 400, code, "no")) as port:
        place = f"bucket/prefix?endpoint_url=http://{LOOPBACK}:{port}&region=eu-west-1&addressing_style=path"
        store = open_store(f"s3://{place}")
        assert isinstance(store, S3Store)
        before = store._clients.current
        with pytest.raises(CredentialsRefusedError):
            ASKED[asked](store)
        assert store._clients.current is not before


@pytest.mark.parametrize("asked", ASKED)
def test_google_says_401(asked: str) -> None:
    with answering(Answer(401, DENIED.encode(), "application/json")) as port:
        store = open_store(f"gs://bucket/prefix?endpoint_url=http://{LOOPBACK}:{port}")
        assert isinstance(store, GcsStore)
        before = store._buckets.current
        with pytest.raises(CredentialsRefusedError):
            ASKED[asked](store)
        assert store._buckets.current is not before
