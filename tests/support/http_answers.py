"""A server for tests that gives every request the same answer, as a store or what stands before it might."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.ports import LOOPBACK


@dataclass
class Answer:
    """What it answers; may be changed while it runs. A status of 0 closes the connection without a word.

    ``size`` is what it says of the body's length, where that is not so. With ``drip_s`` the body comes a byte at a
    time, so far apart, and so does the head where ``drips_head``. ``asked`` counts requests, ``heads`` says of each its
    path and headers. Requests for a range are answered with ``to_ranges``, where there is one.
    """

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    drip_s: float = 0.0
    drips_head: bool = False
    asked: int = 0
    heads: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    to_ranges: Answer | None = None

    @classmethod
    def of_s3(cls, status: int, code: str, message: str) -> Answer:
        """Return an error as S3 writes it."""
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return cls(status, text.encode(), "application/xml")


@contextmanager
def answering(answer: Answer, port: int = 0) -> Iterator[int]:
    """Run the server in threads until the block ends; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            answer.asked += 1
            answer.heads.append((self.path, dict(self.headers.items())))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._give(answer.to_ranges if answer.to_ranges and "Range" in self.headers else answer)
            self.close_connection = True

        def _give(self, answer: Answer) -> None:
            if answer.status:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                size = len(answer.body) if answer.size is None else answer.size
                self.send_header("Content-Length", str(size))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.drips_head:
                    self._drip(b"HTTP/1.1 200 OK\r\nX-Drops: " + b"x" * 1000, answer.drip_s)
                else:
                    self.end_headers()
                    self._drip(answer.body, answer.drip_s) if answer.drip_s else self.wfile.write(answer.body)

        def _drip(self, data: bytes, drip_s: float) -> None:
            with suppress(OSError):
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    time.sleep(drip_s)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((LOOPBACK, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
