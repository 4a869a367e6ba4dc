"""From an address to a store; a backend, and its SDK, is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from memrepo.installed import install_command
from memrepo_worker.store.interface import RefusedError, Store
from memrepo_worker.store.options import StoreOptions

Query = Mapping[str, str]


class StoreUrlError(RefusedError):
    """The address of a store makes no sense; the message says what would."""


def open_store(url: str, options: StoreOptions | None = None, *, begin: bool = True) -> Store:
    """Open the store at an address. No request is made yet.

    Without ``begin`` nothing is made at the address before something is written there.

    * ``file:///folder``
    * ``s3://bucket/prefix?endpoint_url=…&region=…&addressing_style=…&sse=…&sse_kms_key_id=…&storage_class=…``
    * ``gs://bucket/prefix?endpoint_url=…&project=…&kms_key_name=…&storage_class=…``

    Raises:
        StoreUrlError: the address makes no sense.
        NotBegunError: there is no such folder, and none was to be begun.
        RefusedError: a package is missing, or a local folder cannot be written; the message says what to do.
    """
    address = urlsplit(url)
    opener = _OPENERS.get(address.scheme)
    if opener is None:
        raise StoreUrlError(_no_store(url, address.scheme))
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    return opener(address, query, replace(options or StoreOptions(), begin=begin))


def _open_local(address: SplitResult, query: Query, options: StoreOptions) -> Store:
    from memrepo_worker.store.backends.local import LocalStore  # noqa: PLC0415 - only when asked for

    _check_query("file", query, ())
    path = Path(unquote(address.path))
    if address.netloc not in ("", "localhost") or not path.is_absolute():
        raise StoreUrlError(
            "file:// needs three slashes and an absolute folder, e.g. file:///var/lib/memrepo"
        )
    return LocalStore(path, begin=options.begin)


def _open_s3(address: SplitResult, query: Query, options: StoreOptions) -> Store:
    try:
        from memrepo_worker.store.backends.s3 import S3Store  # noqa: PLC0415 - needs boto3
        from memrepo_worker.store.backends.s3_client import S3Place  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        raise _missing("s3") from error
    known = ("endpoint_url", "region", "addressing_style", "sse", "sse_kms_key_id", "storage_class")
    _check_query("s3", query, known)
    return S3Store.connect(S3Place(*_bucket_and_prefix(address), **query), options)


def _open_gcs(address: SplitResult, query: Query, options: StoreOptions) -> Store:
    try:
        from memrepo_worker.store.backends.gcs import GcsPlace, GcsStore  # noqa: PLC0415 - needs google-cloud-storage
    except ModuleNotFoundError as error:
        raise _missing("gcs") from error
    _check_query("gs", query, ("endpoint_url", "project", "kms_key_name", "storage_class"))
    return GcsStore.connect(GcsPlace(*_bucket_and_prefix(address), **query), options)


_OPENERS = {"file": _open_local, "s3": _open_s3, "gs": _open_gcs}


def _no_store(url: str, scheme: str) -> str:
    known = ", ".join(f"{name}://" for name in _OPENERS)
    if scheme == "memory":
        return f"a store in memory would lose every commit when its process ends: use {known}"
    if not url:
        return (
            f"MEMREPO_STORE_URL is not set: name a store ({known}), or run `memrepo up`, which brings one on this "
            "machine"
        )
    return f"no store at {scheme or url!r}: use {known}"


def _check_query(scheme: str, query: Query, known: tuple[str, ...]) -> None:
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise StoreUrlError(
            f"{scheme}:// does not know {', '.join(unknown)}; it knows {', '.join(known) or 'no options'}"
        )


def _bucket_and_prefix(address: SplitResult) -> tuple[str, str]:
    """Return the bucket and the prefix of all keys, which is empty or ends in ``/``."""
    if not address.netloc:
        raise StoreUrlError(f"{address.scheme}:// needs a bucket, e.g. {address.scheme}://bucket/prefix")
    prefix = unquote(address.path).strip("/")
    return address.netloc, f"{prefix}/" if prefix else ""


_PACKAGES = {"s3": "boto3", "gcs": "google-cloud-storage"}


def _missing(extra: str) -> RefusedError:
    return RefusedError(f"the package {_PACKAGES[extra]} is not installed: {install_command(extra)}")
