"""``memrepo store …`` as people run it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from memrepo.cli.main import main
from memrepo.settings import environment
from memrepo_worker.processes import ProcessFailedError
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.identity import begin_identity
from memrepo_worker.store.interface import (
    ALWAYS,
    GET_BYTES_MAX,
    RefusedError,
    StoredObject,
    Version,
    When,
)
from tests.support.commands import memrepo
from tests.support.faulty_store import IgnoringStore
from tests.support.legacy_repository import LegacyRepository
from tests.support.ports import LOOPBACK, closed_port
from tests.support.stock_git import stock_git
from tests.support.systems import System
from tests.support.writers import AGENT, commit, writer

Run = Callable[..., str]


def ended_well(*arguments: str, folder: Path, env: Mapping[str, str]) -> str:
    """Run ``memrepo`` and return what it prints.

    Raises:
        ProcessFailedError: it ended with another code than 0; the message is what it says then.
    """
    folder.mkdir(exist_ok=True)
    ended = memrepo(*arguments, folder=folder, env=env)
    if ended.code:
        raise ProcessFailedError(ended.stderr)
    return ended.stdout


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``memrepo store`` with these arguments and return what it prints."""

    def run(*arguments: str) -> str:
        env = {
            "PATH": environment()["PATH"],
            "HOME": str(tmp_path),
            "MEMREPO_STORE_URL": f"file://{tmp_path / 'store'}",
        }
        return ended_well("store", *arguments, folder=tmp_path / "commands", env=env)

    return run


@pytest.fixture
def legacy_store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")

    def make(agent: str) -> None:
        legacy = LegacyRepository(store, "acme", agent)
        legacy.create({"human.md": b"x"})
        legacy.commit({"more.md": b"y"}, "more")

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(make, ("a", "b", "c")))
    return store


def test_all_are_adopted_with_a_report_each_and_a_second_run_does_nothing(
    run: Run, legacy_store: LocalStore
) -> None:
    first = [json.loads(line) for line in run("adopt", "--all", "--json").splitlines()]
    second = [json.loads(line) for line in run("adopt", "--all", "--json").splitlines()]

    assert [(item["org_id"], item["agent_id"], item["commits"], item["already"]) for item in first] == [
        ("acme", name, 2, False) for name in "abc"
    ]
    assert [item["already"] for item in second] == [True] * 3


def test_a_broken_one_does_not_keep_the_others_from_being_adopted(run: Run, legacy_store: LocalStore) -> None:
    legacy_store.delete([item.key for item in legacy_store.list("acme/b/repo.git/objects/")])

    with pytest.raises(ProcessFailedError, match="1 of 3 could not be adopted"):
        run("adopt", "--all")

    assert "has a memory already, nothing to adopt" in run("adopt", "acme", "a")
    assert "has a memory already, nothing to adopt" in run("adopt", "acme", "c")


def test_a_damaged_journal_does_not_keep_the_others_from_being_adopted(
    run: Run, legacy_store: LocalStore
) -> None:
    legacy_store.put("acme/a/repo.git/journal/00000000000000000001.bundle", b"no bundle", ALWAYS)

    with pytest.raises(ProcessFailedError, match="1 of 3 could not be adopted"):
        run("adopt", "--all")

    assert "has a memory already, nothing to adopt" in run("adopt", "acme", "b")
    assert "has a memory already, nothing to adopt" in run("adopt", "acme", "c")


class StoreThatRefusesOneKey(StoreDecorator):
    """Refuses to give one agent's HEAD, as a rule of a bucket may."""

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        if key == "acme/b/repo.git/HEAD":
            raise RefusedError(f"{self.name}: access to {key} is denied (AccessDenied)")
        return super().get(key, bytes_max)


def test_a_key_that_the_store_refuses_does_not_keep_the_others_from_being_adopted(
    run: Run, legacy_store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "memrepo_worker.cli.store.tools.open_store", lambda _, **__: StoreThatRefusesOneKey(legacy_store)
    )
    env = {"MEMREPO_STORE_URL": legacy_store.name}

    told = CliRunner(env=env).invoke(main, ["store", "adopt", "--all"])

    assert told.exit_code == 1
    assert "BROKEN  acme/b: " in told.stdout
    assert "access to acme/b/repo.git/HEAD is denied (AccessDenied)" in told.stdout
    assert "1 of 3 could not be adopted" in told.stderr
    assert "has a memory already, nothing to adopt" in run("adopt", "acme", "a")
    assert "has a memory already, nothing to adopt" in run("adopt", "acme", "c")


def test_a_memory_goes_out_and_in_again(run: Run, legacy_store: LocalStore, tmp_path: Path) -> None:
    run("adopt", "acme", "a")
    bundle = tmp_path / "memory.bundle"

    run("export", "acme", "a", str(bundle))
    assert "2 commits imported" in run("import", "acme", "copy", str(bundle))

    assert "acme/copy: 2 commits in 1 entry, sound" in run("verify", "acme", "copy")
    stock_git().run(["clone", "--quiet", str(bundle), str(tmp_path / "clone")])
    assert (tmp_path / "clone" / "more.md").read_bytes() == b"y"


def test_a_memory_is_folded_and_says_the_same_afterwards(run: Run, tmp_path: Path) -> None:
    with writer(LocalStore(tmp_path / "store"), tmp_path / "cache") as each:
        for number in range(67):
            each.ask(commit(f"step {number}", create_repo_if_missing=True))

    first = run("fold", AGENT.org_id, AGENT.agent_id)
    again = json.loads(run("fold", AGENT.org_id, AGENT.agent_id, "--json"))

    assert first.startswith(f"{AGENT}: 64 of 67 entries joined, 1 object made (")
    assert {name: again[name] for name in ("entries", "folded", "made", "bytes_written", "removed")} == {
        "entries": 67,
        "folded": 64,
        "made": [],
        "bytes_written": 0,
        "removed": 0,
    }
    assert "67 commits in 67 entries, sound" in run("verify", AGENT.org_id, AGENT.agent_id)


def test_a_store_without_conditional_replaces_is_not_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = IgnoringStore(LocalStore(tmp_path / "store"))
    monkeypatch.setattr("memrepo_worker.cli.store.tools.open_store", lambda _url, begin=False: store)

    told = CliRunner(env={"MEMREPO_STORE_URL": store.name}).invoke(main, ["store", "fold", "acme", "a"])

    assert told.exit_code == 5
    assert "cannot be folded: a put on condition of a version replaces another version" in told.stderr


def test_what_is_not_there_is_said_in_one_line(run: Run, legacy_store: LocalStore) -> None:
    with pytest.raises(ProcessFailedError, match="has no memory"):
        run("export", "acme", "nobody", "file.bundle")
    with pytest.raises(ProcessFailedError, match=r"Name ORG and AGENT, or give --all"):
        run("adopt")


def test_an_export_overwrites_no_file(run: Run, legacy_store: LocalStore, tmp_path: Path) -> None:
    run("adopt", "acme", "a")
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ProcessFailedError, match="is there already"):
        run("export", "acme", "a", str(tmp_path / "mine"))
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize(
    "command", [["verify", "acme", "a"], ["import", "acme", "a", "/dev/null"], ["adopt", "--all"]]
)
def test_a_misspelt_store_is_not_made(run: Run, tmp_path: Path, command: list[str]) -> None:
    with pytest.raises(ProcessFailedError, match="there is no such folder: check the address"):
        run(*command)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("command", [["du"], ["verify", "--all"], ["fold", "--all"], ["purge", "acme", "a"]])
@pytest.mark.parametrize(
    "url", ["s3://u:hunter2@b/x", "gs://u:hunter2@b/x", "s3://b/x?endpoint_url=u:hunter2@h"]
)
def test_a_password_in_the_address_of_a_store_is_told_without_it(command: list[str], url: str) -> None:
    ended = CliRunner(env={"MEMREPO_STORE_URL": url}).invoke(main, ["store", *command])

    assert "no user or password in this URL" in ended.stderr
    assert "hunter2" not in ended.output
    assert ended.exit_code == 2


def invoked(env: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run ``memrepo store`` in this process; return its exit code and what it told."""
    nowhere = {"MEMREPO_BROKER_URL": f"redis://{LOOPBACK}:{closed_port()}/0"}
    ended = CliRunner(env={**nowhere, **env}).invoke(main, ["store", *arguments])
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


@pytest.fixture
def empty(tmp_path: Path) -> Mapping[str, str]:
    """An empty folder for a store, as a volume that is not mounted shows it."""
    (tmp_path / "store").mkdir()
    return {
        "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
    }


@pytest.mark.parametrize("command", ["verify", "fold"])
@pytest.mark.parametrize("org", [[], ["--org", "acme"]])
def test_a_place_that_is_no_store_is_not_told_as_sound(
    empty: Mapping[str, str], command: str, org: list[str]
) -> None:
    code, told, errors = invoked(empty, command, "--all", *org)

    assert (code, told) == (5, "")
    assert "has no memory, nor the object _memrepo/identity.json" in errors
    assert errors.endswith("Mount the volume that is meant, or mend MEMREPO_STORE_URL\n")


class StoreThatIsNotWrittenTo(StoreDecorator):
    """Has whoever writes fail."""

    def put(self, key: str, data: bytes, when: When) -> Version:
        raise AssertionError(f"{key} was written")


@pytest.mark.parametrize("is_a_store", [True, False])
def test_a_fold_of_all_tries_nothing_out_where_there_is_nothing_to_fold(
    empty: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_a_store: bool
) -> None:
    store = LocalStore(tmp_path / "store")
    if is_a_store:
        begin_identity(store, lambda: "a1")
    monkeypatch.setattr(
        "memrepo_worker.cli.store.tools.open_store", lambda _, **__: StoreThatIsNotWrittenTo(store)
    )

    assert invoked(empty, "fold", "--all")[0] == (0 if is_a_store else 5)


def test_a_store_without_memories_says_so(empty: Mapping[str, str], tmp_path: Path) -> None:
    begin_identity(LocalStore(tmp_path / "store"), lambda: "a1")

    assert invoked(empty, "verify", "--all") == (0, "", "0 memories\n")
    assert invoked(empty, "verify", "--all", "--org", "nope") == (
        3,
        "",
        "Error: nope has no memory in the store\n",
    )


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--all", "acme"], "--all takes no ORG and AGENT: for those of an org give --org acme."),
        (["--all", "acme", "a"], "--all takes no ORG and AGENT: for those of an org give --org acme."),
        (["--all", "--after", "zzz"], "--after: must be ORG/AGENT, as in acme/agent-1."),
        (["acme"], "Name ORG and AGENT, or give --all."),
    ],
)
@pytest.mark.parametrize("command", ["verify", "fold"])
def test_arguments_that_do_not_go_together_are_told_with_those_that_do(
    command: str, arguments: list[str], advice: str
) -> None:
    code, _, errors = invoked({}, command, *arguments)

    assert code == 2
    assert advice in errors


def test_a_cache_folder_that_cannot_be_used_is_told_with_its_setting(
    empty: Mapping[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()

    for folder in (file, file / "below"):
        code, _, errors = invoked({**empty, "MEMREPO_CACHE_DIR": str(folder)}, "verify", "acme", "a")

        assert code == 5
        assert f"the cache folder {folder} cannot be written" in errors
        assert "name one with MEMREPO_CACHE_DIR that can" in errors


def test_without_git_a_store_is_measured_and_what_needs_git_says_what_to_install(
    empty: Mapping[str, str], tmp_path: Path
) -> None:
    env = {**empty, "PATH": str(tmp_path)}

    code, told, _ = invoked(env, "du")
    assert (code, "total" in told) == (0, True)

    code, _, errors = invoked(env, "verify", "acme", "a")
    assert code == 5
    assert "git cannot be started" in errors
    assert "install git 2.39 or newer" in errors


def test_doctor_warns_of_a_setting_that_is_none(empty: Mapping[str, str]) -> None:
    env = {
        **empty,
        "MEMREPO_BROKER_URL": f"redis://{LOOPBACK}:{closed_port()}/0",
        "MEMREPO_CACHE_BYTEZ_MAX": "1",
        "MEMREPO_VALKEY_SERVICE_HOST": "10.0.0.1",
        "MEMREPO_VALKEY_PORT_6379_TCP_ADDR": "10.0.0.1",
    }
    told = CliRunner(env=env).invoke(main, ["doctor"]).stdout

    words = "MEMREPO_CACHE_BYTEZ_MAX is no setting, and says nothing: MEMREPO_CACHE_BYTES_MAX may be meant"
    assert f"warn  settings {words}" in told
    assert "MEMREPO_VALKEY" not in told


def test_another_store_than_the_workers_is_read_with_a_warning_and_not_written_to(
    legacy_store: LocalStore, tmp_path: Path, system: System
) -> None:
    env = {
        "PATH": environment()["PATH"],
        "HOME": str(tmp_path),
        "MEMREPO_BROKER_URL": system.broker_url,
        "MEMREPO_STORE_URL": legacy_store.name,
    }

    def run(*arguments: str) -> None:
        ended_well("store", *arguments, folder=tmp_path / "commands", env=env)

    for command in (["import", "acme", "new", __file__], ["adopt", "--all"]):
        with pytest.raises(ProcessFailedError, match=r"is not the store that the workers of .* serve"):
            run(*command)
    with pytest.raises(ProcessFailedError, match=r"(?s)WARNING: .* is not the store .*has no memory"):
        run("verify", "acme", "nobody")


def test_doctor_makes_no_folder_for_a_store_that_is_not_there(tmp_path: Path) -> None:
    env = {
        "PATH": environment()["PATH"],
        "HOME": str(tmp_path),
        "MEMREPO_BROKER_URL": "redis://127.0.0.1:1",
        "MEMREPO_STORE_URL": f"file://{tmp_path / 'mispelt'}",
        "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
    }
    with pytest.raises(ProcessFailedError):
        ended_well("doctor", folder=tmp_path / "commands", env=env)
    assert not (tmp_path / "mispelt").exists()
