"""What a listing says of times is read as the SDK reads it, without what that takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.utils import parse_timestamp

from memrepo_worker.store.backends import s3_client
from memrepo_worker.store.backends.s3 import S3Store
from memrepo_worker.store.backends.s3_client import read_time
from memrepo_worker.store.open import open_store
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK

PAGE = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Name>bucket</Name><Prefix></Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
<Contents><Key>a</Key><LastModified>2026-11-28T00:33:01.250Z</LastModified><ETag>"one"</ETag><Size>7</Size>
<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"""
TIMES = [
    "2026-11-28T00:33:01.250Z",
    "2026-11-28T00:33:01Z",
    "2026-11-28T02:33:01+02:00",
    "2026-11-28T00:33:01",
    "2026-11-28",
    "20261128T003301Z",
    "Sat, 28 Nov 2026 00:33:01 GMT",
    "1795826781",
    "20261128",
    1795826781,
    1795826781.25,
]


@pytest.mark.parametrize("told", TIMES, ids=str)
def test_a_time_is_the_one_that_the_sdk_reads(told: Any) -> None:
    assert read_time(told) == parse_timestamp(told)


@pytest.mark.parametrize("told", ["", "soon", "2026-13-01T00:00:00Z", None])
def test_what_is_no_time_is_none_for_both(told: Any) -> None:
    for read in (parse_timestamp, read_time):
        with pytest.raises(ValueError, match="Invalid timestamp"):
            read(told)


def test_listing_takes_no_other_reader_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")

    def too_slow(value: object) -> datetime:
        raise AssertionError(value)

    with answering(Answer(200, PAGE, "application/xml")) as port:
        store = open_store(
            f"s3://bucket?endpoint_url=http://{LOOPBACK}:{port}&region=eu-west-1&addressing_style=path"
        )
        assert isinstance(store, S3Store)
        for place in ("botocore.parsers.parse_timestamp", "botocore.utils.parse_timestamp"):
            monkeypatch.setattr(place, too_slow, raising=False)
        monkeypatch.setattr(s3_client, "parse_timestamp", too_slow)
        found = store._clients.current.sdk.list_objects_v2(Bucket="bucket")["Contents"]
        listed = list(store.list(""))

    assert found[0]["LastModified"] == datetime(2026, 11, 28, 0, 33, 1, 250_000, UTC)
    assert [(each.key, each.size) for each in listed] == [("a", 7)]
