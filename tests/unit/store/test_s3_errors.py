from __future__ import annotations

import pytest

from memrepo_worker.store.backends.s3_errors import meaning_of
from memrepo_worker.store.interface import (
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    StoreError,
    UnavailableError,
)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", NotThereError),
        (404, "NoSuchLifecycleConfiguration", NotThereError),
        (404, "", UnavailableError),
        (404, "404", UnavailableError),
        (412, "", UnavailableError),
        (501, "", UnavailableError),
        (403, "", UnavailableError),
        (412, "PreconditionFailed", PreconditionFailedError),
        (409, "ConditionalRequestConflict", UnavailableError),
        (409, "OperationAborted", UnavailableError),
        (429, "TooManyRequests", UnavailableError),
        (500, "InternalError", UnavailableError),
        (503, "SlowDown", UnavailableError),
        (400, "RequestTimeout", UnavailableError),
        (400, "BadDigest", UnavailableError),
        (0, "InternalError", UnavailableError),
        (0, "AccessDenied", RefusedError),
        (403, "AccessDenied", RefusedError),
        (403, "SignatureDoesNotMatch", RefusedError),
        (403, "QuotaExceeded", RefusedError),
        (404, "NoSuchBucket", RefusedError),
        (301, "PermanentRedirect", RefusedError),
        (400, "InvalidArgument", RefusedError),
        (501, "NotImplemented", RefusedError),
    ],
)
def test_every_answer_is_one_of_four(status: int, code: str, kind: type[StoreError]) -> None:
    assert isinstance(meaning_of("s3://bucket at h", status, {"Code": code}), kind)


def test_a_refusal_says_what_to_mend() -> None:
    refused = str(meaning_of("s3://bucket at h:9000", 404, {"Code": "NoSuchBucket", "Message": "None such"}))
    assert refused == "s3://bucket at h:9000: NoSuchBucket (404): None such; create the bucket"
