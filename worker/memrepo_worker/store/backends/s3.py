"""A store in an S3 bucket: AWS, and servers that speak its protocol and honour conditional writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from botocore.response import StreamingBody

from memrepo_worker.store.backends.renewing import Renewing
from memrepo_worker.store.backends.s3_answers import bytes_behind_head, is_page, require_page
from memrepo_worker.store.backends.s3_client import (
    ASK_FIRST_BYTES_MIN,
    S3Connection,
    S3Place,
    connected,
)
from memrepo_worker.store.backends.s3_errors import (
    NoSuchRangeError,
    meaning_of,
    not_its_own,
    translating_errors,
)
from memrepo_worker.store.backends.spool import spooled
from memrepo_worker.store.backends.time_limits import TimedRequest, TimeLimits
from memrepo_worker.store.causes import host_of, size_in_content_range
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    NotThereError,
    ObjectTooLargeError,
    Pin,
    PreconditionFailedError,
    RefusedError,
    StoredObject,
    StoredRange,
    Version,
    When,
)
from memrepo_worker.store.lifecycle import expiring_s3_rules
from memrepo_worker.store.options import StoreOptions
from memrepo_worker.store.streams import range_that_is_none
from memrepo_worker.store.versions import KeptVersion
from memrepo_worker.threads.giving_way import give_way

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import DeleteTypeDef

KEYS_PER_DELETE_MAX = 1000
"""The protocol's limit for one DeleteObjects request."""


class S3Store:
    """Keeps objects in a bucket; an object's version is its ETag."""

    def __init__(self, client: S3Connection, place: S3Place, options: StoreOptions) -> None:
        self._clients = Renewing(client, lambda: connected(place, options))
        self._place = place
        self._put_arguments = place.put_arguments
        self._spool_dir = options.spool_dir
        self._place_name = f"s3://{place.bucket} at {host_of(client.sdk.meta.endpoint_url)}"
        self._limits = TimeLimits(self._place_name, options.request_timeout_s)

    @classmethod
    def connect(cls, place: S3Place, options: StoreOptions) -> S3Store:
        """Make the SDK's client, with credentials from its usual chain; no request is made.

        Raises:
            RefusedError: the SDK cannot use an option, such as an endpoint that is no URL.
        """
        return cls(connected(place, options), place, options)

    @property
    def name(self) -> str:
        """The address of the bucket and prefix."""
        endpoint = self._place.endpoint_url
        return f"s3://{self._place.bucket}/{self._place.prefix}" + (
            f"?endpoint_url={endpoint}" if endpoint else ""
        )

    @contextmanager
    def _request(self, body_bytes: int = 0) -> Iterator[tuple[S3Client, TimedRequest]]:
        """Give the client for one request, whose errors are told in the interface's words, and its time limit."""
        with self._one(body_bytes) as (client, request):
            yield client.sdk, request

    @contextmanager
    def _one(self, body_bytes: int) -> Iterator[tuple[S3Connection, TimedRequest]]:
        with (
            self._clients.request() as client,
            translating_errors(self._place_name),
            self._limits.request(body_bytes) as request,
        ):
            yield client, request

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        with self._answer(key) as (_, body, size, version):
            if size > bytes_max:
                body.close()
                raise ObjectTooLargeError(key, bytes_max, size)
            return StoredObject(body.read(), Version(version))

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        wanted = {"Range": f"bytes={start}-{start + bytes_max - 1}"}
        if pin is not None:
            wanted["IfMatch"] = pin.mark
        try:
            with self._answer(key, **wanted) as (told, body, size, version):
                if pin is not None and pin.mark != version:  # a server that knows no conditions of a get
                    body.close()
                    raise NotThereError(f"{key} was replaced")
                size_of_all = size_in_content_range(told.get("content-range", ""), start, size, bytes_max)
                if size_of_all is None:
                    body.close()
                    raise not_its_own(self._place_name, "another range than was asked for")
                return StoredRange(body.read(), size_of_all, Pin(version))
        except PreconditionFailedError as error:
            raise NotThereError(f"{key} was replaced") from error
        except NoSuchRangeError:
            return range_that_is_none(self, key, start, bytes_max, pin)

    @contextmanager
    def _answer(self, key: str, **wanted: str) -> Iterator[tuple[Mapping[str, str], StreamingBody, int, str]]:
        """Ask for an object; give the head of the answer, its body, which is still to be read, length, and version."""
        with self._one(0) as (client, request):
            told, body = self._get_by(client, self._place.prefix + key, wanted)
            size, version = int(told.get("content-length", -1)), told.get("etag")
            if size < 0 or not version or is_page(told):
                raise not_its_own(self._place_name, "an object without its marks")
            request.allow_for(size)
            yield told, body, size, version

    def _get_by(
        self, client: S3Connection, key: str, wanted: Mapping[str, str]
    ) -> tuple[Mapping[str, str], StreamingBody]:
        """Make the one request; return the head of the answer, by names in lower case, and its body."""
        if client.gets.are_known:
            headers = {_HEADERS[name]: value for name, value in wanted.items()}
            found = client.gets.send(key, headers, stream=True)
            size: Any = found.headers.get("content-length")  # of None it checks nothing, as of the SDK's own
            return found.headers, StreamingBody(found.raw, size)
        arguments: Any = wanted
        answer = client.sdk.get_object(Bucket=self._place.bucket, Key=key, **arguments)
        return answer["ResponseMetadata"]["HTTPHeaders"], answer["Body"]

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        return self._put(key, data, len(data), when)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds."""
        with spooled(parts, self._spool_dir) as spool:
            return self._put(key, spool.file, spool.size, when)

    def _put(self, key: str, body: bytes | IO[bytes], size: int, when: When) -> Version:
        try:
            with self._one(size) as (client, _):
                etag, body_bytes = self._put_by(client, self._place.prefix + key, body, when)
        except NotThereError as error:
            if isinstance(when, Version):
                raise PreconditionFailedError(f"{key}: it is not there any more") from error
            raise RefusedError(f"{error}; a put must not need what is not there") from error
        if not etag or body_bytes:
            raise not_its_own(self._place_name, "a put without its mark")
        return Version(etag)

    def _put_by(self, client: S3Connection, key: str, body: bytes | IO[bytes], when: When) -> tuple[str, int]:
        """Make the one request; return the object's ETag, and how many bytes came with the answer's head."""
        condition = _condition(when)
        if isinstance(body, bytes) and len(body) < ASK_FIRST_BYTES_MIN and client.puts.are_known:
            headers = {_HEADERS[name]: value for name, value in condition.items()}
            told = client.puts.send(key, headers, body).headers
            return told.get("ETag") or "", int(told.get("Content-Length") or 0)
        arguments = {**self._put_arguments, **condition}
        answer = client.sdk.put_object(Bucket=self._place.bucket, Key=key, Body=body, **arguments)
        return answer.get("ETag") or "", bytes_behind_head(answer)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects, 1,000 for each request."""
        own = self._place.prefix
        pages = iter(
            self._clients.current.sdk.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=own + prefix, StartAfter=own + start_after
            )
        )
        while (page := self._page(pages, own + prefix)) is not None:
            for line in page.get("Contents", ()):
                yield ListedObject(line["Key"][len(own) :], line["Size"])

    def _page(self, pages: Iterator[Mapping[str, Any]], prefix: str) -> Mapping[str, Any] | None:
        """Return the next page, which must say that it is one: else "nothing" would be anybody's answer."""
        with self._request():
            page: Mapping[str, Any] | None = next(pages, None)
        give_way()
        if page is None:
            return None
        require_page(self._place_name, page, prefix)
        return page

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder, of one request; it asks on where that has shown none but ``after``."""
        own = self._place.prefix + prefix[: prefix.rfind("/") + 1]
        pages = iter(
            self._clients.current.sdk.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket,
                Prefix=self._place.prefix + prefix,
                Delimiter="/",
                StartAfter=f"{own}{after}/" if after else "",
                # Servers may show the one of ``after`` once more.
                PaginationConfig={"PageSize": names_max + 1},
            )
        )
        while (page := self._page(pages, self._place.prefix + prefix)) is not None:
            found = [line["Prefix"][len(own) : -1] for line in page.get("CommonPrefixes", ())]
            names = [name for name in found if name != after]
            if names:
                return FolderPage(names[:names_max], page["IsTruncated"] or len(names) > names_max)
        return FolderPage((), has_more=False)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects, up to 1,000 in each request."""
        names = iter(keys)
        while batch := list(islice(names, KEYS_PER_DELETE_MAX)):
            self._delete(batch)

    def _delete(self, keys: Sequence[str]) -> None:
        """Remove the objects in one request; the answer names every key, so that silence is no success."""
        wanted: DeleteTypeDef = {"Objects": [{"Key": self._place.prefix + key} for key in keys]}
        with self._request() as (client, _):
            answer = client.delete_objects(Bucket=self._place.bucket, Delete=wanted)
        for error in answer.get("Errors", ()):
            raise meaning_of(self._place_name, 0, error)
        if {line.get("Key") for line in answer.get("Deleted", ())} != {
            self._place.prefix + key for key in keys
        }:
            raise not_its_own(self._place_name, "a delete that does not name what it removed")

    def keeps_versions(self) -> bool:
        """Whether the bucket has versioning now."""
        with _needing("s3:GetBucketVersioning"), self._request() as (client, _):
            return client.get_bucket_versioning(Bucket=self._place.bucket).get("Status") == "Enabled"

    def versions(self, prefix: str) -> Iterator[KeptVersion]:
        """Yield all versions of objects, and delete markers, 1,000 for each request."""
        own = self._place.prefix
        pages = iter(
            self._clients.current.sdk.get_paginator("list_object_versions").paginate(
                Bucket=self._place.bucket, Prefix=own + prefix
            )
        )
        while (page := self._page_of_versions(pages, own + prefix)) is not None:
            for kind in ("Versions", "DeleteMarkers"):
                for line in page.get(kind, ()):
                    yield KeptVersion(
                        line["Key"][len(own) :],
                        line["VersionId"],
                        line.get("Size", 0),
                        line["LastModified"].timestamp(),
                        is_current=line["IsLatest"],
                        is_removal=kind == "DeleteMarkers",
                    )

    def _page_of_versions(self, pages: Iterator[Mapping[str, Any]], prefix: str) -> Mapping[str, Any] | None:
        with _needing("s3:ListBucketVersions"):
            return self._page(pages, prefix)

    def delete_versions(self, versions: Iterable[KeptVersion]) -> None:
        """Remove versions for good, up to 1,000 in each request."""
        left = iter(versions)
        while batch := list(islice(left, KEYS_PER_DELETE_MAX)):
            wanted: DeleteTypeDef = {
                "Objects": [{"Key": self._place.prefix + each.key, "VersionId": each.mark} for each in batch]
            }
            with _needing("s3:DeleteObjectVersion"):
                with self._request() as (client, _):
                    answer = client.delete_objects(Bucket=self._place.bucket, Delete=wanted)
                for error in answer.get("Errors", ()):
                    raise meaning_of(self._place_name, 0, error)

    def expiring_rules(self) -> tuple[str, ...]:
        """Name the lifecycle rules that would remove objects of this store, or make them unreadable."""
        try:
            with self._request() as (client, _):
                answer = client.get_bucket_lifecycle_configuration(Bucket=self._place.bucket)
        except NotThereError:
            return ()
        return expiring_s3_rules(answer.get("Rules", ()), self._place.prefix)


@contextmanager
def _needing(right: str) -> Iterator[None]:
    """Name the right that no worker needs, where it may be what is missing."""
    try:
        yield
    except RefusedError as error:
        raise RefusedError(f"{error}; this takes the right {right}") from error


_HEADERS = {"IfNoneMatch": "If-None-Match", "IfMatch": "If-Match", "Range": "Range"}
"""How headers are named whose values are arguments of the SDK."""


def _condition(when: When) -> dict[str, Any]:
    if when is ALWAYS:
        return {}
    return {"IfNoneMatch": "*"} if when is ABSENT else {"IfMatch": when.mark}
