"""What an answer must have to be the object store's, and not anybody's between us and it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memrepo_worker.store.backends.s3_errors import not_its_own


def bytes_behind_head(answer: Mapping[str, Any]) -> int:
    """Return how many bytes an answer has beside its head."""
    return int(answer["ResponseMetadata"]["HTTPHeaders"].get("content-length") or 0)


def is_page(headers: Mapping[str, str]) -> bool:
    """Whether an answer with this head is a page for people, and not from the store, which says its request's id."""
    return headers.get("content-type", "").startswith("text/html") and "x-amz-request-id" not in headers


def require_page(place_name: str, page: Mapping[str, Any], prefix: str) -> None:
    """Return if this is a page of a listing: else "nothing" would be anybody's answer.

    Raises:
        UnavailableError: it is not.
    """
    lines = len(page.get("Contents", ())) + len(page.get("CommonPrefixes", ()))
    # SeaweedFS says it as it was asked for, and the SDK, which takes it for encoded, reads each + as a space.
    is_ours = page.get("Prefix", prefix) in (prefix, prefix.replace("+", " "))
    if "IsTruncated" not in page or not is_ours or page.get("KeyCount", lines) != lines:
        raise not_its_own(place_name, "a listing that is none")
