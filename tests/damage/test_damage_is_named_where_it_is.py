"""``memrepo store verify``: every damaged object of a journal is named, with its kind, and a sound one is not."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memrepo_worker.cli.progress import Progress
from memrepo_worker.git.bundles import decode_bundle, encode_bundle
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_pack, join_packs
from memrepo_worker.group import Agent
from memrepo_worker.inspection.verifying import Verified, Verifier
from memrepo_worker.journal.entry import LEDGER_REF, JournalDamagedError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    ALWAYS,
    GET_BYTES_MAX,
    RefusedError,
    Store,
    StoredObject,
    StoreError,
    UnavailableError,
)
from tests.damage.conftest import Run
from tests.damage.journals import BASE, ENTRIES, SEGMENT, Journal, entry, flipped, of, put
from tests.support.folding import fold, small_runs
from tests.support.stock_git import empty_repository, git, stock_git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, delete_branch, writer


def without_an_object(data: bytes, folder: Path, kind: str) -> bytes:
    """Return a bundle whose pack lacks the first object of a kind."""
    bundle = decode_bundle(data)
    repo = empty_repository(folder)
    git(repo, "index-pack", "--stdin", stdin=bytes(bundle.pack))
    check = ["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)"]
    listed = git(repo, *check).decode().splitlines()
    lacking = next(
        line.split()[1] for line in listed if line.startswith(kind) and bundle.refs[LEDGER_REF] not in line
    )
    ids = [line.split()[1] for line in listed if line and lacking not in line]
    pack = stock_git().run(
        ["pack-objects", "--stdout", "-q"], repo=repo, stdin="\n".join(ids).encode() + b"\n"
    )
    return encode_bundle(bundle.prerequisites, bundle.refs, pack)


def with_ledger(data: bytes, ledger: bytes) -> bytes:
    """Return a bundle with another ledger."""
    bundle = decode_bundle(data)
    blob = GitObject(Kind.BLOB, ledger)
    pack = join_packs([bundle.pack, encode_pack({object_id(blob): blob}).data])
    assert pack is not None
    return encode_bundle(bundle.prerequisites, {**bundle.refs, LEDGER_REF: object_id(blob)}, pack)


def without_lines(data: bytes, folder: Path) -> bytes:
    """Return a bundle with an empty ledger in the place of its own, and otherwise the same objects."""
    bundle = decode_bundle(data)
    repo = empty_repository(folder)
    git(repo, "index-pack", "--stdin", stdin=bytes(bundle.pack))
    ids = git(repo, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").decode().split()
    empty = git(repo, "hash-object", "-w", "--stdin", stdin=b"").decode().strip()
    kept = [*(sha for sha in ids if sha != bundle.refs[LEDGER_REF]), empty]
    pack = git(repo, "pack-objects", "--stdout", "-q", stdin="".join(f"{sha}\n" for sha in kept).encode())
    return encode_bundle(bundle.prerequisites, {**bundle.refs, LEDGER_REF: empty}, pack)


Plant = Callable[[Journal, Journal, Path], object]

PLANTS: Mapping[str, tuple[str, str, Plant]] = {
    "an entry is missing": (entry(14), "missing", lambda its, _, __: its.pop(entry(14))),
    "a gap that a segment covers": (entry(10), "missing", lambda its, _, __: its.pop(entry(10))),
    "a gap that a base covers": (entry(3), "missing", lambda its, _, __: its.pop(entry(3))),
    "a bit is flipped": (
        entry(13),
        "checksum",
        lambda its, _, __: its.update({entry(13): flipped(its[entry(13)])}),
    ),
    "a bit is flipped below the base": (
        entry(2),
        "checksum",
        lambda its, _, __: its.update({entry(2): flipped(its[entry(2)])}),
    ),
    "a bundle is cut off": (
        entry(15),
        "checksum",
        lambda its, _, __: its.update({entry(15): its[entry(15)][:-100]}),
    ),
    "a bundle ends within its header": (
        entry(15),
        "header",
        lambda its, _, __: its.update({entry(15): its[entry(15)][:60]}),
    ),
    "a header is none": (
        entry(13),
        "header",
        lambda its, _, __: its.update({entry(13): b"x" + its[entry(13)]}),
    ),
    "a header has another's ref": (
        entry(13),
        "header",
        lambda its, _, __: its.update(
            {entry(13): its[entry(13)].replace(b"refs/heads/main", b"refs/notes/main", 1)}
        ),
    ),
    "a pack is another memory's": (
        entry(13),
        "disconnected",
        lambda its, others, _: its.update(
            {
                entry(13): encode_bundle(
                    decode_bundle(its[entry(13)]).prerequisites,
                    decode_bundle(its[entry(13)]).refs,
                    decode_bundle(others[entry(13)]).pack,
                )
            }
        ),
    ),
    "an entry lacks an object": (
        entry(13),
        "disconnected",
        lambda its, _, folder: its.update({entry(13): without_an_object(its[entry(13)], folder, "tree")}),
    ),
    "an entry is another memory's": (
        entry(13),
        "disconnected",
        lambda its, others, _: its.update({entry(13): others[entry(13)]}),
    ),
    "a base lacks an object": (
        BASE,
        "disconnected",
        lambda its, _, folder: its.update({BASE: without_an_object(its[BASE], folder, "blob")}),
    ),
    "a base is another memory's": (BASE, "unequal", lambda its, others, _: its.update({BASE: others[BASE]})),
    "a segment is another memory's": (
        SEGMENT,
        "unequal",
        lambda its, others, _: its.update({SEGMENT: others[SEGMENT]}),
    ),
    "a segment lacks an object": (
        SEGMENT,
        "unequal",
        lambda its, _, folder: its.update({SEGMENT: without_an_object(its[SEGMENT], folder, "blob")}),
    ),
    "a segment is cut off": (
        SEGMENT,
        "checksum",
        lambda its, _, __: its.update({SEGMENT: its[SEGMENT][:-9]}),
    ),
    "a base lost ledger lines": (
        BASE,
        "unequal",
        lambda its, _, folder: its.update({BASE: without_lines(its[BASE], folder)}),
    ),
    "a segment lost ledger lines": (
        SEGMENT,
        "unequal",
        lambda its, _, folder: its.update({SEGMENT: without_lines(its[SEGMENT], folder)}),
    ),
    "a base ends beyond the journal": (
        f"base/{40:020d}.bundle",
        "unequal",
        lambda its, _, __: its.update({f"base/{40:020d}.bundle": its[BASE]}),
    ),
    "the last entries of a segment are not there": (
        SEGMENT,
        "unequal",
        lambda its, _, __: [its.pop(entry(seq)) for seq in range(11, ENTRIES + 1)],
    ),
    "a base has a number that none can have": (
        f"base/{10**19}.bundle",
        "number",
        lambda its, _, __: its.update({f"base/{10**19}.bundle": its[BASE]}),
    ),
    "a ledger line is broken": (
        entry(15),
        "ledger",
        lambda its, _, __: its.update({entry(15): with_ledger(its[entry(15)], b"no line\n")}),
    ),
    "a ref has an unknown name": (
        entry(15),
        "newer",
        lambda its, _, __: its.update(
            {entry(15): its[entry(15)].replace(b"refs/memrepo/ledger", b"refs/memrepo/leader", 1)}
        ),
    ),
    "a marker lies where no delete was": (
        entry(15),
        "marker",
        lambda its, _, __: its.update({entry(15): b""}),
    ),
}
"""What is done to a memory, the object that is damaged then, and the kind."""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def verify(store: LocalStore, tmp_path: Path) -> Iterator[Callable[[], Verified]]:
    with ThreadPoolExecutor(4) as executor:
        yield lambda: Verifier(store, stock_git(), executor, lambda: NOW_S, tmp_path / "scratch").verify(
            AGENT
        )


def named(found: Verified) -> list[tuple[str, str]]:
    prefix = Layout.of(AGENT.org_id, AGENT.agent_id).prefix
    return [(each.key.removeprefix(prefix), each.kind.value) for each in found.damages]


@pytest.mark.parametrize("what", PLANTS)
def test_one_damaged_object_is_named_with_its_kind_and_no_other(
    what: str,
    sound: Journal,
    anothers: Journal,
    store: LocalStore,
    tmp_path: Path,
    verify: Callable[[], Verified],
) -> None:
    key, kind, plant = PLANTS[what]
    journal = dict(sound)
    plant(journal, anothers, tmp_path / "work.git")
    put(store, AGENT, journal)

    assert named(verify()) == [(key, kind)], verify().damages


LINES = [f"{line * 7919 % 10_007}\n" for line in range(1_500)]
"""A file that is large enough to be written as what differs from its last state."""


def of_deltas(folder: Path, word: str) -> Journal:
    """A memory of eight entries, of which each after the second builds on its file as the one before left it."""
    store = LocalStore(folder / "store")
    with writer(store, folder / "cache") as one:
        one.ask(create())
        for number in range(2, 9):
            text = "".join([word, *LINES, *(f"{word} {each}\n" for each in range(number))])
            one.ask(commit(f"{word} {number}", {"log.md": text}))
    return of(store)


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return of_deltas(tmp_path_factory.mktemp("growing"), "one")


@pytest.fixture(scope="module")
def growing_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return of_deltas(tmp_path_factory.mktemp("elsewhere"), "other")


CUTS: Mapping[str, tuple[str, Callable[[Journal, Journal], object]]] = {
    "another memory's is in its place": (
        "disconnected",
        lambda its, others: its.update({entry(4): others[entry(4)]}),
    ),
    "it is not there": ("missing", lambda its, _: its.pop(entry(4))),
    "a bit of it is flipped": (
        "checksum",
        lambda its, _: its.update({entry(4): flipped(its[entry(4)])}),
    ),
}
"""What is done to the fourth of eight entries, and its kind."""


@pytest.mark.parametrize("what", CUTS)
def test_entries_whose_deltas_build_on_a_damaged_one_are_not_named(
    what: str,
    growing: Journal,
    growing_elsewhere: Journal,
    store: LocalStore,
    verify: Callable[[], Verified],
) -> None:
    kind, cut = CUTS[what]
    journal = dict(growing)
    cut(journal, growing_elsewhere)
    put(store, AGENT, journal)

    assert named(verify()) == [(entry(4), kind)], verify().damages


def test_a_base_whose_deltas_build_on_nothing_is_disconnected(
    growing: Journal, store: LocalStore, verify: Callable[[], Verified]
) -> None:
    """An entry, which needs commits before it, is in a base's place."""
    thin = decode_bundle(growing[entry(8)])
    base = f"base/{8:020d}.bundle"
    put(store, AGENT, {**growing, base: encode_bundle((), thin.refs, thin.pack)})

    assert named(verify()) == [(base, "disconnected")], verify().damages


def test_several_are_all_named(
    sound: Journal, anothers: Journal, store: LocalStore, tmp_path: Path, verify: Callable[[], Verified]
) -> None:
    journal = dict(sound)
    for what in (
        "a bit is flipped below the base",
        "an entry is missing",
        "a segment is cut off",
        "a header is none",
    ):
        PLANTS[what][2](journal, anothers, tmp_path / "work.git")
    put(store, AGENT, journal)

    assert sorted(named(verify())) == sorted(
        [(entry(2), "checksum"), (entry(14), "missing"), (SEGMENT, "checksum"), (entry(13), "header")]
    )


def test_what_may_be_the_last_copy_of_lost_entries_is_not_to_be_removed(
    sound: Journal, store: LocalStore, tmp_path: Path, verify: Callable[[], Verified]
) -> None:
    """The end of the journal is lost, or the store was copied while a segment was made. A fold says so, too."""
    put(store, AGENT, {key: data for key, data in sound.items() if not entry(11) <= key < entry(ENTRIES + 1)})

    [damage] = verify().damages

    assert "it ends with entry 12, and the journal with entry 10" in damage.detail
    with pytest.raises(JournalDamagedError, match="entry 12 is not there, with which a base or segment ends"):
        fold(store, tmp_path / "scratch")


def test_a_sound_memory_has_no_damage(
    sound: Journal, store: LocalStore, verify: Callable[[], Verified]
) -> None:
    put(store, AGENT, sound)

    found = verify()

    assert (found.damages, found.entries, found.commits, found.exists) == ((), ENTRIES, ENTRIES, True)


def lives(one: Writer, fold_now: Callable[[], object]) -> Iterator[bool]:
    """Lead a memory through all that is usual; yield whether it exists after each step."""
    one.ask(create(human="likes tea"))
    for number in range(12):
        one.ask(
            commit(f"step {number}", {"same.md": "the same"} if number % 2 else {"same.md": None, "a": "b"})
        )
    one.ask(commit("aside", branch="idea"))
    yield True
    fold_now()
    yield True
    one.ask(delete_branch("idea"))
    for number in range(10):
        one.ask(commit(f"more {number}"))
    fold_now()
    yield True
    one.ask(delete())
    yield False
    one.ask(create(human="likes coffee"))
    yield True
    for number in range(20):
        one.ask(commit(f"new {number}"))
    fold_now()
    yield True
    one.ask(delete())
    yield False


def test_no_step_of_a_memorys_life_is_damage(
    store: LocalStore, tmp_path: Path, verify: Callable[[], Verified]
) -> None:
    with writer(store, tmp_path / "cache") as one, small_runs():
        for exists in lives(one, lambda: fold(store, tmp_path / "folding")):
            found = verify()
            assert (found.damages, found.exists) == ((), exists)


def test_a_delete_that_has_not_come_to_its_end_is_no_damage(
    sound: Journal, store: LocalStore, tmp_path: Path, verify: Callable[[], Verified]
) -> None:
    put(store, AGENT, sound)
    with writer(store, tmp_path / "cache") as one:
        one.ask(delete())
    base = f"base/{ENTRIES + 1:020d}.bundle"
    seal, left = of(store)[entry(ENTRIES + 1)], of(store)[base]
    for marked in (0, 5, ENTRIES):
        put(
            store,
            AGENT,
            {**sound, **{entry(seq): b"" for seq in range(1, marked + 1)}, entry(ENTRIES + 1): seal},
        )
        for key in (base, BASE, SEGMENT):
            store.delete([Layout.of(AGENT.org_id, AGENT.agent_id).prefix + key])
        if marked:
            put(store, AGENT, {base: left})  # it is written before the first marker

        assert verify().damages == (), marked


def test_nothing_is_written_to_the_store(
    sound: Journal, store: LocalStore, verify: Callable[[], Verified]
) -> None:
    put(store, AGENT, sound)

    verify()

    assert of(store) == sound


IN_A_BUCKET = (
    "an entry is missing",
    "a gap that a segment covers",
    "a bit is flipped",
    "a bundle is cut off",
    "a header is none",
    "a pack is another memory's",
    "a base lacks an object",
    "a segment is another memory's",
    "a base lost ledger lines",
    "a ledger line is broken",
    "a ref has an unknown name",
)


def bucket(store: LocalStore, sound: Journal, anothers: Journal, folder: Path) -> set[tuple[str, str]]:
    """Fill a store with a sound memory, and one of each kind of damage; return the keys and kinds of these."""
    put(store, Agent("acme", "aaa-sound"), sound)
    put(store, Agent("zoo", "sound"), sound)
    expected = set()
    for number, (key, kind, plant) in enumerate(PLANTS[what] for what in IN_A_BUCKET):
        journal = dict(sound)
        plant(journal, anothers, folder / f"work-{number}.git")
        agent = Agent("acme", f"planted-{number:02d}")
        put(store, agent, journal)
        expected.add((Layout.of(agent.org_id, agent.agent_id).prefix + key, kind))
    return expected


def test_of_all_memories_each_damaged_object_is_named_with_its_agent(
    sound: Journal, anothers: Journal, store: LocalStore, tmp_path: Path, run: Run
) -> None:
    expected = bucket(store, sound, anothers, tmp_path)

    code, told, errors = run("verify", "--all", "--json")
    by_agent = [json.loads(line) for line in told.splitlines()]

    assert code == 1
    number = len(IN_A_BUCKET)
    assert json.loads(errors.splitlines()[-1])["error"]["message"] == (
        f"{number} of {number + 2} memories are damaged ({number} objects)"
    )
    assert {(each["key"], each["kind"]) for line in by_agent for each in line["damage"]} == expected
    assert [line["agent_id"] for line in by_agent if line["sound"]] == ["aaa-sound", "sound"]


def test_of_sound_memories_nothing_is_said(sound: Journal, store: LocalStore, run: Run) -> None:
    put(store, AGENT, sound)
    put(store, Agent("zoo", "sound"), sound)
    store.put("acme/of-a-letta-server/repo.git/HEAD", b"x", ALWAYS)

    assert run("verify", "--all") == (0, "", "")


def test_one_goes_on_after_a_memory_and_with_one_org_alone(
    sound: Journal, anothers: Journal, store: LocalStore, tmp_path: Path, run: Run
) -> None:
    bucket(store, sound, anothers, tmp_path)
    last = f"acme/planted-{len(IN_A_BUCKET) - 1:02d}"

    assert run("verify", "--all", "--after", last) == run("verify", "--all", "--org", "zoo") == (0, "", "")
    assert run("verify", "--all", "--after", "acme/nobody")[0] == 2
    assert run("verify", "acme", "a", "--after", last)[0] == 2


def test_one_memory_that_is_damaged_is_told_in_full(
    sound: Journal, anothers: Journal, store: LocalStore, tmp_path: Path, run: Run
) -> None:
    journal = dict(sound)
    PLANTS["a bit is flipped"][2](journal, anothers, tmp_path)
    put(store, AGENT, journal)

    code, told, errors = run("verify", AGENT.org_id, AGENT.agent_id)

    assert code == 1
    assert told.startswith(f"acme/agent-1/repo.git/{entry(13)}: checksum: ")
    assert errors == "Error: acme/agent-1 is damaged: 1 object\n"


def test_a_memory_that_cannot_be_read_does_not_keep_the_others_from_it(
    sound: Journal,
    anothers: Journal,
    store: LocalStore,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = dict(sound)
    PLANTS["a bit is flipped"][2](journal, anothers, tmp_path)
    put(store, Agent("acme", "refused"), sound)
    put(store, Agent("zoo", "damaged"), journal)
    refusing = StoreThatRefusesOne(store, "acme/refused/")
    monkeypatch.setattr("memrepo_worker.cli.store.tools.open_store", lambda _, **__: refusing)

    code, told, errors = run("verify", "--all")

    assert code == 1
    assert told.startswith("acme/refused: not read: denied\nzoo/damaged/repo.git/journal/")
    assert errors == "Error: 1 of 2 memories are damaged (1 object), 1 could not be read\n"


def test_what_the_machine_does_not_let_be_read_is_no_damage_and_the_full_folder_is_named(
    sound: Journal, store: LocalStore, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    put(store, AGENT, sound)
    monkeypatch.setattr("memrepo_worker.git.packed.opened.mkdtemp", refuse)

    unusable = (
        f"the cache folder {tmp_path / 'cache'} cannot be written: No space left on device: name one with "
        "MEMREPO_CACHE_DIR that can"
    )
    alone = run("verify", AGENT.org_id, AGENT.agent_id)
    code, told, errors = run("verify", "--all")

    assert alone == (
        5,
        "",
        f"Error: {AGENT} could not be read: {unusable}\n",
    )
    assert code == 5
    assert told == f"{AGENT}: not read: {unusable}\n"
    assert errors == "Error: 0 of 1 memories are damaged (0 objects), 1 could not be read\n"


def test_where_the_store_goes_away_it_is_told_after_which_memory_to_go_on(
    sound: Journal, store: LocalStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        put(store, Agent("acme", name), sound)
    cut = StoreThatRefusesOne(store, "acme/c/", UnavailableError("cut"))
    monkeypatch.setattr("memrepo_worker.cli.store.tools.open_store", lambda _, **__: cut)

    code, _, errors = run("verify", "--all")

    assert code == 5
    assert errors == "Error: cut; --after acme/b goes on there\n"


def test_all_that_have_something_to_join_are_folded_and_then_nothing_is_left_to_do(
    sound: Journal, store: LocalStore, run: Run
) -> None:
    entries = {name: data for name, data in sound.items() if name.startswith("journal/")}
    for name in ("a", "b"):
        put(store, Agent("acme", name), entries)
    put(store, Agent("acme", "done"), sound)
    put(store, Agent("zoo", "of-another-org"), entries)
    put(store, Agent("acme", "broken"), {**entries, entry(2): b"no bundle"})

    with small_runs():
        code, told, errors = run("fold", "--all", "--org", "acme")
        again = run("fold", "--all", "--org", "acme")
        store.delete([Layout.of("acme", "broken").prefix + entry(seq) for seq in range(1, ENTRIES + 1)])
        last = run("fold", "--all")

    assert code == 1
    assert [line.split(": ")[0] for line in told.splitlines()] == ["acme/a", "acme/b", "acme/broken"]
    assert errors.startswith("Error: 1 could not be folded; 2 of 4 memories were folded (")
    assert again[1].startswith("acme/broken: not folded: ")
    assert (last[0], last[1].split(": ")[0], last[2]) == (0, "zoo/of-another-org", "")
    assert BASE in of(store, Agent("acme", "a"))
    assert run("verify", "--all") == (0, "", "")


class StoreThatRefusesOne(StoreDecorator):
    """Gives no object whose key begins so."""

    def __init__(self, store: Store, prefix: str, error: StoreError | None = None) -> None:
        super().__init__(store)
        self._prefix = prefix
        self._error = error or RefusedError("denied")

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        if key.startswith(self._prefix):
            raise self._error
        return super().get(key, bytes_max)


class Ticks:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("is_terminal", [False, True])
def test_how_far_it_is_is_told_now_and_then(is_terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Ticks()
    progress = Progress("verifying", 200, is_terminal=is_terminal, clock=clock)
    for number in range(100):
        clock.now_s += 1.0
        progress.step(Agent("acme", f"a-{number}"))

    told = capsys.readouterr().err
    if is_terminal:
        assert "\rverifying [###############---------------] 100 of 200 memories, acme/a-99" in told
    else:
        assert told.splitlines() == [
            f"verifying: {done} of 200 memories, the last was acme/a-{done - 1}" for done in (30, 60, 90)
        ]
