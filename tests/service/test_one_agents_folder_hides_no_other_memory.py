"""What lies in one agent's folder, or may not be read there, keeps no org from the list of its memories."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memrepo.models import MemoryPage
from memrepo.wire.requests.memories import EVERY_AGENT, ListMemoriesRequest
from memrepo_worker.group import Agent, Group, Lease, Success
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.identity import begin_identity
from memrepo_worker.store.interface import GET_BYTES_MAX, RefusedError, StoredObject, UnavailableError
from tests.support.refusing_store import RefusingStore
from tests.support.writers import NOW_S, Writer, create, delete, writer

ENTRY = "00000000000000000001.bundle"
LOGGER = "memrepo_worker.service.store_reads.memories"


def listed(one: Writer) -> list[str]:
    request = ListMemoriesRequest(
        org_id="acme", agent_id=EVERY_AGENT, request_id="request-1", enqueued_at=NOW_S
    )
    (outcome,) = one.service(Group(Agent("acme", EVERY_AGENT), (request,), Lease("", math.inf)))
    assert isinstance(outcome, Success)
    assert isinstance(outcome.value, MemoryPage)
    return sorted(memory.agent_id for memory in outcome.value)


def begin(one: Writer, agent_id: str) -> None:
    one.agent = Agent("acme", agent_id)
    one.ask(create(a="x").model_copy(update={"agent_id": agent_id}))


def _fifo(folder: Path) -> None:
    (folder / "journal").mkdir(parents=True)
    os.mkfifo(folder / "journal" / ENTRY)


def _link(folder: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(folder.parent.parent / "sound" / "repo.git")


def _file(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("x")


def _file_for_the_journal(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "journal").write_text("x")


@pytest.mark.parametrize("put_there", [_fifo, _link, _file, _file_for_the_journal])
def test_an_agent_whose_folder_cannot_be_read_is_listed_with_all_others_and_told_of(
    put_there: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with writer(LocalStore(tmp_path / "store"), tmp_path / "cache") as one:
        begin(one, "sound")
        put_there(tmp_path / "store/acme/odd/repo.git")

        with caplog.at_level(logging.WARNING, LOGGER):
            assert listed(one) == ["odd", "sound"]

        (line,) = [record.getMessage() for record in caplog.records if record.name == LOGGER]
        assert line.startswith(
            "1 agent of acme cannot be looked at, and listed as if with a memory: acme/odd: "
        )
        one.agent = Agent("acme", "odd")
        with pytest.raises(RefusedError):
            one.texts()


def test_a_folder_in_the_place_of_an_entry_is_no_memory_and_keeps_it_from_being_begun(tmp_path: Path) -> None:
    with writer(LocalStore(tmp_path / "store"), tmp_path / "cache") as one:
        begin(one, "sound")
        in_the_way = tmp_path / "store/acme/odd/repo.git/journal" / ENTRY
        in_the_way.mkdir(parents=True)

        assert listed(one) == ["sound"]
        with pytest.raises(RefusedError, match=f"{ENTRY} is a folder where a file is to be written") as begun:
            begin(one, "odd")
        with pytest.raises(RefusedError) as read:
            one.texts()
        assert str(read.value) == str(begun.value), "who reads is told the same"

        in_the_way.rmdir()
        begin(one, "odd")
        assert listed(one) == ["odd", "sound"]


@pytest.fixture
def says(tmp_path: Path) -> Path:
    return tmp_path / "says"


@pytest.fixture
def of_three(says: Path, tmp_path: Path) -> Iterator[Writer]:
    """A worker over a store that may refuse what a file says; of three memories one was deleted."""
    store = RefusingStore(MemoryStore(), says, hangs_s=0.0)
    identity = begin_identity(store, lambda: "mine")
    with writer(store, tmp_path / "cache", identity=identity) as one:
        for agent_id in ("ann", "ben", "eve"):
            begin(one, agent_id)
        one.ask(delete().model_copy(update={"agent_id": "eve"}))
        yield one


@pytest.mark.parametrize("agent_id", ["ann", "ben", "eve"])
@pytest.mark.parametrize("trouble", ["refuses", "breaks"])
def test_a_prefix_that_the_store_does_not_give_hides_no_other_and_its_own_is_not_told_to_be_deleted(
    of_three: Writer, says: Path, agent_id: str, trouble: str
) -> None:
    assert listed(of_three) == ["ann", "ben"]

    says.write_text(f"{trouble} acme/{agent_id}/\n")

    assert listed(of_three) == sorted({"ann", "ben", agent_id})


@pytest.mark.parametrize(
    ("trouble", "raised"),
    [
        ("refuses _memrepo/\nrefuses acme/ann/", RefusedError),
        ("hangs _memrepo/\nrefuses acme/ann/", UnavailableError),
        ("refuses acme/", RefusedError),
        ("hangs acme/ann/", UnavailableError),
    ],
    ids=["refuses all that is read", "went away", "refuses the org", "hangs"],
)
def test_a_store_that_refuses_more_than_agents_or_does_not_answer_is_waited_for(
    of_three: Writer, says: Path, trouble: str, raised: type[Exception]
) -> None:
    says.write_text(f"{trouble}\n")
    with pytest.raises(raised):
        listed(of_three)

    says.unlink()
    assert listed(of_three) == ["ann", "ben"]


def test_what_was_refused_for_a_moment_is_looked_at_again(
    of_three: Writer, says: Path, tmp_path: Path
) -> None:
    class MendedByTheGuard(RefusingStore):
        """Refuses an agent until somebody reads which store it is."""

        def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
            if key.startswith("_memrepo/"):
                says.unlink(missing_ok=True)
            return super().get(key, bytes_max)

    store = MendedByTheGuard(of_three.service.dependencies.store, says)
    with writer(store, tmp_path / "second", identity="mine") as one:
        says.write_text("refuses acme/eve/\n")
        assert listed(one) == ["ann", "ben"]
