"""What a store's error says: which store at which host, the status or errno, the code, and what to mend; no secrets."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from memrepo_worker.store.backends.gcs import GcsPlace, GcsStore
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import (
    ABSENT,
    PlaceBrokenError,
    RefusedError,
    Store,
    StoreError,
    UnavailableError,
)
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK, closed_port
from tests.support.tls import certificate_for, tls_before

SECRET = "s3cr3t-key"
CONTENT = b"planted-content"
PATIENT = StoreOptions(connect_timeout_s=20, read_timeout_s=20)
IMPATIENT = StoreOptions(connect_timeout_s=0.3, read_timeout_s=0.3)
"""For a store that says nothing; of any other a busy machine would say the same."""
SCHEMES = ("s3", "gs")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{SECRET}-token")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def store_at(scheme: str, endpoint: str, options: StoreOptions = PATIENT) -> Store:
    """Open a store; one on GCS sends no credentials, over TLS neither."""
    if scheme == "s3":
        return open_store(
            f"s3://bucket/prefix?endpoint_url={endpoint}&region=x&addressing_style=path", options
        )
    client = Client(
        project="none", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint}
    )
    return GcsStore(client.bucket("bucket"), GcsPlace("bucket", "prefix", endpoint), options)


def failed_put(store: Store) -> StoreError:
    """Put, and return the error; nothing that was sent is in it, and what led to it hangs on it."""
    with pytest.raises(StoreError) as failed:
        store.put("acme/ann/key", CONTENT, ABSENT)
    said = str(failed.value)
    assert SECRET not in said
    assert "AKIAPLANTED" not in said
    assert CONTENT.decode() not in said
    assert "\n" not in said
    assert failed.value.__cause__ is not None
    return failed.value


@contextmanager
def _nobody_listens() -> Iterator[str]:
    yield f"http://{LOOPBACK}:{closed_port()}"


@contextmanager
def _no_such_host() -> Iterator[str]:
    yield "http://store.invalid:9000"


@contextmanager
def _says_nothing() -> Iterator[str]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield f"http://{LOOPBACK}:{server.getsockname()[1]}"


@contextmanager
def _speaks_no_tls() -> Iterator[str]:
    with answering(Answer(200)) as port:
        yield f"https://{LOOPBACK}:{port}"


@contextmanager
def _vouches_for_itself() -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory() as folder,
        answering(Answer(200)) as port,
        tls_before(port, certificate_for(LOOPBACK, Path(folder))) as secured,
    ):
        yield f"https://{LOOPBACK}:{secured}"


@contextmanager
def _hangs_up() -> Iterator[str]:
    with answering(Answer(0)) as port:
        yield f"http://{LOOPBACK}:{port}"


Endpoint = Callable[[], AbstractContextManager[str]]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (_nobody_listens, "connection refused (ECONNREFUSED)"),
        (_no_such_host, "no address for this name"),
        (_says_nothing, "no answer within the time-out"),
        (_speaks_no_tls, "TLS: "),
        (_vouches_for_itself, "TLS: the certificate cannot be verified: "),
        (_hangs_up, "the connection was closed before the answer"),
    ],
)
def test_a_store_that_cannot_be_reached_is_named_with_host_and_cause(
    scheme: str, endpoint: Endpoint, words: str
) -> None:
    with endpoint() as url:
        options = IMPATIENT if endpoint is _says_nothing else PATIENT
        error = failed_put(store_at(scheme, url, options))
    assert type(error) is UnavailableError
    assert str(error).startswith(f"{scheme}://bucket at {url.partition('://')[2]}: {words}")


@pytest.mark.parametrize(
    ("status", "code", "kind", "advice"),
    [
        (403, "AccessDenied", RefusedError, "let these credentials get, put, list and delete"),
        (404, "NoSuchBucket", RefusedError, "create the bucket"),
        (400, "ExpiredToken", RefusedError, "renew the credentials"),
        (400, "InvalidToken", RefusedError, "renew the credentials"),
        (503, "SlowDown", UnavailableError, ""),
        (500, "InternalError", UnavailableError, ""),
    ],
)
def test_s3_says_status_code_and_what_to_mend(
    status: int, code: str, kind: type[StoreError], advice: str
) -> None:
    with answering(Answer.of_s3(status, code, "Said by\nthe server.")) as port:
        error = failed_put(store_at("s3", f"http://{LOOPBACK}:{port}"))
    assert isinstance(error, kind)
    assert str(error).startswith(f"s3://bucket at {LOOPBACK}:{port}: {code} ({status}): Said by the server.")
    assert advice in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (403, RefusedError, "let these credentials get, put, list and delete"),
        (429, UnavailableError, ""),
        (503, UnavailableError, ""),
    ],
)
def test_gcs_says_status_and_what_to_mend(status: int, kind: type[StoreError], advice: str) -> None:
    with answering(Answer(status, b"<html>\n<body>said by a proxy</body></html>", "text/html")) as port:
        error = failed_put(store_at("gs", f"http://{LOOPBACK}:{port}"))
    assert isinstance(error, kind)
    assert str(error).startswith(f"gs://bucket at {LOOPBACK}:{port}: status {status}: <html> <body>said by")
    assert advice in str(error)


def test_a_page_of_a_proxy_is_told_in_part_only() -> None:
    with answering(Answer.of_s3(502, "Bad", "x" * 5000)) as port:
        error = failed_put(store_at("s3", f"http://{LOOPBACK}:{port}"))
    assert len(str(error)) < 500


def test_what_a_program_said_that_was_asked_for_credentials_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(f'[default]\ncredential_process = sh -c "echo {SECRET} >&2; exit 1"\n')
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(RefusedError) as refused:
        store_at("s3", f"http://{LOOPBACK}:{closed_port()}")
    said = "s3://bucket: the credentials cannot be had (CredentialRetrievalError); check their source"
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (errno.ENOSPC, RefusedError, "make room there"),
        (errno.EDQUOT, RefusedError, "raise the quota"),
        (errno.EROFS, RefusedError, "mount it so that it can be written"),
        (errno.EACCES, RefusedError, "memrepo must be able to read and write there"),
        (errno.EIO, PlaceBrokenError, ""),
    ],
)
def test_a_folder_says_the_systems_own_words_and_errno(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[StoreError], advice: str
) -> None:
    store = LocalStore(tmp_path)

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind) as failed:
        store.put("acme/ann/key", CONTENT, ABSENT)

    said = str(failed.value)
    assert said.startswith(f"{tmp_path}/acme/ann/key: {os.strerror(code).lower()} ({errno.errorcode[code]})")
    assert advice in said
    assert isinstance(failed.value.__cause__, OSError)


def test_a_folder_under_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RefusedError, match=r"not a directory \(ENOTDIR\)"):
        LocalStore(tmp_path / "file" / "store")
