"""Data nodes and Sentinels that ask everybody for a user and a password, and speak TLS to clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.support.ports import LOOPBACK, free_port
from tests.support.sentinel import DATA, NAME, Watched, sentinel
from tests.support.tls import Certificate, certificate_for, tls_or_not_before
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

ACL_FILE = Path(__file__).resolve().parents[2] / "docs" / "acl.conf"
DATABASE = 3
ASKING, ASKING_PASSWORD = "memrepo-asks", "asks/s3cr3t&"
ADMIN_PASSWORD = "admin-s3cr3t"
WATCHER_RULES = (
    "+multi +exec +slaveof +replicaof +failover +ping +subscribe +config|rewrite +role +publish +info +hello +auth "
    "+client|setname +client|kill +client|pause +script|kill allchannels"
)
FOLLOWER_RULES = "+psync +replconf +ping"
ASKING_RULES = "+hello +auth +sentinel|get-master-addr-by-name"


@dataclass(frozen=True)
class Guarded:
    """The servers as a producer and as a worker reaches them."""

    producers: Watched
    workers: Watched
    trusted: Path
    """The certificate of them all."""


@contextmanager
def guarded(folder: Path) -> Iterator[Guarded]:
    """Run two data nodes with the users of ``docs/acl.conf`` and three Sentinels until the block ends."""
    with ExitStack() as stack:
        certificate = certificate_for(LOOPBACK, folder / "trusted")
        first_port, first = _node(folder / "first", certificate, stack)
        second_port, second = _node(folder / "second", certificate, stack, follows=first_port)
        with first.client() as client:
            wait_for(lambda: client.info("replication")["connected_slaves"] == 1, "the replica to follow")
        ports = [_sentinel(folder / f"sentinel-{n}", first_port, certificate, stack) for n in range(3)]
        nodes = {first_port: first, second_port: second}
        query = urlencode(
            {
                "sentinel_username": ASKING,
                "sentinel_password": ASKING_PASSWORD,
                "ssl": "true",
                "ssl_ca_certs": certificate.certificate,
            }
        )
        producers, workers = (
            Watched(nodes, ports, f"memrepo-{kind}:change-me-{kind}@", f"?{query}", DATABASE, ADMIN_PASSWORD)
            for kind in ("producer", "worker")
        )
        workers.wait_until_complete()
        yield Guarded(producers, workers, certificate.certificate)


def _node(
    folder: Path, certificate: Certificate, stack: ExitStack, follows: int | None = None
) -> tuple[int, Valkey]:
    """Start a data node; return the port at which it is reached, by TLS or not, and the node."""
    folder.mkdir(parents=True)
    node = Valkey(folder, free_port(), password=ADMIN_PASSWORD)
    port = stack.enter_context(tls_or_not_before(node.port, certificate))
    users = folder / "users.acl"
    users.write_text(
        f"user default on >{ADMIN_PASSWORD} ~* &* +@all\n"
        f"user watcher on >watching -@all {WATCHER_RULES}\n"
        f"user follower on >following -@all {FOLLOWER_RULES}\n{_documented_users()}"
    )
    node.options = (
        *DATA,
        *("--aclfile", str(users), "--masteruser", "follower", "--masterauth", "following"),
        *("--replica-announce-ip", LOOPBACK, "--replica-announce-port", str(port)),
        *(("--replicaof", f"{LOOPBACK} {follows}") if follows else ()),
    )
    node.start()
    stack.callback(node.kill)
    return port, node


def _documented_users() -> str:
    """Return the documented users, whose channels are those of Celery in database 0, for ours."""
    lines = [line for line in ACL_FILE.read_text().splitlines() if line.startswith("user ")]
    return "\n".join(lines).replace("&/0.", f"&/{DATABASE}.") + "\n"


def _sentinel(folder: Path, primary_port: int, certificate: Certificate, stack: ExitStack) -> int:
    port = stack.enter_context(
        sentinel(
            folder,
            primary_port,
            f"sentinel auth-user {NAME} watcher",
            f"sentinel auth-pass {NAME} watching",
            f"requirepass {ADMIN_PASSWORD}",
            f"user {ASKING} on >{ASKING_PASSWORD} -@all {ASKING_RULES}",
        )
    )
    return stack.enter_context(tls_or_not_before(port, certificate))
