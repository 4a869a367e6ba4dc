"""Connections of the GCS SDK that tell which request they serve, so that it can be ended."""

from __future__ import annotations

from typing import Any

from requests import Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from memrepo_worker.store.backends.time_limits import AnswerTooLargeError, LimitedConnection, begin_answer


class _HttpConnection(LimitedConnection, HTTPConnection):
    """A connection whose requests have a time limit."""


class _HttpsConnection(LimitedConnection, HTTPSConnection):
    """A connection whose requests have a time limit."""


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class LimitedAdapter(HTTPAdapter):
    """Makes such connections."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def send(self, *args: Any, **kwargs: Any) -> Response:
        """Send a request; the head of the answer says how long its body may take."""
        answer = super().send(*args, **kwargs)
        size = int(answer.headers.get("Content-Length") or 0)
        try:
            begin_answer(size, answer.headers.get("Content-Range", ""), is_error=answer.status_code >= 400)
        except AnswerTooLargeError:
            answer.close()
            raise
        return answer
