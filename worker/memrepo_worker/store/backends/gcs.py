"""A store in a Google Cloud Storage bucket.

Every put is one request: the SDK would send more than 8 MiB as a resumable upload, which takes several requests, and
whose own error handling deletes the object when a checksum differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO

from google.api_core.page_iterator import Page
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Blob, Bucket, Client  # noqa: TID251 - its backend

from memrepo_worker.store.backends.gcs_connections import LimitedAdapter
from memrepo_worker.store.backends.gcs_errors import (
    GcsPlaceName,
    NoSuchRangeError,
    not_its_own,
    translating_errors,
)
from memrepo_worker.store.backends.gcs_upload import upload_from_disk
from memrepo_worker.store.backends.renewing import Renewing
from memrepo_worker.store.backends.spool import spooled
from memrepo_worker.store.backends.time_limits import AnswerTooLargeError, TimedRequest, TimeLimits
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
    StoredObject,
    StoredRange,
    Version,
    When,
)
from memrepo_worker.store.lifecycle import expiring_gcs_rules
from memrepo_worker.store.options import StoreOptions
from memrepo_worker.store.streams import range_that_is_none
from memrepo_worker.store.versions import KeptVersion

_ENDPOINT = "https://storage.googleapis.com"
DELETES_AT_ONCE = 16
"""Deletes under way at a time: the service has no request that deletes many objects."""


@dataclass(frozen=True, slots=True)
class GcsPlace:
    """Where in GCS, and how objects are kept there. ``prefix`` is empty or ends in ``/``."""

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    project: str | None = None
    kms_key_name: str | None = None
    storage_class: str | None = None

    @property
    def is_test_server(self) -> bool:
        """Whether it is reached in plain text: then no credentials are sent, either."""
        return (self.endpoint_url or "").startswith("http://")

    @property
    def place_name(self) -> GcsPlaceName:
        """How errors name it."""
        name = f"gs://{self.bucket} at {host_of(self.endpoint_url or _ENDPOINT)}"
        return GcsPlaceName(name, self.is_test_server)


class GcsStore:
    """Keeps objects in a bucket; an object's version is its generation."""

    def __init__(self, bucket: Bucket, place: GcsPlace, options: StoreOptions) -> None:
        self._buckets = Renewing(bucket, lambda: _connected(place, options))
        self._place = place
        self._spool_dir = options.spool_dir
        self._place_name = place.place_name
        self._limits = TimeLimits(str(self._place_name), options.request_timeout_s)
        self._timeout_s = (options.connect_timeout_s, options.read_timeout_s)

    @classmethod
    def connect(cls, place: GcsPlace, options: StoreOptions) -> GcsStore:
        """Make the SDK's client, with credentials from its usual chain; no request is made.

        Raises:
            RefusedError: there are no credentials, or the SDK cannot use an option.
        """
        return cls(_connected(place, options), place, options)

    @property
    def name(self) -> str:
        """The address of the bucket and prefix."""
        endpoint = self._place.endpoint_url
        return f"gs://{self._place.bucket}/{self._place.prefix}" + (
            f"?endpoint_url={endpoint}" if endpoint else ""
        )

    @contextmanager
    def _request(
        self, body_bytes: int = 0, *, missing_is_bucket: bool = False
    ) -> Iterator[tuple[Bucket, TimedRequest]]:
        """Give the bucket for one request, whose errors are told in the interface's words, and its time limit."""
        with (
            self._buckets.request() as bucket,
            translating_errors(self._place_name, missing_is_bucket=missing_is_bucket),
            self._limits.request(body_bytes) as request,
        ):
            yield bucket, request

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        try:
            with self._request() as (bucket, request):
                data, generation = self._download(self._blob(bucket, key), request, bytes_max)
        except AnswerTooLargeError as error:
            raise ObjectTooLargeError(key, bytes_max, error.size) from None
        return StoredObject(data, Version(generation))

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        wanted = {"start": start, "end": start + bytes_max - 1}
        if pin is not None:
            wanted["if_generation_match"] = int(pin.mark)
        try:
            with self._request() as (bucket, request):
                data, generation = self._download(self._blob(bucket, key), request, bytes_max, **wanted)
        except AnswerTooLargeError:
            raise not_its_own(self._place_name, "more than was asked for") from None
        except PreconditionFailedError as error:
            raise NotThereError(f"{key} was replaced") from error
        except NoSuchRangeError:
            return range_that_is_none(self, key, start, bytes_max, pin)
        if pin is not None and pin.mark != generation:  # a server that knows no conditions of a get
            raise NotThereError(f"{key} was replaced")
        size = size_in_content_range(request.content_range, start, len(data), bytes_max)
        if size is None:
            raise not_its_own(self._place_name, "another range than was asked for")
        return StoredRange(data, size, Pin(generation))

    def _download(
        self, blob: Blob, request: TimedRequest, bytes_max: int, **wanted: int
    ) -> tuple[bytes, str]:
        """Return bytes of an object, and its generation.

        Raises:
            AnswerTooLargeError: more than ``bytes_max`` come.
        """
        request.answer_bytes_max = bytes_max
        data = blob.download_as_bytes(raw_download=True, retry=None, timeout=self._timeout_s, **wanted)
        if blob.generation is None or len(data) > bytes_max:
            raise not_its_own(self._place_name, "an object without its generation or its length")
        return data, str(blob.generation)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        generation = _generation(when)
        with self._request(len(data), missing_is_bucket=True) as (bucket, _):
            answer = _upload_in_one_request(self._blob(bucket, key), data, generation, self._timeout_s)
        return self._version_in(answer)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds."""
        generation = _generation(when)
        with (
            spooled(parts, self._spool_dir) as spool,
            self._request(spool.size, missing_is_bucket=True) as (bucket, _),
        ):
            answer = upload_from_disk(self._blob(bucket, key), spool, generation, self._timeout_s)
        return self._version_in(answer)

    def _version_in(self, answer: object) -> Version:
        if not isinstance(answer, dict) or "generation" not in answer:
            raise not_its_own(self._place_name, "a put without its generation")
        return Version(str(answer["generation"]))

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects, 1,000 for each request."""
        own = self._place.prefix
        blobs = self._buckets.current.list_blobs(
            prefix=own + prefix,
            start_offset=own + start_after,
            fields="kind,items(name,size),nextPageToken",
            retry=None,
            timeout=self._timeout_s,
        )
        pages = blobs.pages
        while (page := self._page(pages)) is not None:
            for blob in page:
                key = blob.name[len(own) :]
                if key > start_after:
                    yield ListedObject(key, blob.size)

    def _page(self, pages: Iterator[Page]) -> Page | None:
        """Return the next page, which must say that it is one: else "nothing" would be anybody's answer."""
        with self._request(missing_is_bucket=True):
            page = next(pages, None)
        if page is not None and page.raw_page.get("kind") != "storage#objects":
            raise not_its_own(self._place_name, "a listing that is none")
        return page

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder, of one request; it asks on where that has shown none but ``after``."""
        own = self._place.prefix + prefix[: prefix.rfind("/") + 1]
        blobs = self._buckets.current.list_blobs(
            prefix=self._place.prefix + prefix,
            delimiter="/",
            start_offset=f"{own}{after}/" if after else None,
            page_size=names_max + 1,  # the one of ``after`` is shown once more
            fields="kind,prefixes,nextPageToken",
            retry=None,
            timeout=self._timeout_s,
        )
        pages = blobs.pages
        while (page := self._page(pages)) is not None:
            found = [name[len(own) : -1] for name in page.raw_page.get("prefixes", ())]
            names = [name for name in found if name != after]
            if names:
                return FolderPage(names[:names_max], bool(blobs.next_page_token) or len(names) > names_max)
        return FolderPage((), has_more=False)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects, some at a time."""
        with ThreadPoolExecutor(DELETES_AT_ONCE) as threads:
            for _ in threads.map(self._delete, keys):
                pass

    def _delete(self, key: str) -> None:
        """Remove an object, and look: an answer without a word says nothing of whose it is."""
        try:
            with self._request() as (bucket, _):
                self._blob(bucket, key).delete(retry=None, timeout=self._timeout_s)
            with self._request() as (bucket, _):
                self._blob(bucket, key).reload(retry=None, timeout=self._timeout_s)
        except NotThereError:
            return
        raise not_its_own(self._place_name, "a delete after which the object is there")

    def keeps_versions(self) -> bool:
        """Whether the bucket has versioning now; takes the right to read the bucket's own metadata."""
        with self._request(missing_is_bucket=True) as (bucket, _):
            bucket.reload(retry=None, timeout=self._timeout_s)
            return bool(bucket.versioning_enabled)

    def versions(self, prefix: str) -> Iterator[KeptVersion]:
        """Yield all generations of objects, 1,000 for each request."""
        own = self._place.prefix
        blobs = self._buckets.current.list_blobs(
            prefix=own + prefix,
            versions="true",  # of the SDK's own True the protocol's spelling would not come
            fields="kind,items(name,size,generation,timeCreated,timeDeleted),nextPageToken",
            retry=None,
            timeout=self._timeout_s,
        )
        pages = blobs.pages
        while (page := self._page(pages)) is not None:
            for blob in page:
                yield KeptVersion(
                    blob.name[len(own) :],
                    str(blob.generation),
                    blob.size or 0,
                    blob.time_created.timestamp(),
                    is_current=blob.time_deleted is None,
                )

    def delete_versions(self, versions: Iterable[KeptVersion]) -> None:
        """Remove generations for good, some at a time."""
        with ThreadPoolExecutor(DELETES_AT_ONCE) as threads:
            for _ in threads.map(self._delete_version, versions):
                pass

    def _delete_version(self, version: KeptVersion) -> None:
        with suppress(NotThereError), self._request() as (bucket, _):
            blob = bucket.blob(self._place.prefix + version.key, generation=int(version.mark))
            blob.delete(retry=None, timeout=self._timeout_s)

    def expiring_rules(self) -> tuple[str, ...]:
        """Name the lifecycle rules that would remove objects of this store."""
        with self._request(missing_is_bucket=True) as (bucket, _):
            bucket.reload(retry=None, timeout=self._timeout_s)
            return expiring_gcs_rules(bucket.lifecycle_rules, self._place.prefix)

    def _blob(self, bucket: Bucket, key: str) -> Blob:
        blob = bucket.blob(self._place.prefix + key, kms_key_name=self._place.kms_key_name)
        if self._place.storage_class:
            blob.storage_class = self._place.storage_class
        return blob


def _generation(when: When) -> int | None:
    if when is ALWAYS:
        return None
    return 0 if when is ABSENT else int(when.mark)


def _upload_in_one_request(
    blob: Blob, data: bytes, generation: int | None, timeout_s: tuple[float, float]
) -> object:
    """Write an object of any size in one request, and return the answer.

    A private part of the SDK: its public call does the same up to 8 MiB only. Tests put more than that, with a
    condition, and count the requests.
    """
    answer = blob._do_multipart_upload(
        None,
        BytesIO(data),
        "application/octet-stream",
        len(data),
        None,
        generation,
        None,
        None,
        None,
        timeout=timeout_s,
    )
    found: object = answer.json()
    return found


def _connected(place: GcsPlace, options: StoreOptions) -> Bucket:
    """Make a client with the credentials that are there now, and its bucket."""
    with translating_errors(place.place_name):
        return _client(place, options).bucket(place.bucket)


def _client(place: GcsPlace, options: StoreOptions) -> Client:
    """Make a client; a plain-text endpoint is a test server, to which no credentials are sent."""
    plain = place.is_test_server
    client = Client(
        project=place.project or ("none" if plain else None),
        credentials=AnonymousCredentials() if plain else None,
        client_options={"api_endpoint": place.endpoint_url} if place.endpoint_url else None,
    )
    _keep_to_what_is_asked(client, options.connections_max)
    return client


def _keep_to_what_is_asked(client: Client, connections_max: int) -> None:
    """Keep as many connections as wanted, each request to its time, and send none that nobody asked for.

    Private parts of the SDK: its pool of 10 connections has no option, and for tracing, used or not, it asks for the
    bucket's metadata in the background after each object that is not there. Tests count connections and requests.
    """
    for scheme in ("http://", "https://"):
        client._http.mount(scheme, LimitedAdapter(pool_maxsize=connections_max))
    client._http.max_redirects = 0
    client._bucket_metadata_cache = None
