"""TLS before a server that speaks none, with a certificate made for the test."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.ports import LOOPBACK
from tests.support.proxy import proxy


@dataclass(frozen=True)
class Certificate:
    """A certificate that vouches for itself, and its key, as files."""

    certificate: Path
    key: Path

    def shown(self) -> ssl.SSLContext:
        """Return how a server speaks TLS that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def certificate_for(name: str, folder: Path) -> Certificate:
    """Make a certificate for a host's name or address."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    host = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


@contextmanager
def tls_before(port: int, certificate: Certificate) -> Iterator[int]:
    """Give a port of loopback that speaks TLS and passes on to another that does not."""
    with proxy(f"redis://{LOOPBACK}:{port}", tls=certificate.shown()) as running:
        yield running.port


@contextmanager
def tls_or_not_before(port: int, certificate: Certificate) -> Iterator[int]:
    """Give a port of loopback that speaks TLS to who does, and none to who does not."""
    with tls_before(port, certificate) as tls_port, proxy(f"redis://{LOOPBACK}:{port}") as running:
        running.tls_port = tls_port
        yield running.port


@contextmanager
def listening(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """Give a port of loopback where ``serve`` gets each connection in a thread of its own."""
    with socket.create_server((LOOPBACK, 0), backlog=50) as listener:

        def one(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                serve(connection)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # closed
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
