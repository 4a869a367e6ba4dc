"""What Google Cloud Storage says, in the words of the store interface.

The codes: https://cloud.google.com/storage/docs/json_api/v1/status-codes. What is not known for certain to have done
nothing is "unavailable": its outcome is open, and the caller reads back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # noqa: TID251 - its backend
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from memrepo_worker.store.causes import one_line, words_of
from memrepo_worker.store.interface import (
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    StoreError,
    UnavailableError,
)


@contextmanager
def translating_errors(place: str, *, missing_is_bucket: bool = False) -> Iterator[None]:
    """Turn the SDK's errors into the store interface's; ``place`` names bucket and host in their messages.

    ``missing_is_bucket``: nothing but the bucket was asked for.
    """
    try:
        yield
    except GoogleAPICallError as error:
        status = error.code or 0
        raise _meaning_of(place, status, error.message, missing_is_bucket=missing_is_bucket) from error
    except InvalidResponse as error:
        answer = error.response
        raise _meaning_of(
            place, answer.status_code, answer.text, missing_is_bucket=missing_is_bucket
        ) from error
    except DefaultCredentialsError as error:
        raise RefusedError(f"{place}: {one_line(str(error))}; check the credentials") from error
    except RefreshError as error:
        said = f"{place}: the credentials cannot be renewed: {_reason_of(error)}"
        kind = UnavailableError if error.retryable else RefusedError
        raise kind(f"{said}; check the credentials") from error
    except (GoogleAuthError, RequestException, HTTPError, DataCorruption, OSError) as error:
        raise UnavailableError(f"{place}: {words_of(error)}") from error


def _reason_of(error: RefreshError) -> str:
    """Return what the token server gave as reason; the rest of its answer may hold more than that."""
    reason = error.args[0] if error.args else error
    return words_of(reason) if isinstance(reason, BaseException) else one_line(str(reason))


def _meaning_of(place: str, status: int, text: str, *, missing_is_bucket: bool) -> StoreError:
    said = f"{place}: status {status}: {one_line(text)}"
    if status == 412:
        return PreconditionFailedError(said)
    if status in (408, 409, 429) or status >= 500 or "rateLimitExceeded" in text:
        return UnavailableError(said)
    if status == 404 and (missing_is_bucket or "bucket does not exist" in text):
        return RefusedError(f"{said}; create the bucket")
    if status == 404:
        return NotThereError(said)
    return RefusedError(f"{said}; let these credentials get, put, list and delete objects there")
