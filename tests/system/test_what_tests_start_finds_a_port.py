"""What the tests themselves rest on: no two of them, and nobody else, meet at a port."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import ports
from tests.support.gcs_server import gcs_server
from tests.support.ports import (
    BESIDE,
    BLOCK,
    LOOPBACK,
    PORTS,
    PortTakenError,
    answers,
    closed_port,
    free_port,
    free_ports,
)
from tests.support.seaweedfs import seaweedfs
from tests.support.sentinel import sentinel
from tests.support.valkey import Valkey, begun, valkey
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
LINUX_CONNECTS_FROM = 32_768
MANY = BLOCK // 2
"""Of a block some may be taken."""
ASKS = f"from tests.support.ports import free_ports; print(free_ports({MANY}), flush=True); input()"


def taken(stack: ExitStack, port: int) -> int:
    """Have somebody bind a port, at which nobody answers: as the near end of a connection does."""
    one = stack.enter_context(closing(socket.socket()))
    one.bind((LOOPBACK, port))
    return port


def first_of_many() -> int:
    """Return a port after which the next twenty are given in turn: nobody has them."""
    while (port := free_port()) % BLOCK >= BLOCK - 20 or not all(map(is_free, range(port + 1, port + 21))):
        pass
    return port


def is_free(port: int) -> bool:
    with ExitStack() as stack, suppress(OSError):
        return bool(taken(stack, port) and taken(stack, port + BESIDE))
    return False


def test_processes_that_run_at_once_are_given_different_ports() -> None:
    with ExitStack() as stack:
        asking = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", ASKS], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for _ in range(4)
        ]
        said = [one.stdout.readline() for one in asking if one.stdout]
    given = [int(port) for line in said for port in line.strip(b"[]\n").split(b",")]

    assert len(given) == len(set(given)) == 4 * MANY


def test_a_port_comes_again_only_after_all_others() -> None:
    given = free_ports(MANY // 2) + [free_port() for _ in range(MANY // 2)]

    assert len(set(given)) == len(given)


def test_a_port_is_passed_over_while_somebody_has_it_or_the_one_that_belongs_to_it() -> None:
    before = first_of_many()
    with ExitStack() as stack:
        taken(stack, before + 1)
        taken(stack, before + 3 + BESIDE)

        assert free_ports(2) == [before + 2, before + 4]


def test_where_all_of_a_block_are_taken_there_is_another() -> None:
    block = range((given := free_port()) - given % BLOCK, given - given % BLOCK + BLOCK)
    with ExitStack() as stack:
        for port in block:
            with suppress(OSError):
                taken(stack, port)

        assert free_port() not in block


def test_the_system_gives_none_of_them_to_a_connection_and_no_port_belongs_to_two() -> None:
    beside = {port + BESIDE for port in PORTS}

    assert max(beside) < LINUX_CONNECTS_FROM
    assert not beside & set(PORTS)


def test_where_nobody_listens_nobody_can() -> None:
    nowhere = (LOOPBACK, closed_port())

    assert not answers(closed_port())
    with pytest.raises(OSError, match="in use"):
        socket.create_server(nowhere).close()
    assert closed_port() not in free_ports(BLOCK)


def a_valkey(folder: Path) -> AbstractContextManager[Any]:
    return valkey(folder)


def a_valkey_of_a_cluster(folder: Path) -> AbstractContextManager[Any]:
    return valkey(folder, "everysec", "--cluster-enabled", "yes")


def a_sentinel(folder: Path) -> AbstractContextManager[Any]:
    return sentinel(folder / "sentinel", closed_port())


@pytest.mark.parametrize(
    ("begin", "away"),
    [
        pytest.param(a_valkey, 0, id="Valkey"),
        pytest.param(a_valkey_of_a_cluster, BESIDE, id="the bus of a cluster"),
        pytest.param(a_sentinel, 0, id="Sentinel"),
        pytest.param(gcs_server, 0, id="fake-gcs-server"),
        pytest.param(seaweedfs, 0, id="SeaweedFS"),
    ],
)
def test_a_server_whose_port_somebody_takes_first_begins_at_another(
    begin: Callable[[Path], AbstractContextManager[Any]],
    away: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = first_of_many()
    monkeypatch.setattr(ports, "_is_free", lambda _: True)  # it was, when it was looked at
    with ExitStack() as stack:
        taken(stack, before + 1 + away)
        with begin(tmp_path):
            assert free_port() > before + 2, "it has asked twice"


def test_a_server_that_begins_again_waits_for_its_own_port(tmp_path: Path) -> None:
    server = begun(tmp_path, "always")
    try:
        url = server.url
        server.client().set("kept", "yes")
        server.kill()
        with ExitStack() as stack:
            taken(stack, server.port)
            log = tmp_path / "valkey.log"

            def give_way() -> None:
                wait_for(
                    lambda: "Address already in use" in log.read_text(), "the server to find its port taken"
                )
                stack.close()

            giving_way = threading.Thread(target=give_way)
            giving_way.start()
            server.start()
            giving_way.join()

        assert server.url == url
        assert server.client().get("kept") == "yes"
    finally:
        server.kill()


def test_a_server_whose_port_is_known_to_others_does_not_begin_elsewhere(tmp_path: Path) -> None:
    server = Valkey(tmp_path)
    with ExitStack() as stack:
        taken(stack, server.port)
        with pytest.raises(PortTakenError, match="Address already in use"):
            server.start()
