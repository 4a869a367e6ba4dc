"""The version of what crosses the queue, said by every message, so that a worker knows what it may not understand.

A new field of a request needs no new version: a field at its default is not sent, and a worker that meets one it does
not know says that it is older. Version 2 will be a message that a worker of version 1 would misread.
"""

from __future__ import annotations

from collections.abc import Mapping

from memrepo.errors import InvalidRequestError

MESSAGE_VERSION = 1
VERSION_HEADER = "memrepo_version"


def check_message_version(headers: Mapping[str, object]) -> None:
    """Look at the version of a message; one that says none is of version 1.

    Raises:
        InvalidRequestError: it is newer than this worker, or none.
    """
    version = headers.get(VERSION_HEADER, MESSAGE_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidRequestError.of(VERSION_HEADER, "is no version: a number from 1 on")
    if version > MESSAGE_VERSION:
        raise InvalidRequestError.of(
            VERSION_HEADER,
            f"is {version}, and this worker knows {MESSAGE_VERSION}: this worker is older than its producer, "
            "upgrade the workers first",
        )
