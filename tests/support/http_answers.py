"""A server for tests that gives every request the same answer, as a store or what stands before it might."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.ports import LOOPBACK


@dataclass
class Answer:
    """What it answers; may be changed while it runs. A status of 0 closes the connection without a word."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"

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
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if answer.status:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the library's names

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
