"""A TCP proxy for tests: it delays, counts turns of direction, loses answers, and lets them drip."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.support.ports import LOOPBACK

_SAID_BYTES_MAX = 4096
"""So much is remembered of what a client has said, about: by its first words it is known what it is for."""

TLS_BEGINS = b"\x16"
"""The first byte of a client's greeting."""


class Proxy:
    """Stands before a server. What is public may be read and set while connections are open."""

    def __init__(self, host: str, port: int, delay_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._target = (host, port)
        self._delay_s = delay_s
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._served: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        self.turns = 0
        """How often a client spoke first, or after the server had: each is one network round trip."""
        self.loses_answers = False
        """Break the connection when the server answers: the request was applied, and the client cannot know."""
        self.drips_after: bytes | None = None
        """Answers come a byte at a time to whoever has said this, from when it is set (``b""``: to everybody)."""
        self.drip_s = 1.0
        """How long it is between two bytes then."""
        self.tls_port: int | None = None
        """Where connections go that begin as TLS does, if that is elsewhere; of clients that speak first."""

    def lead_to(self, server_url: str) -> None:
        """Lead new connections to another server; those that are open stay with theirs."""
        self._target = _address(server_url)

    @property
    def target_url(self) -> str:
        """Where new connections lead to, as the address of a Redis."""
        host, port = self._target
        return f"redis://{host}:{port}/0"

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"http://{LOOPBACK}:{self.port}"

    def show(self, tls: ssl.SSLContext) -> None:
        """Show another certificate from now on, and close every connection that was made with the former.

        Also one whose handshake has begun with that and ends later: it is closed before anything said is passed on.
        """

        async def change() -> None:
            self._tls = tls
            await _end(self._served)

        self._run(change())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve in a thread until the block ends."""
        if self._tls is not None:
            self._tls.sni_callback = self._choose
        start = asyncio.start_server(self._accept, LOOPBACK, 0, ssl=self._tls)
        server = self._loop.run_until_complete(start)
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        thread.start()
        try:
            yield
        finally:
            self._run(self._stop(server))
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def _run(self, change: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(change, self._loop).result(timeout=10)

    def _choose(self, handshake: ssl.SSLObject, _host: str | None, _context: ssl.SSLContext) -> None:
        """Have a handshake that begins go on with the certificate that is shown now."""
        assert self._tls is not None
        handshake.context = self._tls

    async def _accept(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        """Serve one connection until one side closes it."""
        handshake = near_writer.get_extra_info("ssl_object")
        if handshake is not None and handshake.context is not self._tls:
            near_writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        task.add_done_callback(self._served.discard)
        await self._serve(near_reader, near_writer)

    async def _serve(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            first = b"" if self.tls_port is None else await near_reader.read(1)
            target = (LOOPBACK, self.tls_port) if first == TLS_BEGINS else self._target
            far_reader, far_writer = await asyncio.open_connection(*target)
            far_writer.write(first)
        except (OSError, asyncio.CancelledError):  # nobody listens there: nor does anybody here
            near_writer.close()
            return
        connection = _Connection(self)
        there = asyncio.create_task(connection.pipe(near_reader, far_writer, from_client=True))
        back = asyncio.create_task(connection.pipe(far_reader, near_writer, from_client=False))
        with suppress(asyncio.CancelledError):  # the proxy stops: asyncio would log it as an error
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        for writer in (near_writer, far_writer):
            writer.close()

    async def _stop(self, server: asyncio.Server) -> None:
        server.close()
        await _end(asyncio.all_tasks() - {asyncio.current_task()})

    async def pass_on(
        self,
        pieces: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        drips: Callable[[], bool],
    ) -> None:
        """Write each piece ``delay_s`` after it came, however fast they come; an empty one is the end."""
        loop = asyncio.get_running_loop()
        while True:
            came, data = await pieces.get()
            if not data:
                return
            if self._delay_s:
                await asyncio.sleep(came + self._delay_s - loop.time())
            while drips() and len(data) > 1:
                writer.write(data[:1])
                data = data[1:]
                await asyncio.sleep(self.drip_s)
            writer.write(data)
            await writer.drain()


class _Connection:
    """Which side of one connection spoke last, and what its client has said."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._client_spoke_last = False
        self._said = b""

    async def pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool
    ) -> None:
        """Pass on what one side says until it ends, or until an answer is to be lost."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        drips = (lambda: False) if from_client else self._drips
        passing = asyncio.create_task(self._proxy.pass_on(pieces, writer, drips))
        try:
            with suppress(ConnectionError):
                while data := await reader.read(1 << 16):
                    if not from_client and self._proxy.loses_answers:
                        break
                    self._note(data, from_client)
                    pieces.put_nowait((asyncio.get_running_loop().time(), data))
            pieces.put_nowait((0.0, b""))
            with suppress(ConnectionError):
                await passing
        finally:
            passing.cancel()

    def _drips(self) -> bool:
        after = self._proxy.drips_after
        return after is not None and after in self._said

    def _note(self, data: bytes, from_client: bool) -> None:
        if from_client and len(self._said) < _SAID_BYTES_MAX:
            self._said += data
        self._proxy.turns += from_client and not self._client_spoke_last
        self._client_spoke_last = from_client


@contextmanager
def proxy(server_url: str, delay_s: float = 0.0, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """Run a proxy before a server, in a thread, until the block ends; ``delay_s`` is added each way.

    With ``tls`` it speaks TLS to clients, not to the server.
    """
    one = Proxy(*_address(server_url), delay_s, tls)
    with one.running():
        yield one


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _address(server_url: str) -> tuple[str, int]:
    address = urlsplit(server_url)
    assert address.hostname is not None
    assert address.port is not None
    return address.hostname, address.port
