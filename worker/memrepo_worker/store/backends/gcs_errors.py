"""What Google Cloud Storage says, in the words of the store interface.

The codes: https://cloud.google.com/storage/docs/json_api/v1/status-codes. What is not known for certain to have done
nothing is "unavailable": its outcome is open, and the caller reads back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # noqa: TID251 - its backend
from requests import Response
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from memrepo.json_text import read_json
from memrepo_worker.store.backends.renewing import CredentialsRefusedError
from memrepo_worker.store.causes import UNREADABLE, one_line, words_of
from memrepo_worker.store.interface import (
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    StoreError,
    UnavailableError,
)

_OWN_WORDS = ("No such object: ", "The specified bucket does not exist", "conditionNotMet")
_WORDS_OF_THE_TEST_SERVER = "Not Found\n"
"""What fake-gcs-server says of an object that is not there."""


@dataclass(frozen=True, slots=True)
class GcsPlaceName:
    """How errors name a bucket, and whether it is on a test server, which says less than the service does."""

    text: str
    is_test_server: bool = False

    def __str__(self) -> str:
        return self.text


class NoSuchRangeError(RefusedError):
    """The object has no bytes there."""


def not_its_own(place: object, what: str) -> UnavailableError:
    """Return what is raised for an answer that the service did not give, or not whole: it says nothing."""
    return UnavailableError(f"{place}: {what}: an answer that is none of this kind of store")


@contextmanager
def translating_errors(place: GcsPlaceName, *, missing_is_bucket: bool = False) -> Iterator[None]:
    """Turn the SDK's errors into the store interface's; ``place`` names bucket and host in their messages.

    ``missing_is_bucket``: nothing but the bucket was asked for.
    """
    try:
        yield
    except (GoogleAPICallError, InvalidResponse) as error:
        answer: Response = error.response
        raise _meaning_of(place, answer, missing_is_bucket=missing_is_bucket) from error
    except DefaultCredentialsError as error:
        raise CredentialsRefusedError(f"{place}: {one_line(str(error))}; check the credentials") from error
    except RefreshError as error:
        said = f"{place}: the credentials cannot be renewed: {_reason_of(error)}"
        kind = UnavailableError if error.retryable else CredentialsRefusedError
        raise kind(f"{said}; check the credentials") from error
    except (GoogleAuthError, RequestException, HTTPError, DataCorruption, OSError) as error:
        raise UnavailableError(f"{place}: {words_of(error)}") from error
    except UNREADABLE as error:
        raise not_its_own(place, type(error).__name__) from error


def _reason_of(error: RefreshError) -> str:
    """Return what the token server gave as reason; the rest of its answer may hold more than that."""
    reason = error.args[0] if error.args else error
    return words_of(reason) if isinstance(reason, BaseException) else one_line(str(reason))


def _meaning_of(place: GcsPlaceName, answer: Response, *, missing_is_bucket: bool) -> StoreError:
    """Return what an error answer means.

    A status says nothing by itself: what stands before the service (a load balancer, a proxy) has the same ones.
    """
    status, text = answer.status_code, answer.text
    said = f"{place}: status {status}: {one_line(text)}"
    if status in (404, 412) and not _is_its_own(place, answer):
        return not_its_own(place, f"status {status}")
    if status == 412:
        return PreconditionFailedError(said)
    if status < 400 or status in (408, 409, 429) or status >= 500 or "rateLimitExceeded" in text:
        return UnavailableError(said)
    if status == 404 and (missing_is_bucket or "bucket does not exist" in text):
        return RefusedError(f"{said}; create the bucket")
    if status == 404:
        return NotThereError(said)
    if status == 416:
        return NoSuchRangeError(said)
    if status == 401:
        return CredentialsRefusedError(f"{said}; check the credentials")
    return RefusedError(f"{said}; let these credentials get, put, list and delete objects there")


def _is_its_own(place: GcsPlaceName, answer: Response) -> bool:
    """Whether an error is in one of the service's own forms: JSON, or a line of text where an object was asked for."""
    if any(words in answer.text for words in _OWN_WORDS):
        return True
    if place.is_test_server and answer.text == _WORDS_OF_THE_TEST_SERVER:
        return True
    try:
        error = read_json(answer.content)["error"]
        return bool(error["code"] == answer.status_code)
    except (ValueError, TypeError, LookupError):
        return False
