"""Only what is provably the store's own answer is believed; what stands before it may answer anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from memrepo.clock import steady_clock
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    NotThereError,
    Pin,
    PreconditionFailedError,
    RefusedError,
    Store,
    UnavailableError,
)
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK

HTML = "text/html; charset=utf-8"
PAGE = b"<html><head><title>Sorry</title></head><body>Not today</body></html>"
OPTIONS = StoreOptions(connect_timeout_s=2, read_timeout_s=2, request_timeout_s=0.6)

OPERATIONS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("acme/key"),
    "create": lambda store: store.put("acme/key", b"x", ABSENT),
    "put": lambda store: store.put("acme/key", b"x", ALWAYS),
    "list": lambda store: list(store.list("acme/")),
    "delete": lambda store: store.delete(["acme/key"]),
}

FROM_ELSEWHERE = {
    "404 and a page": Answer(404, PAGE, HTML),
    "404 and no word": Answer(404),
    "404 and a line": Answer(404, b"404 page not found\n"),
    "412 and a page": Answer(412, PAGE, HTML),
    "412 and no word": Answer(412),
    "200 and a page": Answer(200, PAGE, HTML, {"ETag": '"5f3c-5d1e"'}),
    "200 and a page that is no XML": Answer(200, b"<html><br>not today", HTML),
    "200 and an object of JSON": Answer(200, b"{}", "application/json"),
    "200 and a list of JSON": Answer(200, b"[]", "application/json"),
    "302": Answer(302, PAGE, HTML, {"Location": "/login"}),
    "301 and no place": Answer(301, PAGE, HTML),
    "503 and a page": Answer(503, PAGE, HTML),
    "nothing": Answer(0),
}


@contextmanager
def stores(answer: Answer) -> Iterator[dict[str, Store]]:
    with answering(answer) as port, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "nobody")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "x")
        environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        place = f"bucket/prefix?endpoint_url=http://{LOOPBACK}:{port}"
        yield {
            "s3": open_store(f"s3://{place}&addressing_style=path", OPTIONS),
            "gcs": open_store(f"gs://{place}", OPTIONS),
        }


@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.parametrize("what", FROM_ELSEWHERE)
def test_an_answer_from_elsewhere_is_unavailable_whatever_was_asked(what: str, kind: str) -> None:
    with stores(FROM_ELSEWHERE[what]) as opened:
        for name, ask in OPERATIONS.items():
            with pytest.raises(UnavailableError) as caught:
                ask(opened[kind])
            assert len(str(caught.value)) < 500, name


@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int, kind: str) -> None:
    answer = Answer(status, PAGE, HTML)
    with stores(answer) as opened:
        for name, ask in OPERATIONS.items():
            answer.headers = {"Location": opened[kind].name.partition("endpoint_url=")[2]}
            answer.asked = 0
            with pytest.raises(UnavailableError):
                ask(opened[kind])
            assert answer.asked == 1, name


@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.parametrize("status", [200, 204])
def test_silence_is_no_success(status: int, kind: str) -> None:
    with stores(Answer(status)) as opened:
        for ask in OPERATIONS.values():
            with pytest.raises(UnavailableError):
                ask(opened[kind])


def listing_of_s3(prefix: str, keys: int) -> bytes:
    return (
        f"<ListBucketResult><Name>bucket</Name><Prefix>{prefix}</Prefix><KeyCount>{keys}</KeyCount>"
        "<IsTruncated>false</IsTruncated></ListBucketResult>"
    ).encode()


def test_a_listing_must_be_the_one_that_was_asked_for() -> None:
    answer = Answer(200, listing_of_s3("prefix/acme/", 0), "application/xml")
    with stores(answer) as opened:
        assert list(opened["s3"].list("acme/")) == []
        for wrong in (listing_of_s3("prefix/other/", 0), listing_of_s3("prefix/acme/", 1)):
            answer.body = wrong
            with pytest.raises(UnavailableError, match="a listing that is none"):
                list(opened["s3"].list("acme/"))
        for cut in range(0, len(answer.body), 10):
            answer.body = listing_of_s3("prefix/acme/", 0)[:cut]
            with pytest.raises(UnavailableError):
                list(opened["s3"].list("acme/"))


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_an_object_that_was_cut_short_is_unavailable(kind: str) -> None:
    marks = {"ETag": '"9dd4e461268c8034f5c8564e155c67a6"', "X-Goog-Generation": "7"}
    whole = Answer(200, b"x" * 100, "application/octet-stream", marks)
    with stores(whole) as opened:
        assert opened[kind].get("key").data == b"x" * 100
    with stores(replace(whole, size=101)) as opened, pytest.raises(UnavailableError):
        opened[kind].get("key")


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_a_range_that_is_less_than_was_asked_for_is_unavailable(kind: str) -> None:
    """What is read first of an entry is judged by itself: a part of its header would be a damaged one."""
    marks = {
        "ETag": '"9dd4e461268c8034f5c8564e155c67a6"',
        "X-Goog-Generation": "7",
        "Content-Range": "bytes 0-99/1000",
    }
    with stores(Answer(206, b"x" * 100, "application/octet-stream", marks)) as opened:
        assert opened[kind].get_range("key", 0, 100).size == 1000
        with pytest.raises(UnavailableError, match="another range than was asked for"):
            opened[kind].get_range("key", 0, 101)


NO_SUCH_RANGE = {
    "s3": Answer.of_s3(416, "InvalidRange", "Not satisfiable."),
    "gcs": Answer(416, PAGE, HTML),
}


@pytest.mark.parametrize("kind", NO_SUCH_RANGE)
def test_that_there_is_no_such_range_is_believed_of_none_that_has_bytes_there(kind: str) -> None:
    """Else a proxy that serves no ranges would have large entries be told as damaged."""
    marks = {"ETag": '"9dd4e461268c8034f5c8564e155c67a6"', "X-Goog-Generation": "7"}
    whole = Answer(200, b"x" * 1000, "application/octet-stream", marks, to_ranges=NO_SUCH_RANGE[kind])
    with stores(whole) as opened:
        store = opened[kind]
        for start, pin in ((0, None), (0, Pin("7")), (500, None), (500, Pin("7"))):
            with pytest.raises(UnavailableError):
                store.get_range("key", start, 100, pin)
        whole.body = b""
        assert store.get_range("key", 0, 100).size == 0


def test_what_s3_says_itself_is_believed() -> None:
    with stores(Answer.of_s3(404, "NoSuchKey", "None.")) as opened, pytest.raises(NotThereError):
        opened["s3"].get("key")
    with stores(Answer.of_s3(404, "NoSuchBucket", "None.")) as opened, pytest.raises(RefusedError):
        opened["s3"].get("key")
    with (
        stores(Answer.of_s3(412, "PreconditionFailed", "No.")) as opened,
        pytest.raises(PreconditionFailedError),
    ):
        opened["s3"].put("key", b"x", ABSENT)


def error_of_gcs(status: int, message: str) -> Answer:
    body = f'{{"error": {{"code": {status}, "message": "{message}", "errors": []}}}}'
    return Answer(status, body.encode(), "application/json; charset=UTF-8")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, b"No such object: bucket/prefix/key", HTML),
        error_of_gcs(404, "No such object: bucket/key"),
    ],
)
def test_what_gcs_says_itself_is_believed(answer: Answer) -> None:
    with stores(answer) as opened, pytest.raises(NotThereError):
        opened["gcs"].get("key")
    with (
        stores(error_of_gcs(404, "The specified bucket does not exist.")) as opened,
        pytest.raises(RefusedError),
    ):
        opened["gcs"].get("key")
    with stores(error_of_gcs(412, "At least one.")) as opened, pytest.raises(PreconditionFailedError):
        opened["gcs"].put("key", b"x", ABSENT)


@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.parametrize("drips_head", [False, True])
def test_an_answer_that_drips_has_a_time_limit(drips_head: bool, kind: str) -> None:
    marks = {"ETag": '"9dd4e461268c8034f5c8564e155c67a6"', "X-Goog-Generation": "7"}
    dripping = Answer(200, b"x" * 1000, "application/octet-stream", marks, drip_s=0.05, drips_head=drips_head)
    with stores(dripping) as opened:
        for name in ("get", "create", "list"):
            began_s = steady_clock()
            with pytest.raises(UnavailableError, match="no whole answer within"):
                OPERATIONS[name](opened[kind])
            assert steady_clock() - began_s < 20  # the whole answer would take 50
