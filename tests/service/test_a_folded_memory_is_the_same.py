"""A memory whose journal was folded: opened from bases, segments and entries, it is what its entries say."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError, RepoNotFoundError
from memrepo.settings import environment
from memrepo_worker.git.bounds import GitCaps
from memrepo_worker.git.command import GitOverBoundsError
from memrepo_worker.journal.entry import Entry
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ALWAYS, Pin, Store, StoredRange
from tests.support.delayed_store import DelayedStore
from tests.support.documents import ROOT, blocks
from tests.support.folding import fold, folder, owner, small_runs
from tests.support.stock_git import git, restore
from tests.support.writers import AGENT, Writer, commit, create, delete, delete_branch, files, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)


@pytest.fixture(autouse=True)
def runs_of_a_few_entries() -> Iterator[None]:
    with small_runs():
        yield


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def one(store: Store, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "one") as each:
        each.ask(create(human="likes tea"))
        yield each


def steps(one: Writer, *numbers: int) -> None:
    for number in numbers:
        one.ask(commit(f"step {number}", {f"file-{number % 3}": f"text {number}\n" * 20, "log": f"{number}"}))


def accelerators(store: Store) -> list[str]:
    """The bases and segments with content, without their prefix and zeros."""
    keys = [item.key for item in store.list(LAYOUT.prefix) if item.size >= CONTENT_BYTES_MIN]
    names = [key.removeprefix(LAYOUT.prefix).removesuffix(".bundle") for key in keys]
    return [
        "/".join((kind, "-".join(str(int(number)) for number in rest.split("-"))))
        for kind, _, rest in (name.partition("/") for name in names)
        if kind != "journal"
    ]


def opened_elsewhere(store: Store, folder: Path) -> tuple[list[str], dict[str, str], Mapping[str, int]]:
    """What a worker with an empty cache says; and what it counted."""
    with writer(store, folder) as other:
        return other.messages(), other.texts(), other.counters.snapshot()


def test_it_is_opened_from_base_segments_and_entries(store: Store, one: Writer, tmp_path: Path) -> None:
    steps(one, *range(1, 30))
    expected = one.messages(), one.texts()

    folding = fold(store, tmp_path / "scratch")

    assert accelerators(store) == ["base/16", "segment/17-24", "segment/25-28"]
    assert (folding.entries, folding.folded, len(folding.made), folding.removed) == (30, 28, 3, 0)
    messages, texts, counted = opened_elsewhere(store, tmp_path / "two")
    assert (messages, texts) == expected
    assert counted["store.get.requests"] == 1 + 2 + 2
    assert not list((tmp_path / "scratch").glob("*/"))


def test_it_is_opened_in_three_rounds(store: Store, one: Writer, tmp_path: Path) -> None:
    steps(one, *range(1, 30))
    fold(store, tmp_path / "scratch")

    _, _, counted = opened_elsewhere(DelayedStore(store, 0.05), tmp_path / "two")

    assert counted["store.rounds"] <= 3


def test_folding_again_makes_nothing_and_folding_on_only_what_is_new(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    steps(one, *range(1, 20))
    fold(store, tmp_path / "scratch")
    again = fold(store, tmp_path / "scratch")
    steps(one, *range(20, 40))

    on = fold(store, tmp_path / "scratch")

    assert (again.made, again.bytes_written) == ((), 0)
    assert accelerators(store) == ["base/16", "segment/17-32", "segment/33-36"]
    assert [key.removeprefix(LAYOUT.prefix)[:4] for key in on.made] == ["segm", "segm"]
    assert opened_elsewhere(store, tmp_path / "two")[:2] == (one.messages(), one.texts())


def test_every_step_of_its_growth_is_the_same(store: Store, one: Writer, tmp_path: Path) -> None:
    for number in range(1, 40):
        steps(one, number)
        if number % 3 == 0:
            fold(store, tmp_path / "scratch")
            assert opened_elsewhere(store, tmp_path / f"at-{number}")[:2] == (one.messages(), one.texts())


def test_what_no_ref_reaches_stays_readable_and_can_be_begun_from(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    aside = one.ask(commit("aside", {"aside": "kept\n"}, branch="draft")).sha
    one.ask(delete_branch("draft"))
    steps(one, *range(1, 10))
    fold(store, tmp_path / "scratch")

    with writer(store, tmp_path / "two") as other:
        other.ask(commit("goes on", {"more": "x"}, branch="second", start_point=aside))
        assert other.ask(files(aside))["aside"].text == "kept\n"
    steps(one, *range(10, 20))
    fold(store, tmp_path / "scratch")
    with writer(store, tmp_path / "three") as other:
        assert other.ask(files("second"))["aside"].text == "kept\n"
    agent = tmp_path / "store" / AGENT.org_id / AGENT.agent_id / "repo.git"
    repo = restore(agent, tmp_path / "restored.git")
    assert git(repo, "show", "second:aside") == b"kept\n"
    assert git(repo, "fsck", "--strict", "--no-dangling") == b""


def test_a_warm_copy_of_before_goes_on(store: Store, one: Writer, tmp_path: Path) -> None:
    steps(one, *range(1, 20))
    fold(store, tmp_path / "scratch")
    one.new_lease()

    steps(one, 20)

    assert one.counters.snapshot()["repo.opened_cold"] == 1
    assert one.messages()[-1] == "step 20"


def test_a_request_is_known_from_base_and_segments(store: Store, one: Writer, tmp_path: Path) -> None:
    early, late = commit("early"), commit("late")
    first = one.ask(early).sha
    steps(one, *range(1, 17))
    second = one.ask(late).sha
    steps(one, *range(17, 30))
    fold(store, tmp_path / "scratch")

    with writer(store, tmp_path / "two") as other:
        assert [other.ask(early).sha, other.ask(late).sha] == [first, second]
        assert other.messages() == one.messages()


def test_after_a_delete_nothing_is_joined_across_its_seal(store: Store, one: Writer, tmp_path: Path) -> None:
    request = delete()
    steps(one, *range(1, 10))
    fold(store, tmp_path / "scratch")
    one.ask(request)
    assert accelerators(store) == ["base/11"]
    one.ask(create(new="life"))
    steps(one, *range(1, 20))

    fold(store, tmp_path / "scratch")

    assert accelerators(store) == ["base/11", "base/16", "segment/17-24", "segment/25-28"]
    with writer(store, tmp_path / "two") as other:
        other.ask(request)  # known: it was settled in another life
        assert other.messages() == one.messages()


class HeadsCounted(StoreDecorator):
    """Counts the entries of which a beginning was asked for."""

    heads = 0

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        self.heads += LAYOUT.entry_seq(key) is not None
        return super().get_range(key, start, bytes_max, pin)


def test_where_a_memory_began_again_is_found_in_few_steps_however_much_was_asked_of_it_meanwhile(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    one.ask(delete())
    for number in range(100):
        with pytest.raises(RepoNotFoundError):
            one.ask(commit(f"too late {number}"))
    one.ask(create(new="life"))
    steps(one, *range(1, 20))

    fold(counted := HeadsCounted(store), tmp_path / "scratch")

    assert counted.heads < 50
    assert accelerators(store) == ["base/2", "base/112", "segment/113-120"]
    with writer(store, tmp_path / "two") as other:
        assert other.messages() == one.messages()


def test_a_memory_that_was_deleted_is_not_folded(store: Store, one: Writer, tmp_path: Path) -> None:
    steps(one, *range(1, 10))
    one.ask(delete())

    with pytest.raises(RepoNotFoundError):
        fold(store, tmp_path / "scratch")
    assert accelerators(store) == ["base/11"]


def test_a_delete_leaves_nothing_of_what_was_folded(store: Store, one: Writer, tmp_path: Path) -> None:
    steps(one, *range(1, 30))
    fold(store, tmp_path / "scratch")

    one.ask(delete())

    assert accelerators(store) == ["base/31"]


# Stock git

MIXES = {
    "base, segments and entries": (),
    "segments and entries": ("base",),
    "a base and entries": ("segment",),
    "entries alone": ("base", "segment"),
}
"""Which folders are taken away, by what is restored from then."""


@pytest.mark.parametrize("by", ["its owner", "hand"])
@pytest.mark.parametrize("mix", MIXES)
def test_the_documented_commands_restore_it_from_any_mix(
    store: Store, one: Writer, tmp_path: Path, mix: str, by: str
) -> None:
    steps(one, *range(1, 30))
    if by == "hand":
        fold(store, tmp_path / "scratch")
    else:
        with owner(store, tmp_path / "owner") as warm:
            assert warm.fold()["upkeep.fold.done"] == 1
    assert accelerators(store) == ["base/16", "segment/17-24", "segment/25-28"]
    agent = tmp_path / "memrepo-data" / "store" / "acme" / "agent-42" / "repo.git"
    shutil.copytree(tmp_path / "store" / AGENT.org_id / AGENT.agent_id / "repo.git", agent)
    for kind in MIXES[mix]:
        shutil.rmtree(agent / kind)
    script = "".join(block.code for block in blocks(ROOT / "docs" / "format.md", "sh"))

    env = {"PATH": environment()["PATH"], "HOME": str(tmp_path)}
    said = (
        Processes(Counters()).run(["sh", "-eu", "-c", script], env=env, cwd=tmp_path, timeout_s=60).decode()
    )

    assert [line.partition(" ")[2] for line in reversed(said.splitlines())] == one.messages()
    restored = {path.name: path.read_text() for path in (tmp_path / "agent-42").glob("*") if path.is_file()}
    assert restored == one.texts()


# Damage

SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "flipped": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "emptied": lambda _: b"",
    "another's": lambda _: b"# v2 git bundle\n" + b"x" * 200,
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("which", ["base/", "segment/"])
def test_what_is_damaged_of_it_is_passed_over_for_its_entries(
    store: Store, one: Writer, tmp_path: Path, which: str, how: str
) -> None:
    steps(one, *range(1, 30))
    fold(store, tmp_path / "scratch")
    key = next(item.key for item in store.list(LAYOUT.prefix + which))
    store.put(key, SPOILT[how](store.get(key).data), ALWAYS)

    messages, texts, counted = opened_elsewhere(store, tmp_path / "two")

    assert (messages, texts) == (one.messages(), one.texts())
    assert counted.get("journal.accelerator_passed_over", 0) == (how != "emptied")


def flip(pack: Path) -> None:
    data = bytearray(pack.read_bytes())
    for place in range(100, len(data) - 100, 50):
        data[place] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)


HARMED: dict[str, Callable[[Path], object]] = {"flipped": flip, "removed": Path.unlink}


@pytest.mark.parametrize("how", HARMED)
def test_a_local_copy_that_is_damaged_under_its_making_is_not_told_as_damage_of_a_base(
    store: Store,
    one: Writer,
    tmp_path: Path,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is made anew from the same base, which is whole."""
    lines = [f"{line * 7919 % 10_007}\n" for line in range(3_000)]
    for number in range(2, 19):
        lines.append(f"{number}\n")
        one.ask(commit(f"append {number}", {"log.md": "".join(lines)}))
    fold(store, tmp_path / "scratch")
    assert accelerators(store) == ["base/16"]
    harmed: list[Path] = []
    begin_from = WarmRepo.begin_from

    def begin_and_harm(repo: WarmRepo, base: Entry, entries: Sequence[Entry]) -> None:
        begin_from(repo, base)
        if not harmed:
            harmed.extend((repo.path / "objects/pack").glob("*.pack"))
            for pack in harmed:
                HARMED[how](pack)
        repo.absorb(entries)

    monkeypatch.setattr(WarmRepo, "begin_from", begin_and_harm)

    messages, texts, counted = opened_elsewhere(store, tmp_path / "two")

    assert harmed
    assert (messages, texts) == (one.messages(), one.texts())
    assert (counted["repo.healed"], counted["repo.opened_cold"]) == (1, 2)
    assert "journal.accelerator_passed_over" not in counted
    assert "base or segment" not in caplog.text


def of_another_agent(key: str, tmp_path: Path) -> bytes:
    """Return what another agent's folded memory has under a key."""
    elsewhere = LocalStore(tmp_path / "elsewhere")
    with writer(elsewhere, tmp_path / "three") as stranger:
        stranger.ask(create(other="memory"))
        steps(stranger, *range(50, 80))
    fold(elsewhere, tmp_path / "scratch")
    return elsewhere.get(key).data


@pytest.mark.parametrize("which", ["base/", "segment/"])
def test_an_accelerator_of_another_agent_is_passed_over(
    store: Store, one: Writer, tmp_path: Path, which: str
) -> None:
    steps(one, *range(1, 30))
    fold(store, tmp_path / "scratch")
    key = next(item.key for item in store.list(LAYOUT.prefix + which))
    store.put(key, of_another_agent(key, tmp_path), ALWAYS)

    messages, _, counted = opened_elsewhere(store, tmp_path / "two")

    assert messages == one.messages()
    assert counted["journal.accelerator_passed_over"] == 1


def test_a_base_of_another_agent_beside_a_journal_without_one_is_passed_over(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    steps(one, *range(1, 21))
    store.put(LAYOUT.base(16), of_another_agent(LAYOUT.base(16), tmp_path), ALWAYS)

    with writer(store, tmp_path / "two") as other:
        assert other.messages() == one.messages()
        other.ask(commit("goes on", {"later": "x"}))
        assert other.counters.snapshot()["journal.accelerator_passed_over"] == 1
    one.new_lease()
    assert one.messages()[-1] == "goes on"


def test_a_copy_made_of_another_agents_base_is_given_up_when_the_next_entry_does_not_follow(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    steps(one, *range(1, 16))
    store.put(LAYOUT.base(16), of_another_agent(LAYOUT.base(16), tmp_path), ALWAYS)
    with writer(store, tmp_path / "two") as other:
        assert other.messages() != one.messages(), "nothing after the base shows that it is another's"
        steps(one, 16)
        other.new_lease()
        assert other.messages() == one.messages()


def test_nothing_is_folded_into_more_than_a_worker_reads(store: Store, one: Writer, tmp_path: Path) -> None:
    steps(one, *range(1, 30))
    usual = folder(store, tmp_path / "scratch")
    small = replace(usual, git=replace(usual.git, caps=GitCaps(entry_bytes_max=1000)))

    with pytest.raises(GitOverBoundsError, match=r"over MEMREPO_ENTRY_BYTES_MAX \(1000\)"):
        small.fold(AGENT)

    assert accelerators(store) == []
    assert opened_elsewhere(store, tmp_path / "two")[0] == one.messages()


def test_an_entry_that_fits_neither_is_damage_by_its_own_key(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    """Also where the entries below the base are not there any more: they are not what is missed."""
    steps(one, *range(1, 21))
    fold(store, tmp_path / "scratch")
    store.delete([*(item.key for item in store.list(LAYOUT.segments)), LAYOUT.entry(3)])
    store.put(LAYOUT.entry(18), of_another_agent(LAYOUT.entry(18), tmp_path), ALWAYS)

    with writer(store, tmp_path / "two") as other, pytest.raises(MemoryDamagedError) as caught:
        other.messages()
    assert caught.value.details == {"key": LAYOUT.entry(18)}


def test_entries_that_a_damaged_base_stands_for_and_that_are_gone_are_damage(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    steps(one, *range(1, 30))
    fold(store, tmp_path / "scratch")
    base = next(item.key for item in store.list(LAYOUT.bases))
    store.put(base, store.get(base).data[:-30], ALWAYS)
    store.delete([LAYOUT.entry(3)])

    with writer(store, tmp_path / "two") as other, pytest.raises(MemoryDamagedError):
        other.messages()


def test_entries_below_a_base_may_be_lost_as_long_as_it_is_there(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    steps(one, *range(1, 30))
    fold(store, tmp_path / "scratch")
    store.delete([LAYOUT.entry(3)])

    assert opened_elsewhere(store, tmp_path / "two")[0] == one.messages()


def test_of_a_damaged_segment_the_next_fold_takes_the_entries(
    store: Store, one: Writer, tmp_path: Path
) -> None:
    steps(one, *range(1, 22))
    fold(store, tmp_path / "scratch")
    assert accelerators(store) == ["base/16", "segment/17-20"]
    key = LAYOUT.segment(17, 20)
    store.put(key, store.get(key).data[:-30], ALWAYS)
    steps(one, *range(22, 30))

    fold(store, tmp_path / "scratch")

    assert accelerators(store) == ["base/16", "segment/17-24", "segment/25-28"]
    assert opened_elsewhere(store, tmp_path / "two")[:2] == (one.messages(), one.texts())
