"""What comes out of a store obeys the rules for what goes in; what does not is damage that names its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError, MemoryRepoError
from memrepo_worker.git.bundles import decode_bundle, encode_bundle
from memrepo_worker.group import Agent, Group, Lease
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS, ListedObject
from tests.support.writers import AGENT, Writer, commit, create, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
SECOND = LAYOUT.entry(2)
HUGE = 99_999_999_999_999_999_999


@dataclass
class World:
    store: MemoryStore
    worker: Writer

    def open_anew(self) -> None:
        self.worker.service.cache.drop(AGENT)
        self.worker.new_lease()

    def put(self, key: str, data: bytes) -> None:
        self.store.put(key, data, ALWAYS)

    def ask_damaged(self) -> str:
        """Ask for a commit, which meets damage; return the key that is named."""
        with pytest.raises(MemoryDamagedError) as caught:
            self.worker.ask(commit("over it"))
        key = caught.value.details["key"]
        assert key in caught.value.message
        assert isinstance(key, str)
        return key


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = MemoryStore()
    with writer(store, tmp_path / "cache") as worker:
        worker.ask(create(human="likes tea"))
        for number in range(2):
            worker.ask(commit(f"commit {number}"))
        yield World(store, worker)


def with_header(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def changed(entry: bytes) -> bytes:
        end = entry.index(b"\n\n") + 1
        return change(entry[:end]) + entry[end:]

    return changed


def with_refs(*names: str) -> Callable[[bytes], bytes]:
    def changed(entry: bytes) -> bytes:
        bundle = decode_bundle(entry)
        head = bundle.refs["HEAD"]
        refs = {**bundle.refs, **dict.fromkeys(names, head)}
        return encode_bundle(bundle.prerequisites, refs, bundle.pack)

    return changed


def of_a_blob(branch: str) -> Callable[[bytes], bytes]:
    def changed(entry: bytes) -> bytes:
        bundle = decode_bundle(entry)
        refs = {**bundle.refs, branch: bundle.refs["refs/memrepo/ledger"]}
        return encode_bundle(bundle.prerequisites, refs, bundle.pack)

    return changed


BREACHES: dict[str, Callable[[bytes], bytes]] = {
    "an id in upper case": with_header(lambda header: header.replace(b" refs/heads/main", b"\0").upper()),
    "a short id": with_header(lambda header: header.replace(b"\n", b"\nabc1234 refs/heads/short\n", 1)),
    "a short id that it builds on": with_header(lambda header: header.replace(b"\n", b"\n-abc1234 \n", 1)),
    "300 refs": with_refs(*(f"refs/heads/{number}" for number in range(300))),
    "300,000 refs": with_refs(*(f"refs/heads/{number}" for number in range(300_000))),
    "a name that is not UTF-8": with_refs("refs/heads/caf\udce9"),
    "a name that leaves its folder": with_refs("refs/heads/../../x"),
    "names that exclude each other": with_refs("refs/heads/a", "refs/heads/a/b"),
    "a ref that is neither branch nor tag": with_refs("refs/notes/x"),
    "a ref twice": with_header(lambda header: header + header.splitlines(keepends=True)[-1]),
    "no ledger": with_header(lambda header: header.replace(b"refs/memrepo/ledger", b"refs/tags/ledger")),
    "a HEAD beside main": of_a_blob("HEAD"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_an_entry_that_breaks_a_rule_is_damage_of_its_agent_alone(world: World, breach: str) -> None:
    sound = world.store.get(SECOND).data
    world.put(SECOND, BREACHES[breach](sound))
    world.open_anew()

    assert world.ask_damaged() == SECOND

    (other,) = world.worker.service(Group(Agent("acme", "another"), (create(),), Lease("lease", 1e12)))
    assert not isinstance(other, MemoryRepoError)
    world.put(SECOND, sound)
    assert world.worker.ask(commit("after all")).message == "after all"


def test_a_header_is_not_read_further_than_it_may_be_long(world: World) -> None:
    world.put(SECOND, b"# v2 git bundle\n" + b"-" * 400_000 + b"\n\nPACK")
    world.open_anew()
    with pytest.raises(MemoryDamagedError, match="does not end within 262144 bytes"):
        world.worker.messages()


@pytest.mark.parametrize("number", [HUGE, 10**17, 0, 7])
def test_a_base_of_a_number_that_no_entry_has_is_damage_and_nothing_is_written_after_it(
    world: World, number: int
) -> None:
    world.put(LAYOUT.base(number), world.store.get(LAYOUT.entry(1)).data)
    world.open_anew()
    before = [item.key for item in world.store.list("")]

    key = world.ask_damaged()

    assert key == (LAYOUT.base(number) if number else LAYOUT.journal)
    assert [item.key for item in world.store.list("")] == before


@pytest.mark.parametrize("number", [HUGE, 10**7])
def test_an_entry_far_from_the_others_is_named_and_not_the_many_before_it(world: World, number: int) -> None:
    world.put(LAYOUT.entry(number), world.store.get(LAYOUT.entry(1)).data)
    world.open_anew()
    assert world.ask_damaged() == LAYOUT.entry(number)


def test_of_a_gap_the_entry_is_named_that_is_missing(world: World) -> None:
    world.put(LAYOUT.entry(5), world.store.get(LAYOUT.entry(1)).data)
    world.open_anew()
    assert world.ask_damaged() == LAYOUT.entry(4)


class HidesTheNewest(MemoryStore):
    """Lists nothing above a number, as a broken or hostile server may."""

    hidden_above = ""

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        return (
            item
            for item in super().list(prefix, start_after)
            if not self.hidden_above or item.key <= self.hidden_above
        )


def test_a_number_that_is_taken_and_never_listed_ends_in_damage_after_few_requests(tmp_path: Path) -> None:
    store = HidesTheNewest()
    with writer(store, tmp_path / "cache") as worker:
        worker.ask(create(human="likes tea"))
        worker.ask(commit("one"))
        store.hidden_above = LAYOUT.entry(1)
        worker.service.cache.drop(AGENT)
        worker.new_lease()
        with pytest.raises(MemoryDamagedError) as caught:
            worker.ask(commit("two"))
    assert caught.value.details == {"key": SECOND}
    assert 1 <= worker.counters.snapshot()["journal.lost"] <= 4


def test_at_a_workers_end_every_other_repository_is_saved(world: World) -> None:
    """Whatever it is that keeps one from being saved."""
    world.worker.service(Group(Agent("acme", "another"), (create(),), Lease("lease", 1e12)))
    broken = world.worker.warm()
    broken.state = replace(broken.state, refs={"refs/heads/caf\udce9": "1" * 40})

    world.worker.service.close()

    assert not broken.path.exists()
    saved = list(broken.path.parent.parent.glob("*/*.git/memrepo.json"))
    assert len(saved) == 1
