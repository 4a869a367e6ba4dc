"""The SDK's client for S3, set for one attempt, one network round trip and little CPU per request.

Its own retries are off: a hidden second attempt of a conditional create would meet the first one's object. So are its
CRC checksums: the signature covers the SHA-256 of the body, which the server checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import boto3  # noqa: TID251 - its backend
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config
from botocore.loaders import Loader, create_loader
from botocore.session import get_session
from botocore.utils import parse_timestamp

from memrepo_worker.store.backends.s3_direct import DirectRequests
from memrepo_worker.store.backends.s3_errors import translating_errors
from memrepo_worker.store.backends.time_limits import LimitedConnection
from memrepo_worker.store.causes import one_line
from memrepo_worker.store.interface import RefusedError
from memrepo_worker.store.options import StoreOptions

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ASK_FIRST_BYTES_MIN = 1 << 20
"""From this size on a put asks whether the body is wanted (``Expect: 100-continue``): a second round trip."""


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where in S3, and how objects are kept there. ``prefix`` is empty or ends in ``/``."""

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    addressing_style: str = "auto"
    sse: str | None = None
    sse_kms_key_id: str | None = None
    storage_class: str | None = None

    @property
    def put_arguments(self) -> dict[str, Any]:
        """What every put says beside key and body."""
        arguments = {
            "ServerSideEncryption": self.sse,
            "SSEKMSKeyId": self.sse_kms_key_id,
            "StorageClass": self.storage_class,
        }
        return {name: value for name, value in arguments.items() if value}


@dataclass(frozen=True, slots=True, eq=False)
class S3Connection:
    """The SDK's client, and the way that gets and small puts take beside its own calls."""

    sdk: S3Client
    gets: DirectRequests
    puts: DirectRequests


def connected(place: S3Place, options: StoreOptions) -> S3Connection:
    """Make a client with the credentials that are there now."""
    with translating_errors(f"s3://{place.bucket}"):
        try:
            client = _client(place, options)
            gets, puts = (
                DirectRequests(client, "GetObject", "GET"),
                DirectRequests(client, "PutObject", "PUT"),
            )
            return S3Connection(client, gets, puts)
        except ValueError as error:
            # The endpoint may be the environment's (AWS_ENDPOINT_URL), which nobody has looked at.
            raise RefusedError(f"s3://{place.bucket}: {one_line(str(error))}") from error


def _client(place: S3Place, options: StoreOptions) -> S3Client:
    config = Config(
        max_pool_connections=options.connections_max,
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": place.addressing_style},  # type: ignore[arg-type] # the SDK checks it
        tcp_keepalive=True,
        user_agent=f"memrepo Boto3/{boto3.__version__}",  # whole, else the SDK composes one for each request
    )
    client = _session().client("s3", endpoint_url=place.endpoint_url, region_name=place.region, config=config)
    client.meta.events.register_first("before-call.s3.PutObject", _send_at_once)
    client.meta.events.register_first("before-call.s3", _follow_no_redirect)
    _limit_connections(client)
    return client


def _session() -> boto3.session.Session:
    """Return a session of the SDK that reads the times of a listing quickly.

    A page of 1,000 keys takes it 43 ms, in which Python's lock is let go of nowhere, and 34 of them are for the times,
    which nobody asks for.
    """
    session = get_session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=read_time)
    return boto3.session.Session(botocore_session=session)


@cache
def _loader(data_path: str | None) -> Loader:
    """Return what reads the SDK's descriptions, of S3 and of its regions, for all clients of this process.

    A session's own reads and decodes them again for each client, 0.05 s in which Python's lock is let go of nowhere.
    """
    return create_loader(data_path)


def read_time(value: Any) -> datetime:  # noqa: ANN401 - as the SDK's own, which takes several forms
    """Return the time that an answer tells, as the SDK's own ``parse_timestamp`` does."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)
    return found if found.tzinfo is not None else parse_timestamp(value)


def _limit_connections(client: S3Client) -> None:
    """Have the connections tell which request they serve, so that it can be ended.

    A private part of the SDK: it has no option for the whole time of a request. A test has a server drip.
    """
    client._endpoint.http_session._pool_classes_by_scheme.update(  # type: ignore[attr-defined] # private
        http=_HttpPool, https=_HttpsPool
    )


class _HttpConnection(LimitedConnection, AWSHTTPConnection):  # type: ignore[misc] # botocore's own
    """A connection whose requests have a time limit."""


class _HttpsConnection(LimitedConnection, AWSHTTPSConnection):  # type: ignore[misc] # botocore's own
    """A connection whose requests have a time limit."""


class _HttpPool(AWSHTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


def _follow_no_redirect(params: dict[str, Any], **_: object) -> None:
    """Have the SDK take an answer that leads elsewhere as the end: it would ask on, many times over.

    It marks requests that it has led elsewhere once, and leads none twice.
    """
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


def _send_at_once(params: dict[str, Any], **_: object) -> None:
    """Hand a small body to the SDK as bytes: for a file, which it makes of every body, it would ask first."""
    body = params["body"]
    if isinstance(body, BytesIO):
        data = body.getvalue()  # the bytes themselves: its buffer would be a copy
        if len(data) < ASK_FIRST_BYTES_MIN:
            params["body"] = data
