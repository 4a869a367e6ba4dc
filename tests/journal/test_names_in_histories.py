"""Names in histories that began elsewhere: an import keeps the rules of commits, an adoption says what they refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo.validation.names import SAME_NAME
from memrepo.validation.values import fault_of_path
from memrepo_worker.git.bounds import GitCaps
from memrepo_worker.migration import contents
from memrepo_worker.migration.adoption import Adopter
from memrepo_worker.migration.contents import EVERYWHERE, RefusedNames
from memrepo_worker.migration.legacy import LegacyLayoutError
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS, Store
from tests.support.histories import LINK, Files, Scribe
from tests.support.stock_git import git, stock_git
from tests.support.writers import AGENT, NOW_S, files, restore, writer

EVERY, POSIX = Limits(), Limits(portable_names="posix")
COLON = 'has one of : " * < > ? |, which Windows cannot store (MEMREPO_PORTABLE_NAMES=posix takes it)'
DEVICE = "has a component that Windows reserves for a device (MEMREPO_PORTABLE_NAMES=posix takes it)"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as running:
        yield running


def origin(folder: Path, *states: Files) -> Path:
    """Write a history in which each commit holds these files."""
    scribe = Scribe()
    commits: list[str] = []
    for state in states:
        commits.append(scribe.commit(state, *commits[-1:]))
    return scribe.write(folder, {"refs/heads/main": commits[-1]})


def bundle(folder: Path, *states: Files) -> Path:
    git(
        origin(folder / "origin.git", *states),
        "bundle",
        "create",
        "--quiet",
        str(folder / "x.bundle"),
        "--all",
    )
    return folder / "x.bundle"


def leave_behind(store: Store, repository: Path) -> None:
    """Put a repository into the store as a Letta server would."""
    for file in repository.rglob("*"):
        if file.is_file():
            store.put(f"acme/agent-1/repo.git/{file.relative_to(repository)}", file.read_bytes(), ALWAYS)


@pytest.mark.parametrize(
    ("state", "limits", "said"),
    [
        ({"notes/a:b.md": b""}, EVERY, f"'notes/a:b.md' {COLON}"),
        ({"notes/aux.md": b""}, EVERY, f"'notes/aux.md' {DEVICE}"),
        ({"a.md": b"", "A.md": b""}, EVERY, f" {SAME_NAME}"),
        ({"x/a/1": b"", "x/A/2": b""}, POSIX, f" {SAME_NAME}"),
        ({"x/\u00e9": b"", "x/e\u0301": b""}, POSIX, f" {SAME_NAME}"),
        ({"bell\x07": b""}, POSIX, "'bell\\x07' has a control character"),
    ],
)
def test_an_import_refuses_what_a_commit_is_refused_and_names_it(
    state: Files, limits: Limits, said: str, store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    transfer = Transfer(store, stock_git(), executor, lambda: NOW_S, limits)

    with pytest.raises(InvalidRequestError) as refused:
        transfer.import_(
            AGENT, bundle(tmp_path, {"first.md": b""}, {"first.md": b"", **state}, {"last.md": b""})
        )

    assert str(refused.value).startswith(
        f"file: holds 1 name that MEMREPO_PORTABLE_NAMES={limits.portable_names}"
    )
    assert said in str(refused.value)
    assert not list(store.list(""))


def test_an_import_tells_what_the_stricter_setting_would_refuse(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    told: list[RefusedNames] = []
    names = {"a:b.md": b"1", "deep/c:d.md": b"2", "aux": b"3", "plain.md": b"4"}

    Transfer(store, stock_git(), executor, lambda: NOW_S, POSIX).import_(
        AGENT, bundle(tmp_path, names, {**names, "plain.md": b"5"}), told.extend
    )

    assert sorted(told, key=lambda each: each.count) == [
        RefusedNames(EVERYWHERE, DEVICE, 1, "aux"),
        RefusedNames(EVERYWHERE, COLON, 2, "a:b.md"),
    ]
    with writer(store, tmp_path / "cache") as one:
        assert set(one.ask(files())) == names.keys()


def test_an_adoption_takes_every_name_and_tells_what_commits_are_refused(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    names: Files = {"a:b.md": b"1", "A": b"2", "a": b"3", "link": (LINK, b"A")}
    leave_behind(store, origin(tmp_path / "origin.git", names))

    here = Adopter(store, stock_git(), executor, lambda: NOW_S, EVERY).adopt(AGENT)

    assert set(here.refused_names) == {
        RefusedNames(EVERYWHERE, COLON, 1, "a:b.md"),
        RefusedNames(EVERYWHERE, SAME_NAME, 1, "a"),
    }
    with writer(store, tmp_path / "cache") as one:
        assert set(one.ask(files())) == {"a:b.md", "A", "a"}


def test_an_adoption_under_the_lenient_setting_tells_which_setting_refuses_what(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    leave_behind(store, origin(tmp_path / "origin.git", {"a:b.md": b"1", "A": b"2", "a": b"3"}))

    told = Adopter(store, stock_git(), executor, lambda: NOW_S, POSIX).adopt(AGENT).refused_names

    assert told == (
        RefusedNames("MEMREPO_PORTABLE_NAMES=posix", SAME_NAME, 1, "a"),
        RefusedNames(EVERYWHERE, COLON, 1, "a:b.md"),
    )


def test_a_repository_that_unpacks_to_more_than_the_caps_allow_is_not_adopted(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    leave_behind(store, origin(tmp_path / "origin.git", {"zeros": bytes(3_000_000)}))
    small = replace(stock_git(), caps=GitCaps(unpacked_bytes_max=2_000_000))

    with pytest.raises(LegacyLayoutError, match="over MEMREPO_FOREIGN_UNPACKED_BYTES_MAX \\(2000000\\)"):
        Adopter(store, small, executor, lambda: NOW_S).adopt(AGENT)


def test_a_restore_writes_no_name_that_commits_are_refused_and_leaves_those_that_stay(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    kept: Files = {"c:d.md": b"kept"}
    states: list[Files] = [
        {**kept, "a:b.md": b"1", "plain.md": b"1"},
        {**kept, "a:b.md": b"2", "plain.md": b"2"},
        {**kept, "plain.md": b"3"},
    ]
    leave_behind(store, origin(tmp_path / "origin.git", *states))
    Adopter(store, stock_git(), executor, lambda: NOW_S, EVERY).adopt(AGENT)

    with writer(store, tmp_path / "cache") as one:
        for ref in ("HEAD~1", "HEAD~2"):
            with pytest.raises(InvalidRequestError) as refused:
                one.ask(restore(ref))
            assert str(refused.value) == f"ref: would write 'a:b.md', which {COLON}"
            assert refused.value.details == {"field": "ref", "path": "a:b.md"}
        one.ask(restore("HEAD~1", ["plain.md"]))
        assert one.texts() == {"c:d.md": "kept", "plain.md": "2"}


def test_a_restore_deletes_names_that_commits_are_refused(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    leave_behind(store, origin(tmp_path / "origin.git", {"plain.md": b"1"}, {"a:b.md": b"2"}))
    Adopter(store, stock_git(), executor, lambda: NOW_S, EVERY).adopt(AGENT)

    with writer(store, tmp_path / "cache") as one:
        one.ask(restore("HEAD~1"))
        assert one.texts() == {"plain.md": "1"}


def branches(folder: Path, *names: str) -> Path:
    """Write a history with a commit of its own at ``main`` and at each of these refs."""
    scribe = Scribe()
    main = scribe.commit({"main.md": b"1"})
    refs = {name: scribe.commit({"main.md": name.encode()}, main) for name in names}
    return scribe.write(folder, {"refs/heads/main": main, **refs})


BESIDE = "does not go beside {}: git keeps refs as files and folders"
NO_BRANCH = "is not a branch name that git accepts everywhere"


@pytest.mark.parametrize(
    ("names", "first", "fault"),
    [
        (["refs/heads/Feature", "refs/heads/feature"], "feature", BESIDE.format("refs/heads/Feature")),
        (["refs/heads/Team/a", "refs/heads/team/b"], "team/b", BESIDE.format("refs/heads/Team")),
        (["refs/heads/" + "ab" * 20], "ab" * 20, NO_BRANCH),
        (["refs/heads/-x"], "-x", NO_BRANCH),
    ],
)
def test_a_branch_whose_name_is_refused_is_adopted_under_a_safe_one_and_not_imported(
    names: list[str], first: str, fault: str, store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    repository = branches(tmp_path / "origin.git", *names)
    tip = git(repository, "for-each-ref", "--format=%(objectname)", f"refs/heads/{first}").decode().strip()
    file = tmp_path / "x.bundle"
    git(repository, "bundle", "create", "--quiet", str(file), "--all")
    leave_behind(store, repository)
    adopter = Adopter(store, stock_git(), executor, lambda: NOW_S)

    report = adopter.adopt(AGENT)

    reason = f"{fault}; refs/heads/recovered/1 leads there"
    assert report.refused_names == (
        RefusedNames("git's rule for branches and tags", reason, 1, f"refs/heads/{first}"),
    )
    assert (report.commits, report.branches, report.recovered) == (1 + len(names), 1 + len(names), {})
    with writer(store, tmp_path / "cache") as one:
        assert one.ask(files("recovered/1")).commit_sha == tip
    assert adopter.remove_old_files(AGENT) > 1
    transfer = Transfer(MemoryStore(), stock_git(), executor, lambda: NOW_S, EVERY)
    with pytest.raises(InvalidRequestError) as refused:
        transfer.import_(AGENT, file)
    assert str(refused.value) == f"file: holds 'refs/heads/{first}', which {fault}"


def test_a_refused_branch_beside_one_at_the_same_commit_gets_no_other_and_a_lost_one_is_numbered_after(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    scribe = Scribe()
    main = scribe.commit({"main.md": b"1"})
    aside, lost = (scribe.commit({"main.md": text}, main) for text in (b"2", b"3"))
    refs = {"refs/heads/main": main, "refs/heads/Main": main, "refs/heads/-x": aside}
    leave_behind(store, scribe.write(tmp_path / "origin.git", refs))

    report = Adopter(store, stock_git(), executor, lambda: NOW_S).adopt(AGENT)

    told = {names.first: names.reason.rpartition("; ")[2] for names in report.refused_names}
    assert told == {
        "refs/heads/-x": "refs/heads/recovered/1 leads there",
        "refs/heads/Main": "refs/heads/main leads there",
    }
    assert list(report.recovered.values()) == [1]
    with writer(store, tmp_path / "cache") as one:
        (name,) = report.recovered
        assert one.ask(files(name)).commit_sha == lost


def test_names_over_a_limit_count_as_one_reason_whatever_their_lengths(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    names: Files = {f"{'x' * length}.md": b"1" for length in (300, 301, 302)}
    limits = Limits(path_bytes_max=290)
    leave_behind(store, origin(tmp_path / "origin.git", names))

    told = Adopter(store, stock_git(), executor, lambda: NOW_S, limits).adopt(AGENT).refused_names

    assert told == (RefusedNames(EVERYWHERE, "is over path_bytes_max (290)", 3, f"{'x' * 300}.md"),)


def test_a_name_is_asked_about_once_in_however_many_commits_it_is(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()

    def counting(path: str, limits: Limits) -> str | None:
        asked[path] += 1
        return fault_of_path(path, limits)

    monkeypatch.setattr(contents, "fault_of_path", counting)
    states: list[Files] = [{"kept.md": b"1", "in/it.md": str(number).encode()} for number in range(20)]
    leave_behind(store, origin(tmp_path / "origin.git", *states))

    Adopter(store, stock_git(), executor, lambda: NOW_S).adopt(AGENT)

    assert asked == {"kept.md": 1, "in": 1, "in/it.md": 1}


def test_a_restore_leaves_what_was_a_link_as_it_is_and_says_so(
    store: MemoryStore, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    before: Files = {"link.md": (LINK, b"a.md"), "folder": (LINK, b"."), "a.md": b"old"}
    now: Files = {"link.md": b"a file now", "folder/b.md": b"b", "a.md": b"new"}
    leave_behind(store, origin(tmp_path / "origin.git", before, now))
    Adopter(store, stock_git(), executor, lambda: NOW_S, EVERY).adopt(AGENT)

    with writer(store, tmp_path / "cache") as one:
        done = one.ask(restore("HEAD~1"))
        assert one.texts() == {"link.md": "a file now", "folder/b.md": "b", "a.md": "old"}
        assert done.message == (
            "Restore HEAD~1\n\nLeft as it is, as links and submodules are not kept:\n- 'folder'\n- 'link.md'"
        )
        with pytest.raises(InvalidRequestError, match=r"(?s)has nothing to restore.*'link.md'"):
            one.ask(restore("HEAD~2", ["link.md"]))
        assert one.texts()["link.md"] == "a file now"
