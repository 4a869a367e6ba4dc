"""The SDK's own call makes a client's first get and put; those after it say the same, and are made by its lower parts.

All but large puts are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse

from memrepo_worker.store.backends.s3 import S3Store
from memrepo_worker.store.backends.s3_client import ASK_FIRST_BYTES_MIN
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    ObjectTooLargeError,
    Pin,
    StoredRange,
    StoreError,
    Version,
    When,
)
from memrepo_worker.store.open import open_store
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK

OF_ONE_REQUEST = {"X-Amz-Date", "Authorization", "amz-sdk-invocation-id", "amz-sdk-request"}
KEYS = ["acme/key", "acme/a~b/c d+é&=%.x", "acme/journal/00000000000000000001.bundle"]
CONDITIONS: list[When] = [ABSENT, ALWAYS, Version('"an-etag"')]


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "for-an-hour")


def whole(store: S3Store, key: str) -> object:
    return store.get(key).data


def beginning(store: S3Store, key: str) -> object:
    return store.get_range(key, 0, 7)


def pinned(store: S3Store, key: str) -> object:
    return store.get_range(key, 0, 7, Pin('"one"'))


Get = Callable[[S3Store, str], object]
ALL = StoredRange(b"content", 7, Pin('"one"'))
GETS: list[tuple[Get, object]] = [(whole, b"content"), (beginning, ALL), (pinned, ALL)]


@contextmanager
def puts() -> Iterator[tuple[S3Store, Answer, list[object]]]:
    """Give a store on a server that takes every put, what that was asked, and which calls of the SDK were made."""
    with asked(Answer(200, headers={"ETag": '"one"'})) as found:
        yield found


@contextmanager
def gets() -> Iterator[tuple[S3Store, Answer, list[object]]]:
    """Give a store on a server that has one content for every key, and the same."""
    headers = {"ETag": '"one"', "Content-Range": "bytes 0-6/7"}
    with asked(Answer(206, b"content", headers=headers)) as found:
        yield found


@contextmanager
def asked(answer: Answer) -> Iterator[tuple[S3Store, Answer, list[object]]]:
    with answering(answer) as port:
        place = f"bucket/prefix?endpoint_url=http://{LOOPBACK}:{port}&region=eu-west-1&addressing_style=path"
        store = open_store(f"s3://{place}&sse=AES256&storage_class=STANDARD_IA")
        assert isinstance(store, S3Store)
        calls: list[object] = []
        events = store._clients.current.sdk.meta.events
        events.register("before-call.s3", lambda model, **_: calls.append(model.name))
        yield store, answer, calls


def said(answer: Answer) -> tuple[str, dict[str, str]]:
    path, headers = answer.heads[-1]
    host = {"Host": headers.pop("Host").partition(":")[0]}
    signed = headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    return path, {"signed": signed, **host, **{n: v for n, v in headers.items() if n not in OF_ONE_REQUEST}}


@pytest.mark.parametrize("when", CONDITIONS, ids=["absent", "always", "version"])
@pytest.mark.parametrize("key", KEYS)
def test_what_a_later_put_says_is_what_the_sdk_would(key: str, when: When) -> None:
    with puts() as (store, answer, calls):
        assert store.put(key, b"content", when) == Version('"one"')
        by_sdk = said(answer)
        assert len(calls) == 1
    with puts() as (store, answer, calls):
        store.put("acme/first", b"another", ABSENT)
        assert store.put(key, b"content", when) == Version('"one"')

        assert said(answer) == by_sdk
        assert len(calls) == 1
        assert by_sdk[1]["X-Amz-Security-Token"] == "for-an-hour"
        assert by_sdk[1]["x-amz-storage-class"] == "STANDARD_IA"


@pytest.mark.parametrize(("get", "found"), GETS, ids=["whole", "beginning", "pinned"])
@pytest.mark.parametrize("key", KEYS)
def test_what_a_later_get_says_is_what_the_sdk_would(key: str, get: Get, found: object) -> None:
    with gets() as (store, answer, calls):
        assert get(store, key) == found
        by_sdk = said(answer)
        assert calls == ["GetObject"]
    for first, _ in GETS:
        with gets() as (store, answer, calls):
            first(store, "acme/first")
            assert get(store, key) == found

            assert said(answer) == by_sdk
            assert calls == ["GetObject"]


ANSWERS = {
    "not there": Answer.of_s3(404, "NoSuchKey", "no"),
    "refused": Answer.of_s3(403, "AccessDenied", "no"),
    "slowed down": Answer.of_s3(503, "SlowDown", "later"),
    "replaced": Answer.of_s3(412, "PreconditionFailed", "no"),
    "another's 404": Answer(404, b"<html>nothing here</html>", "text/html"),
    "a page": Answer(200, b"<html>log in</html>", "text/html", {"ETag": '"one"'}),
    "no mark": Answer(200, b"content"),
    "no content": Answer(200, b"", headers={"ETag": '"one"'}),
    "another range": Answer(206, b"content", headers={"ETag": '"one"', "Content-Range": "bytes 5-11/70"}),
    "led elsewhere": Answer(307, b"", headers={"Location": "http://127.0.0.1:1/elsewhere"}),
    "broken off": Answer(200, b"cont", headers={"ETag": '"one"'}, size=7),
    "closed": Answer(0),
    "another version": Answer(206, b"content", headers={"ETag": '"two"', "Content-Range": "bytes 0-6/7"}),
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize(("get", "_"), GETS, ids=["whole", "beginning", "pinned"])
def test_a_later_get_takes_an_answer_as_the_sdk_would(get: Get, _: object, kind: str) -> None:
    """Also one that is an error, broken, or not the store's own."""

    def outcome(*, by_sdk: bool) -> tuple[object, ...]:
        with asked(Answer(200, b"first", headers={"ETag": '"one"'})) as (store, answer, calls):
            if not by_sdk:
                store.get("acme/first")
                calls.clear()
            vars(answer).update(vars(ANSWERS[kind]))
            try:
                return (get(store, "acme/key"),)
            except StoreError as error:
                return (type(error), str(error).replace(store._place_name, ""))
            finally:
                assert bool(calls) == by_sdk

    assert outcome(by_sdk=False) == outcome(by_sdk=True)


def test_of_an_object_that_is_too_large_a_later_get_reads_nothing() -> None:
    with gets() as (store, _, calls):
        store.get("acme/first")
        with pytest.raises(ObjectTooLargeError) as caught:
            store.get("acme/key", 6)

        assert caught.value.size == 7
        assert store.get("acme/key", 7).data == b"content"
        assert calls == ["GetObject"]


def test_a_later_put_is_signed_for_the_region_that_the_first_one_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """An access point may be in another region than the client's own."""
    store = open_store("s3://arn:aws:s3:us-west-2:123456789012:accesspoint:ap/prefix?region=eu-west-1")
    assert isinstance(store, S3Store)
    signed: list[str] = []
    headers: Any = {"ETag": '"one"'}

    class NoBody:
        def stream(self, **_: object) -> Iterator[bytes]:
            return iter(())

    def send(request: AWSPreparedRequest) -> AWSResponse:
        said = request.headers["Authorization"]
        signed.append(said.decode() if isinstance(said, bytes) else said)
        return AWSResponse(request.url, 200, headers, NoBody())

    monkeypatch.setattr(store._clients.current.puts._session, "send", send)
    for _ in range(2):
        store.put("acme/key", b"x", ABSENT)

    assert ["/us-west-2/s3/aws4_request," in each for each in signed] == [True, True]


def test_a_large_put_is_the_sdks_own() -> None:
    with puts() as (store, _, calls):
        for size in (10, 10, ASK_FIRST_BYTES_MIN - 1):
            store.put("acme/key", bytes(size), ABSENT)
        assert len(calls) == 1

        store.put("acme/key", bytes(ASK_FIRST_BYTES_MIN), ABSENT)

        assert len(calls) == 2


def test_every_put_is_the_sdks_own_where_it_signs_in_another_way() -> None:
    with puts() as (store, answer, _):
        small = store._clients.current.puts
        store.put("acme/key", b"x", ABSENT)
        known, small._known = small._known, None
        assert known is not None
        request: Any = AWSRequest("PUT", known.base_url + "key", {}, b"x")
        request.context["input_params"] = {"Key": "key"}
        how: Any = {"request_signer": known.signer}

        found = []
        for version in ("v4a", "v4-s3express", "s3v4-query", "s3v4"):
            small._learn(request, signature_version=version, **how)
            found.append(small.are_known)

        assert found == [False, False, False, True]
        assert len(answer.heads) == 1
