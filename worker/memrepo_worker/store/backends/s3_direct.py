"""Requests by the SDK's lower parts: its signer, its connections and its reading of errors.

Around each call the SDK checks the shape of its arguments, finds the endpoint by rules and runs dozens of hooks, which
takes as long as all else together. Here it does that for the first request of an operation; what it made of that is
kept, and the next ones differ from it in key, body, condition, range and time alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SIGNED_ALIKE = ("v4", "s3v4")
"""Ways to sign for which a request is all that is needed; others take a session of their own, or several regions."""

_OF_ONE_REQUEST = (
    "if-",
    "range",
    "content-",
    "expect",
    "amz-sdk-",
    "x-amz-date",
    "x-amz-content-",
    "authorization",
)
"""How the names of headers begin that say something of one request alone."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What all requests of an operation have in common, at one place."""

    base_url: str
    headers: Mapping[str, str]
    context: Mapping[str, Any]
    signer: Any


class DirectRequests:
    """The requests of one operation on one key, such as PutObject, through one client. Thread-safe."""

    def __init__(self, client: S3Client, operation: str, method: str) -> None:
        self._session = client._endpoint.http_session  # type: ignore[attr-defined] # private: it has the connections
        self._operation = operation
        self._method = method
        self._parser = create_parser("rest-xml")
        self._shape: Any = None  # of an answer that is no error, which is not read
        self._known: _Known | None = None
        client.meta.events.register(f"before-sign.s3.{operation}", self._learn)

    @property
    def are_known(self) -> bool:
        """Whether the SDK has made one, and the next ones can be made after that."""
        return self._known is not None

    def send(
        self, key: str, headers: Mapping[str, str], body: bytes | None = None, *, stream: bool = False
    ) -> AWSResponse:
        """Make a request once they ``are_known``; return the answer, of which with ``stream`` the body is to be read.

        Raises:
            botocore.exceptions.ClientError: what the store answered, as the SDK's own call raises it.
            botocore.exceptions.BotoCoreError: likewise.
        """
        known, method = self._known, self._method
        assert known is not None
        url = known.base_url + _quoted(key)
        request = AWSRequest(method, url, {**known.headers, **headers}, body)
        request.context.update(known.context)
        # For the region that the context names, if it does: an access point's may be another than the client's.
        known.signer.sign(self._operation, request)
        # A plain dict: urllib3 copies it, and the SDK's own kind takes long to be copied.
        signed: Any = dict(request.headers.items())
        if body is not None:
            signed["Content-Length"] = str(len(body))
        answer: AWSResponse = self._session.send(
            AWSPreparedRequest(method, url, signed, body, stream_output=stream)
        )
        if not 200 <= answer.status_code < 300:
            said: Any = {"headers": answer.headers, "status_code": answer.status_code, "body": answer.content}
            raise ClientError(self._parser.parse(said, self._shape), self._operation)
        return answer

    def _learn(
        self,
        request: AWSRequest,
        signature_version: str,
        request_signer: object,
        **_: object,
    ) -> None:
        """Keep what the SDK has made of a request, if the next ones can be made after it."""
        key = request.context.get("input_params", {}).get("Key")
        if self._known is not None or signature_version not in _SIGNED_ALIKE or not isinstance(key, str):
            return
        url = request.url or ""
        if not url.endswith("/" + _quoted(key)):
            return
        self._known = _Known(
            base_url=url[: -len(_quoted(key))],
            headers={
                name: value
                for name, value in request.headers.items()
                if not name.lower().startswith(_OF_ONE_REQUEST)
            },
            context={
                name: value
                for name, value in request.context.items()
                if name in ("client_config", "has_streaming_input", "auth_type", "signing")
            },
            signer=request_signer,
        )


def _quoted(key: str) -> str:
    return quote(key, safe="/~")
