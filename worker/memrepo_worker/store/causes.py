"""Why a request over a network got no answer, in plain words; each SDK wraps the cause several times, in its way."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from memrepo.masking import masked_within

_BY_NAME: Mapping[str, str] = {
    "ConnectTimeout": "no connection within the time-out",
    "ConnectTimeoutError": "no connection within the time-out",
    "ReadTimeout": "no answer within the time-out",
    "ReadTimeoutError": "no answer within the time-out",
    "RemoteDisconnected": "the connection was closed before the answer",
    "ConnectionClosedError": "the connection was closed before the answer",
    "IncompleteRead": "the answer broke off",
    "IncompleteReadError": "the answer broke off",
    "ResponseStreamingError": "the answer broke off",
    "ResponseParserError": "an answer that is none of this kind of store",
    "DataCorruption": "an answer whose checksum is wrong",
    "ProxyError": "the proxy cannot be used",
}
"""What errors without a number mean: of urllib3, requests, botocore, http.client and Google's client."""

UNREADABLE = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What an SDK raises where an answer has another form than it expects."""

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_CHAIN_MAX = 20
_SAID_MAX = 300


def words_of(error: BaseException) -> str:
    """Return the innermost cause that is known, with its errno where it has one; else the error's class.

    Not the error's own text: it may hold what was sent.
    """
    chain = [*_chain_of(error)]
    for one in reversed(chain):
        if isinstance(one, OSError) and (words := _words_of_os_error(one)):
            return words
    for one in reversed(chain):
        if (known := _BY_NAME.get(type(one).__name__)) is not None:
            return known
    return "no answer within the time-out" if isinstance(chain[-1], TimeoutError) else type(error).__name__


def words_of_errno(number: int, text: str | None) -> str:
    """Return what the system calls an error, and its name: ``no space left on device (ENOSPC)``."""
    name = errno.errorcode.get(number)
    words = (text or "an error of the system").lower()
    return f"{words} ({name})" if name else words


def one_line(text: str) -> str:
    """Return what a server or an SDK said, on one line, not all of it if it is long, and no address with a password."""
    return masked_within(" ".join(text.split()))[:_SAID_MAX]


def size_in_content_range(header: str, start: int, length: int, bytes_max: int) -> int | None:
    """Return the size of the whole in the ``Content-Range`` of an answer with so many bytes of it.

    None: it is none, or of fewer bytes than there are where ``bytes_max`` were asked for.
    """
    found = _CONTENT_RANGE.fullmatch(header)
    if found is None:
        return None
    first, last, size = map(int, found.groups())
    is_whole = last + 1 - first == length == min(bytes_max, size - first)
    return size if first == start and is_whole else None


def host_of(url: str | None) -> str:
    """Return host and port of an address, without a user or password."""
    address = urlsplit(url or "")
    host = address.hostname or "an unknown host"
    return f"{host}:{address.port}" if address.port else host


def _words_of_os_error(error: OSError) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the certificate cannot be verified: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return f"no address for this name: {(error.strerror or '').lower()}"
    return words_of_errno(error.errno, error.strerror) if isinstance(error.errno, int) else None


def _chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it wraps, the outermost first."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _CHAIN_MAX:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        kwargs = getattr(one, "kwargs", None)
        wrapped = kwargs.get("error") if isinstance(kwargs, dict) else None  # botocore's
        inner = (*one.args, getattr(one, "reason", None), wrapped, one.__cause__, one.__context__)
        waiting += [each for each in inner if isinstance(each, BaseException)]
