"""From an address to a store; a backend, and its SDK, is imported only when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from memrepo.installed import install_command
from memrepo_worker.store.interface import RefusedError, Store
from memrepo_worker.store.options import StoreOptions

Query = Mapping[str, str]

_BUCKET = re.compile(r"[\w.-]+|arn:[\w.:-]+", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,15}", re.ASCII)
_OPTION = re.compile(r"[a-z_]{1,40}", re.ASCII)
_CREDENTIALS_COME_FROM = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or this machine's role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or this machine's service account",
}


class StoreUrlError(RefusedError):
    """The address of a store makes no sense; the message says what would."""


def open_store(url: str, options: StoreOptions | None = None, *, begin: bool = True) -> Store:
    """Open the store at an address. No request is made yet.

    Without ``begin`` nothing is made at the address before something is written there.

    * ``file:///folder``
    * ``s3://bucket/prefix?endpoint_url=…&region=…&addressing_style=…&sse=…&sse_kms_key_id=…&storage_class=…``
    * ``gs://bucket/prefix?endpoint_url=…&project=…&kms_key_name=…&storage_class=…``

    A user or password has no place in an address: one that may hold any is refused before a backend sees it. So the
    name of a store, and what is said of it, show no secret.

    Raises:
        StoreUrlError: the address makes no sense; the message shows nothing that may be a password.
        NotBegunError: there is no such folder, and none was to be begun.
        RefusedError: a package is missing, or a local folder cannot be written; the message says what to do.
    """
    try:
        address = urlsplit(url)
    except ValueError:  # it may quote the address
        raise StoreUrlError(f"a store's address that is no URL: {_USE_ONE}") from None
    opener = _OPENERS.get(address.scheme)
    if opener is None:
        raise StoreUrlError(_no_store(url, address.scheme))
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    if address.scheme in _CREDENTIALS_COME_FROM:
        _require_bucket(address)
        _require_endpoint(address.scheme, query)
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


_KNOWN = ", ".join(f"{name}://" for name in _OPENERS)
_USE_ONE = f"use {_KNOWN}"


def _require_bucket(address: SplitResult) -> None:
    """Refuse what is no bucket's name, and whatever may be a user and password before one."""
    scheme, bucket = address.scheme, address.netloc
    if not bucket:
        raise StoreUrlError(f"{scheme}:// needs a bucket, e.g. {scheme}://bucket/prefix")
    if "@" in unquote(bucket):
        raise StoreUrlError(_no_login(scheme))
    if not _BUCKET.fullmatch(bucket):  # of 'user:p/w@bucket' it is 'user:p'
        raise StoreUrlError(
            f"{scheme}:// takes the name of a bucket alone, of letters, digits, '.', '_' and '-', as in "
            f"{scheme}://bucket/prefix?endpoint_url=https://host:9000; {_no_login(scheme)}"
        )


def _require_endpoint(scheme: str, query: Query) -> None:
    endpoint = query.get("endpoint_url")
    if endpoint is None:
        return
    if "@" in unquote(endpoint):
        raise StoreUrlError(f"endpoint_url: {_no_login(scheme)}")
    try:
        place = urlsplit(endpoint)
        is_whole = place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise StoreUrlError("endpoint_url must be a server's whole address, as in https://host:9000")


def _no_login(scheme: str) -> str:
    return (
        "no user or password in this URL (a store's address): credentials come from "
        f"{_CREDENTIALS_COME_FROM[scheme]}"
    )


def _no_store(url: str, scheme: str) -> str:
    if scheme == "memory":
        return f"a store in memory would lose every commit when its process ends: {_USE_ONE}"
    if not url:
        return (
            f"MEMREPO_STORE_URL is not set: name a store ({_KNOWN}), or run `memrepo up`, which brings one on this "
            "machine"
        )
    if "://" not in url or not _SCHEME.fullmatch(scheme):  # what is before a ':' may be anything
        return f"a store's address that begins with no kind of store: {_USE_ONE}"
    return f"no store at {scheme!r}: {_USE_ONE}"


def _check_query(scheme: str, query: Query, known: tuple[str, ...]) -> None:
    unknown = sorted(set(query) - set(known))
    if unknown:
        named = (name if _OPTION.fullmatch(name) else "one of its options" for name in unknown)
        raise StoreUrlError(
            f"{scheme}:// does not know {', '.join(named)}; it knows {', '.join(known) or 'no options'}"
        )


def _bucket_and_prefix(address: SplitResult) -> tuple[str, str]:
    """Return the bucket and the prefix of all keys, which is empty or ends in ``/``."""
    prefix = unquote(address.path).strip("/")
    return address.netloc, f"{prefix}/" if prefix else ""


_PACKAGES = {"s3": "boto3", "gcs": "google-cloud-storage"}


def _missing(extra: str) -> RefusedError:
    return RefusedError(f"the package {_PACKAGES[extra]} is not installed: {install_command(extra)}")
