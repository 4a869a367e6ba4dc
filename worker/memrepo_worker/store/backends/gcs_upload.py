"""Putting an object into Google Cloud Storage in one request, however large it is, from a file.

The SDK would hold all of it in memory, or send it in several requests, whose own error handling deletes the object
when a checksum differs.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from google.cloud.storage import Blob  # noqa: TID251 - its backend
from google.cloud.storage.exceptions import InvalidResponse  # noqa: TID251 - its backend

from memrepo_worker.store.backends.spool import Spool

_CHUNK_BYTES = 1 << 20


def upload_from_disk(
    blob: Blob, spool: Spool, generation: int | None, timeout_s: tuple[float, float]
) -> object:
    """Write an object if its generation is this one (0: there is none), and return the answer.

    The service holds what came against the digest, and takes nothing else.
    """
    client = blob.client
    body = _Related(_metadata_of(blob, spool), spool)
    answer = (
        client._http.request(  # private, as in the SDK's own calls: it has no other way to its credentials
            "POST",
            _url_of(blob, generation),
            data=body,
            headers={"Content-Type": body.content_type},
            timeout=timeout_s,
        )
    )
    if answer.status_code != 200:
        raise InvalidResponse(answer, "the upload was refused")
    found: object = answer.json()
    return found


def _url_of(blob: Blob, generation: int | None) -> str:
    wanted = {"uploadType": "multipart"}
    if generation is not None:
        wanted["ifGenerationMatch"] = str(generation)
    if blob.kms_key_name is not None:
        wanted["kmsKeyName"] = blob.kms_key_name
    endpoint = blob.client._connection.API_BASE_URL
    return f"{endpoint}/upload/storage/v1/b/{quote(blob.bucket.name, safe='')}/o?{urlencode(wanted)}"


def _metadata_of(blob: Blob, spool: Spool) -> bytes:
    metadata = {"name": blob.name, "md5Hash": base64.b64encode(spool.md5).decode()}
    if blob.storage_class is not None:
        metadata["storageClass"] = blob.storage_class
    return json.dumps(metadata).encode()


class _Related:
    """The body of the request: what is said of an object, then its bytes.

    It is read anew each time it is sent: the transport does that once more where credentials had to be renewed.
    """

    def __init__(self, metadata: bytes, spool: Spool) -> None:
        boundary = uuid.uuid4().hex
        self.content_type = f"multipart/related; boundary={boundary}"
        mark = f"--{boundary}\r\n".encode()
        self._head = (
            mark
            + b"Content-Type: application/json; charset=UTF-8\r\n\r\n"
            + metadata
            + b"\r\n"
            + mark
            + b"Content-Type: application/octet-stream\r\n\r\n"
        )
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._spool = spool

    def __len__(self) -> int:
        return len(self._head) + self._spool.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        self._spool.file.seek(0)
        while chunk := self._spool.file.read(_CHUNK_BYTES):
            yield chunk
        yield self._tail
