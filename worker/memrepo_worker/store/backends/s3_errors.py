"""What S3 says, in the words of the store interface.

The codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. What is not known for certain to have
done nothing is "unavailable": its outcome is open, and the caller reads back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from memrepo_worker.store.backends.renewing import CredentialsRefusedError
from memrepo_worker.store.causes import UNREADABLE, one_line, words_of
from memrepo_worker.store.interface import (
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    StoreError,
    UnavailableError,
)

_NEVER_SENT = (
    sdk.CredentialRetrievalError,
    sdk.EndpointProviderError,
    sdk.InvalidConfigError,
    sdk.InvalidS3AddressingStyleError,
    sdk.NoAuthTokenError,
    sdk.NoCredentialsError,
    sdk.NoRegionError,
    sdk.ParamValidationError,
    sdk.PartialCredentialsError,
    sdk.ProfileNotFound,
    sdk.SSOError,
    sdk.TokenRetrievalError,
    sdk.ValidationError,
)
"""Errors of the SDK before it sends anything; each says what to mend."""

_TELL_TOO_MUCH = (sdk.CredentialRetrievalError, sdk.SSOError, sdk.TokenRetrievalError)
"""Those of them that repeat what a program or a server said when it was asked for credentials."""

_NO_CREDENTIALS = (sdk.NoAuthTokenError, sdk.NoCredentialsError, sdk.PartialCredentialsError)
_WHERE_THEY_ARE_LOOKED_FOR = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role"
)

_OF_CREDENTIALS = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
"""Codes that say of the credentials that they are wrong, or not right any more."""

_TRY_AGAIN = {
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "TemporaryRedirect",
}
"""Codes that come with status 400, or without a status for one key of many, and yet pass by themselves."""

_NOT_THERE = {"NoSuchKey", "NoSuchLifecycleConfiguration"}

_ADVICE = {
    "NoSuchBucket": "create the bucket",
    "AccessDenied": "let these credentials get, put, list and delete objects there",
    "InvalidAccessKeyId": "check the credentials",
    "SignatureDoesNotMatch": "check the credentials",
    "ExpiredToken": "renew the credentials",
    "InvalidToken": "renew the credentials",
    "TokenRefreshRequired": "renew the credentials",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "PermanentRedirect": "name the bucket's region or endpoint in the address of the store",
    "QuotaExceeded": "raise the quota",
    "NotImplemented": "use a server that honours conditional writes",
}


class NoSuchRangeError(RefusedError):
    """The object has no bytes there."""


def not_its_own(place: str, what: str) -> UnavailableError:
    """Return what is raised for an answer that the store did not give, or not whole: it says nothing."""
    return UnavailableError(f"{place}: {what}: an answer that is none of this kind of store")


@contextmanager
def translating_errors(place: str) -> Iterator[None]:
    """Turn the SDK's errors into the store interface's; ``place`` names bucket and host in their messages."""
    try:
        yield
    except sdk.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise meaning_of(place, status, error.response.get("Error", {})) from error
    except _TELL_TOO_MUCH as error:
        raise CredentialsRefusedError(
            f"{place}: the credentials cannot be had ({type(error).__name__}); check their source"
        ) from error
    except _NO_CREDENTIALS as error:
        raise CredentialsRefusedError(
            f"{place}: {one_line(str(error))}; {_WHERE_THEY_ARE_LOOKED_FOR}"
        ) from error
    except _NEVER_SENT as error:
        raise RefusedError(f"{place}: {one_line(str(error))}") from error
    except (sdk.BotoCoreError, ResponseParserError, HTTPError, OSError) as error:
        raise UnavailableError(f"{place}: {words_of(error)}") from error
    except UNREADABLE as error:
        raise not_its_own(place, type(error).__name__) from error


def meaning_of(place: str, status: int, error: Mapping[str, Any]) -> StoreError:
    """Return what an error answer means; ``status`` is 0 for one key's line in the answer to a request for many.

    A status says nothing by itself: what stands before a store (a load balancer, a proxy) has the same ones. Only the
    store's own code, in its own form of an error, says that something is not there or that a condition did not hold.
    """
    code = str(error.get("Code") or "")
    if code in ("", str(status)):  # the SDK's, where there was none in the answer
        return not_its_own(place, f"status {status}")
    said = f"{place}: {code} ({status or 'one key'}): {one_line(str(error.get('Message') or ''))}"
    if code == "PreconditionFailed":
        return PreconditionFailedError(said)
    if status in (408, 409, 412, 429) or (status >= 500 and status != 501) or code in _TRY_AGAIN:
        return UnavailableError(said)
    if code == "InvalidRange":
        return NoSuchRangeError(said)
    if code in _NOT_THERE:
        return NotThereError(said)
    advice = _ADVICE.get(code)
    kind = CredentialsRefusedError if code in _OF_CREDENTIALS else RefusedError
    return kind(f"{said}; {advice}" if advice else said)
