"""What comes out of a store obeys the rules for what goes in; what does not is damage that names its key."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError, MemoryRepoError, RefNotFoundError, TooLargeError
from memrepo.limits import MIB
from memrepo_worker.git.bundles import decode_bundle, encode_bundle
from memrepo_worker.git.deltas.encoding import Delta, encode_delta
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.pack_sizes import holds
from memrepo_worker.group import Agent, Group, Lease
from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS, ListedObject
from tests.support.bombs import nested_deltas
from tests.support.folding import fold, small_runs
from tests.support.jobs import present
from tests.support.writers import AGENT, Writer, commit, create, files, history, writer

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


# What is in the packs


class Forger:
    """Writes the next entry of the memory as somebody would who may write into the bucket."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.objects: dict[str, GitObject] = {}
        self.deltas: dict[str, Delta] = {}
        self.key = LAYOUT.entry(world.worker.warm().state.seq + 1)
        self.refs = dict(world.worker.warm().state.refs)
        self.tip = self.refs["refs/heads/main"]

    def add(self, kind: Kind, data: bytes) -> str:
        item = GitObject(kind, data)
        self.objects[object_id(item)] = item
        return object_id(item)

    def commit(self, tree: str, message: bytes = b"forged") -> str:
        who = b"A <a@example.org> 1700000000 +0000"
        lines = (
            b"tree " + tree.encode(),
            b"parent " + self.tip.encode(),
            b"author " + who,
            b"committer " + who,
        )
        return self.add(Kind.COMMIT, b"\n".join(lines) + b"\n\n" + message)

    def tree(self, *names: bytes) -> str:
        blob = bytes.fromhex(self.add(Kind.BLOB, b"content"))
        return self.add(Kind.TREE, b"".join(b"100644 " + name + b"\0" + blob for name in names))

    def append(self) -> str:
        entry = encode_entry(self.objects, self.refs, [self.tip], [], self.deltas)
        self._world.put(self.key, entry)
        return self.key

    def move(self, sha: str) -> str:
        self.refs["refs/heads/main"] = sha
        return self.append()


@pytest.mark.parametrize(
    "name", [b"..", b".", b"", b"../../etc", b"a/b", b".git", b".GIT", b".g\xe2\x80\x8cit", b"git~1"]
)
def test_a_path_that_leads_out_of_a_folder_is_served_to_nobody(world: World, name: bytes) -> None:
    forger = Forger(world)
    key = forger.move(forger.commit(forger.tree(name, b"plain.md")))
    world.open_anew()
    with pytest.raises(MemoryDamagedError, match="leads elsewhere") as caught:
        world.worker.texts()
    assert caught.value.details == {"key": key}


def test_folders_in_each_other_beyond_measure_are_too_large_to_be_listed(world: World) -> None:
    forger = Forger(world)
    folder = forger.tree(b"plain.md")
    for _ in range(500):
        folder = forger.add(Kind.TREE, b"40000 d\0" + bytes.fromhex(folder))
    forger.move(forger.commit(folder))
    world.open_anew()
    for asked in (files(), history()):
        with pytest.raises(TooLargeError, match="a folder below 400 others"):
            world.worker.ask(asked)
    assert world.worker.ask(commit("more", {"plain.md": "more"})).created


def test_the_entry_is_named_also_where_it_has_a_delta_before_what_is_refused(world: World) -> None:
    before = "".join(f"{line * 7919 % 10_007}\n" for line in range(3_000)).encode()
    world.worker.ask(commit("large", {"log.md": before.decode()}))
    forger = Forger(world)
    after = forger.add(Kind.BLOB, before + b"more\n")
    forger.deltas[after] = Delta(
        object_id(GitObject(Kind.BLOB, before)), present(encode_delta(before, before + b"more\n"))
    )
    evil = b"100644 ..\0" + bytes.fromhex(after)
    key = forger.move(forger.commit(forger.add(Kind.TREE, evil)))
    world.open_anew()

    with pytest.raises(MemoryDamagedError, match="leads elsewhere") as caught:
        world.worker.texts()

    assert caught.value.details == {"key": key}


def test_the_entry_is_named_also_where_a_base_has_deltas(world: World, tmp_path: Path) -> None:
    """Which may be of folders, too: what is refused may be one of them, and is not."""
    before = "".join(f"{line * 7919 % 10_007}\n" for line in range(3_000))
    for number in range(14):
        world.worker.ask(commit(f"append {number}", {"log.md": f"{before}{number}\n"}))
    with small_runs():
        fold(world.store, tmp_path / "scratch")
    base = max(item.key for item in world.store.list(LAYOUT.bases))
    assert holds(decode_bundle(world.store.get(base).data).pack, "1" * 40) is None
    forger = Forger(world)
    key = forger.move(forger.commit(forger.tree(b"..", b"plain.md")))
    world.open_anew()

    with pytest.raises(MemoryDamagedError, match="leads elsewhere") as caught:
        world.worker.texts()

    assert caught.value.details == {"key": key}


def test_a_name_that_is_there_twice_is_damage(world: World) -> None:
    forger = Forger(world)
    key = forger.move(forger.commit(forger.tree(b"a", b"a")))
    world.open_anew()
    assert world.ask_damaged() == key


def test_a_paths_history_passes_over_a_folder_that_is_none_also_where_it_was_asked_before(
    world: World,
) -> None:
    """As git does, which is not asked for what it has said once: the copy is not thrown away for it."""
    asked = history().model_copy(update={"path": "human"})
    (first,) = world.worker.ask(asked)
    forger = Forger(world)
    tea = object_id(GitObject(Kind.BLOB, b"likes tea"))
    evil = bytes.fromhex(forger.add(Kind.BLOB, b"content"))
    lines = b"100644 ..\0" + evil + b"100644 human\0" + bytes.fromhex(tea)
    forger.move(forger.commit(forger.add(Kind.TREE, lines)))
    world.worker.new_lease()

    assert world.worker.ask(asked) == [first]
    counted = world.worker.counters.snapshot()
    assert "repo.healed" not in counted


LARGE: dict[str, Callable[[Forger], str]] = {
    "a commit": lambda forger: forger.move(forger.commit(forger.tree(b"a"), b"x" * (8 * MIB))),
    "a folder": lambda forger: forger.move(
        forger.commit(forger.add(Kind.TREE, (b"100644 " + b"n" * 4000 + b"\0" + bytes(20)) * 5000))
    ),
    "a ledger": lambda forger: forger.move(forger.commit(forger.tree(b"a"))),
}


@pytest.mark.parametrize("what", LARGE)
def test_what_inflates_to_more_than_it_may_be_is_damage_and_is_not_read(
    world: World, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "a ledger":
        monkeypatch.setattr("memrepo_worker.journal.entry.encode_lines", lambda lines: b"\n" * (40 * MIB))
    key = LARGE[what](Forger(world))
    assert len(world.store.get(key).data) < MIB
    world.open_anew()

    tracemalloc.start()
    with pytest.raises(MemoryDamagedError) as caught:
        world.worker.texts()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.details == {"key": key}
    assert peak < 16 * MIB


def test_a_tag_that_inflates_to_more_than_it_may_be_is_damage_where_it_is_asked_for(world: World) -> None:
    forger = Forger(world)
    text = b"object " + forger.tip.encode() + b"\ntype commit\ntag t\n\n"
    forger.refs["refs/tags/t"] = forger.add(Kind.TAG, text + b"x" * (8 * MIB))
    key = forger.append()
    world.open_anew()
    with pytest.raises(MemoryDamagedError) as caught:
        world.worker.ask(files("t"))
    assert caught.value.details == {"key": key}


def test_a_large_file_is_not_read_to_say_that_a_tag_at_it_names_no_commit(world: World) -> None:
    forger = Forger(world)
    forger.refs["refs/tags/t"] = forger.add(Kind.BLOB, bytes(64 * MIB))
    forger.append()
    world.open_anew()
    world.worker.messages()

    tracemalloc.start()
    with pytest.raises(RefNotFoundError):
        world.worker.ask(files("t"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MIB


def test_a_branch_at_a_file_is_damage(world: World) -> None:
    forger = Forger(world)
    forger.refs["refs/heads/b"] = forger.add(Kind.BLOB, b"content")
    key = forger.append()
    world.open_anew()
    assert world.ask_damaged() == key


def test_a_pack_that_git_does_not_take_is_damage_of_its_entry(world: World) -> None:
    for body in (b"\x35not zlib at all", nested_deltas([255, 255, 255])[12:-20]):
        data = b"PACK" + (2).to_bytes(4) + (1 if body[0] == 0x35 else 4).to_bytes(4) + body
        pack = data + hashlib.sha1(data).digest()
        bundle = decode_bundle(world.store.get(SECOND).data)
        sound = world.store.get(SECOND).data
        world.put(SECOND, encode_bundle(bundle.prerequisites, bundle.refs, pack))
        world.open_anew()
        assert world.ask_damaged() == SECOND
        world.put(SECOND, sound)


def test_deltas_of_what_another_memory_has_are_damage_of_their_entry(world: World, tmp_path: Path) -> None:
    """An entry that was put in another's place holds what differs from a file that is nowhere here."""
    another = MemoryStore()
    with writer(another, tmp_path / "another") as elsewhere:
        elsewhere.ask(create())
        for number in range(2):
            elsewhere.ask(commit(f"commit {number}"))
        for number, worker in enumerate((world.worker, elsewhere)):
            lines = [f"{number} {line * 7919 % 10_007}\n" for line in range(3_000)]
            worker.ask(commit("begin", {"log.md": "".join(lines)}))
            for entry in range(4):
                lines.append(f"{entry}\n")
                worker.ask(commit("append", {"log.md": "".join(lines)}))
    last = max(item.key for item in world.store.list(LAYOUT.journal))
    changed = max(item.key for item in another.list(LAYOUT.journal))
    sound = world.store.get(last).data
    world.put(last, another.get(changed).data)
    world.open_anew()
    assert world.ask_damaged() == last

    world.put(last, sound)
    world.open_anew()
    world.worker.ask(commit("over it"))


@pytest.mark.parametrize(
    "line",
    [
        b"no ledger line at all\n",
        b"\n",
        b"request-1 %b committed %b 1750000000.000" % (b"0" * 32, b"1" * 40),
        b"request-1 %b committed %b 1750000000.000\n" % (b"0" * 32, b"1" * 7),
        b"request-1 %b committed %b 1e300\n" % (b"0" * 32, b"1" * 40),
        b'request-1 %b InvalidRequestError %b 1750000000.000 {"message": 7}\n' % (b"0" * 32, b"1" * 40),
        b"request-1 %b committed %b 1750000000.000 %b\n" % (b"0" * 32, b"1" * 40, b'{"a":' * 5000),
    ],
)
def test_a_ledger_of_another_form_is_damage_of_its_entry(
    world: World, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memrepo_worker.journal.entry.encode_lines", lambda lines: line)
    key = Forger(world).append()
    monkeypatch.undo()
    world.open_anew()
    assert world.ask_damaged() == key
