from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from memrepo import (
    BrokerUnavailableError,
    ContentMovedError,
    HeadMovedError,
    MemoryRepoBusyError,
    MemoryRepoError,
    PathNotFoundError,
    RefNotFoundError,
    RepoExistsError,
    RepoNotFoundError,
    StoreUnavailableError,
    TooLargeError,
)
from memrepo.cli.main import main
from memrepo.installed import install_command
from tests.producer.stand_in import SHA, StandIn, Taken
from tests.producer.test_results_come_back import COMMIT
from tests.support.ports import LOOPBACK, closed_port
from tests.support.valkey import Valkey

Run = Callable[..., Result]

RESULTS: dict[str, object] = {
    "create_repo": COMMIT,
    "commit": COMMIT,
    "get_file": {"path": "a", "data": {"base64": "/wo="}, "sha": SHA, "size": 2},
    "list_files": [{"path": "tools/run.sh", "sha": SHA, "size": 12, "executable": True}],
    "get_history": [
        {
            key: value
            for key, value in COMMIT.items()
            if key not in ("branch", "created", "new_branch", "rebased_from")
        }
    ],
    "get_head_sha": SHA,
    "restore": COMMIT,
    "create_branch": {"name": "draft", "sha": SHA},
    "list_branches": [{"name": "main", "sha": SHA}],
    "delete_branch": None,  # no answer
    "delete_repo": None,
}


def by_operation(taken: Taken) -> object:
    return RESULTS[taken.headers["task"].removeprefix("memrepo.")]


@pytest.fixture
def run(broker: Valkey, worker: StandIn) -> Run:
    """Run a command against a worker that answers every operation."""
    worker.answer = by_operation

    def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
        runner = CliRunner(env={"MEMREPO_BROKER_URL": broker.url, "MEMREPO_RESULT_URL": None})
        return runner.invoke(main, arguments, input=stdin, catch_exceptions=False)

    return run


def test_a_commit_takes_content_from_files_texts_and_standard_input(
    run: Run, worker: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "local.bin").write_bytes(b"\xff")

    result = run(
        *("commit", "acme", "agent-1", "-m", "hello", "--put", "a.bin", str(tmp_path / "local.bin")),
        *("--put", "b.md", "-", "--text", "c.md", "text", "--delete", "d.md"),
        *("--author", "Ann Lee <ann@example.org>", "--branch", "draft"),
        stdin="from stdin\n",
    )

    assert result.exit_code == 0
    assert result.output.startswith(f"[main {SHA[:12]}] m")
    [taken] = worker.taken
    assert {change["path"]: change.get("content") for change in taken.request["changes"]} == {
        "a.bin": {"base64": "/w=="},
        "b.md": {"utf8": "from stdin\n"},
        "c.md": {"utf8": "text"},
        "d.md": None,
    }
    assert taken.request["author"] == {
        "name": "Ann Lee",
        "email": "ann@example.org",
        "type": "user",
    }
    assert taken.request["branch"] == "draft"


@pytest.mark.parametrize(
    ("command", "taken_as"),
    [
        (["append", "acme", "agent-1", "log", "-", "--new-line"], {"new_line": True}),
        (["insert", "acme", "agent-1", "log", "3", "-"], {"line": 3}),
    ],
)
def test_a_text_to_append_or_insert_may_come_from_standard_input(
    run: Run, worker: StandIn, command: list[str], taken_as: dict[str, object]
) -> None:
    result = run(*command, stdin="from a pipe: \u00fc\n")

    assert result.exit_code == 0
    [taken] = worker.taken
    [edit] = taken.request["changes"]
    assert edit["text"] == {"utf8": "from a pipe: \u00fc\n"}
    assert taken_as.items() <= edit.items()


def test_a_file_that_may_be_executed_is_put_as_one_and_of_another_the_mode_is_kept(
    run: Run, worker: StandIn, tmp_path: Path
) -> None:
    for name, mode in (("tool", 0o755), ("text", 0o644)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)

    run(
        *("commit", "acme", "agent-1", "-m", "m", "--put", "tool", str(tmp_path / "tool")),
        *("--put", "text", str(tmp_path / "text"), "--put", "piped", "-"),
        stdin="x",
    )

    [taken] = worker.taken
    assert {change["path"]: change.get("executable") for change in taken.request["changes"]} == {
        "tool": True,
        "text": None,
        "piped": None,
    }


@pytest.mark.parametrize(
    "edit",
    [
        ("append", "log", "x", "--create"),
        ("insert", "log", "1", "x"),
        ("replace", "log", "x", "y"),
        ("move", "log", "y"),
    ],
)
def test_an_edit_takes_where_its_branch_begins_and_what_it_relies_on(
    run: Run, worker: StandIn, edit: tuple[str, ...]
) -> None:
    command, *arguments = edit
    relied_on = ("--branch", "draft", "--start-point", "v1", "--expected-sha256", "a" * 64)

    result = run(command, "acme", "agent-1", *arguments, *relied_on)

    assert result.exit_code == 0
    [taken] = worker.taken
    assert (taken.request["branch"], taken.request["start_point"]) == ("draft", "v1")
    assert taken.request["changes"][0]["expected_sha256"] == "a" * 64
    assert taken.request.get("create_repo_if_missing", False) == ("--create" in edit)


def test_a_preview_takes_what_decides_conflicts_and_nothing_that_a_merge_alone_needs(
    run: Run, worker: StandIn
) -> None:
    found = {"source_sha": SHA, "target_sha": SHA, "base_sha": SHA, "kind": "squash"}
    worker.answer = lambda _: {**found, "files_changed": ["a"], "conflicts": []}
    preview = ("merge", "acme", "agent-1", "side", "--preview")

    shown = run(*preview, "--squash", "--favor", "ours", "--text", "a", "b")
    refused = run(*preview, "-m", "a message")

    assert (shown.exit_code, shown.output) == (0, "squash: 1 file would change\n  a\n")
    assert (refused.exit_code, "--message" in refused.output) == (2, True)
    [taken] = worker.taken
    assert (taken.request["squash"], taken.request["favor"]) == (True, "ours")
    assert [change["path"] for change in taken.request["resolutions"]] == ["a"]


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (b"caf\xe9\n", "Error: TEXT: what is on standard input is not UTF-8"),
        (b"x" * (8 * 1024 * 1024 + 1), "Error: TEXT: standard input is over file_bytes_max (8388608 bytes)"),
    ],
)
def test_a_standard_input_that_is_no_text_is_refused_before_anything_is_sent(
    run: Run, worker: StandIn, stdin: bytes, words: str
) -> None:
    result = run("append", "acme", "agent-1", "log", "-", stdin=stdin)

    assert result.exit_code == 2
    assert result.output.startswith(words)
    assert worker.taken == []


def test_every_reading_command_prints_for_people(run: Run) -> None:
    assert run("create", "acme", "agent-1").exit_code == 0
    assert run("cat", "acme", "agent-1", "a").stdout_bytes == b"\xff\n"
    assert run("ls", "acme", "agent-1").output == "x         12 tools/run.sh\n"
    assert run("head", "acme", "agent-1").output == f"{SHA}\n"
    log = run("log", "acme", "agent-1").output
    assert f"commit {SHA}" in log
    assert "Author: n <e> (agent)" in log


@pytest.mark.parametrize(
    ("arguments", "operation"),
    [
        (("create",), "create_repo"),
        (("commit", "-m", "m", "--text", "a", "b"), "commit"),
        (("restore", "HEAD~1"), "restore"),
        (("delete", "--yes"), "delete_repo"),
        (("branches", "--create", "draft"), "create_branch"),
        (("branches", "--delete", "draft"), "delete_branch"),
    ],
)
def test_every_command_that_changes_something_takes_a_request_id(
    run: Run, worker: StandIn, arguments: tuple[str, ...], operation: str
) -> None:
    run(arguments[0], "acme", "agent-1", *arguments[1:], "--request-id", "my-own-id-1", "--timeout", "0.5")

    assert [
        taken.request["request_id"]
        for taken in worker.taken
        if taken.headers["task"] == f"memrepo.{operation}"
    ] == ["my-own-id-1"]


@pytest.mark.parametrize(
    ("arguments", "operation"),
    [
        (("branches", "--delete", "draft"), "delete_branch"),
        (("tags", "--delete", "v1"), "delete_tag"),
        (("tags", "--create", "v1", "--overwrite"), "create_tag"),
    ],
)
def test_what_removes_or_moves_a_ref_takes_where_it_is_expected(
    run: Run, worker: StandIn, arguments: tuple[str, ...], operation: str
) -> None:
    worker.answer = lambda _: HeadMovedError("elsewhere", {"head": "b" * 40})

    told = run(arguments[0], "acme", "agent-1", *arguments[1:], "--expected-head", SHA)

    assert (told.exit_code, told.stderr) == (4, "Error: elsewhere\n")
    assert [(taken.headers["task"], taken.request["expected_head"]) for taken in worker.taken] == [
        (f"memrepo.{operation}", SHA)
    ]


def test_one_request_id_is_not_taken_for_two_requests(run: Run, worker: StandIn) -> None:
    result = run(
        "branches", "acme", "agent-1", "--create", "a", "--delete", "b", "--request-id", "my-own-id-1"
    )

    assert (result.exit_code, worker.taken) == (2, [])


@pytest.mark.parametrize(
    ("arguments", "operation"),
    [
        (("create",), "create_repo"),
        (("commit", "-m", "m", "--text", "a", "b"), "commit"),
        (("ls",), "list_files"),
        (("log",), "get_history"),
        (("head",), "get_head_sha"),
    ],
)
def test_every_command_prints_its_result_as_json(
    arguments: tuple[str, ...], operation: str, run: Run
) -> None:
    command, *options = arguments
    printed = json.loads(run(command, "acme", "agent-1", *options, "--json").output)

    assert printed == RESULTS[operation]


def test_deleting_asks_first(run: Run, worker: StandIn) -> None:
    RESULTS["delete_repo"] = None
    worker.answer = lambda taken: worker.settle(taken, None)

    asked = run("delete", "acme", "agent-1", stdin="n\n")
    assert asked.exit_code == 1
    assert worker.taken == []

    assert run("delete", "acme", "agent-1", "--yes").output == "deleted acme/agent-1\n"


def test_a_job_is_found_again_by_the_id_that_no_wait_prints(run: Run) -> None:
    job_id = run("commit", "acme", "agent-1", "-m", "m", "--text", "a", "b", "--no-wait").output.strip()

    shown = run("job", job_id, "--wait")
    assert shown.output.startswith("done\n")
    assert json.loads(run("job", job_id, "--json").output)["result"]["sha"] == SHA


def test_a_job_is_cancelled(run: Run, worker: StandIn) -> None:
    worker.answer = lambda _: None
    job_id = run("commit", "acme", "agent-1", "-m", "m", "--text", "a", "b", "--no-wait").output.strip()

    cancelled = run("job", job_id, "--cancel")

    assert cancelled.exit_code == 0
    assert cancelled.output.startswith("cancelled")
    assert json.loads(run("job", job_id, "--cancel", "--json").output)["status"] == "cancelled"


def test_a_job_that_has_ended_is_too_late_to_cancel(run: Run) -> None:
    job_id = run("commit", "acme", "agent-1", "-m", "m", "--text", "a", "b", "--no-wait").output.strip()
    run("job", job_id, "--wait")

    refused = run("job", job_id, "--cancel")

    assert refused.exit_code == 4
    assert f"Too late to cancel job {job_id}: done" in refused.output


EXPIRED = "0b0f1c6e-7a3c-4c63-8f0a-0d8f1f7f7f7f"
FOUND = {"request_id": EXPIRED, "verdict": "committed", "sha": SHA, "commit": RESULTS["get_history"][0]}  # type: ignore[index]


def test_of_a_job_that_has_expired_it_is_told_what_became_of_the_request(run: Run, worker: StandIn) -> None:
    worker.answer = lambda _: FOUND

    shown = run("job", EXPIRED, "--of", "acme", "agent-1")
    as_json = json.loads(run("job", EXPIRED, "--of", "acme", "agent-1", "--json").output)

    assert shown.exit_code == 0
    assert shown.output.startswith(f"committed {SHA}\ncommit {SHA}\nAuthor: n <e> (agent)\n")
    assert (as_json["id"], as_json["status"]) == (EXPIRED, "unknown")
    assert as_json["outcome"] == {
        **FOUND,
        "error_type": None,
        "error_message": None,
        "error_details": None,
    }
    assert [(taken.headers["task"], taken.request["wanted"]) for taken in worker.taken] == [
        ("memrepo.find_request", EXPIRED)
    ] * 2


def test_a_request_that_failed_gives_its_own_error_and_exit_code(run: Run, worker: StandIn) -> None:
    error = {"error_type": "HeadMovedError", "error_message": "It moved.", "error_details": {"head": SHA}}
    worker.answer = lambda _: {"request_id": EXPIRED, "verdict": "failed", **error}

    told = run("job", EXPIRED, "--of", "acme", "agent-1")
    as_json = run("job", EXPIRED, "--of", "acme", "agent-1", "--json")

    assert (told.exit_code, told.stderr, told.stdout) == (4, "Error: It moved.\n", "")
    assert as_json.exit_code == 4
    assert json.loads(as_json.stderr)["error"] == {
        "type": "HeadMovedError",
        "message": "It moved.",
        "details": {"head": SHA},
    }


def test_a_request_without_a_trace_ends_with_three(run: Run, worker: StandIn) -> None:
    worker.answer = lambda taken: worker.settle(taken, None)

    told = run("job", EXPIRED, "--wait", "--of", "acme", "agent-1")

    assert (told.exit_code, told.stdout) == (3, "")
    assert f"no trace of request {EXPIRED}" in told.stderr


def test_a_job_that_was_queued_still_when_the_question_was_put_gives_its_result(
    run: Run, worker: StandIn
) -> None:
    def answer(taken: Taken) -> None:
        worker.store(EXPIRED, "SUCCESS", SHA)
        worker.settle(taken, None)

    worker.answer = answer

    shown = run("job", EXPIRED, "--of", "acme", "agent-1")

    assert (shown.exit_code, shown.output) == (0, f'done\n"{SHA}"\n')


def test_of_a_job_with_a_result_nobody_asks_what_became_of_it(run: Run, worker: StandIn) -> None:
    worker.store(EXPIRED, "SUCCESS", SHA)

    shown = run("job", EXPIRED, "--of", "acme", "agent-1")

    assert (shown.output, worker.taken) == (f'done\n"{SHA}"\n', [])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryRepoError, 1),
        (TooLargeError, 2),
        (RepoNotFoundError, 3),
        (RefNotFoundError, 3),
        (PathNotFoundError, 3),
        (RepoExistsError, 4),
        (ContentMovedError, 4),
        (MemoryRepoBusyError, 5),
        (StoreUnavailableError, 5),
        (BrokerUnavailableError, 5),
    ],
)
def test_an_error_ends_with_its_exit_code_and_one_line(
    error: type[MemoryRepoError], code: int, run: Run, worker: StandIn
) -> None:
    worker.answer = lambda _: error("What went wrong.", {"head": SHA})

    told = run("head", "acme", "agent-1")
    assert (told.exit_code, told.stderr, told.stdout) == (code, "Error: What went wrong.\n", "")

    as_json = run("head", "acme", "agent-1", "--json")
    assert json.loads(as_json.stderr)["error"] == {
        "type": error.__name__,
        "message": "What went wrong.",
        "details": {"head": SHA},
    }


def test_a_result_that_is_late_ends_with_unavailable_and_the_jobs_id(run: Run, worker: StandIn) -> None:
    worker.answer = lambda _: None

    late = run("head", "acme", "agent-1", "--timeout", "0.1")

    assert late.exit_code == 5
    assert worker.taken[0].id in late.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("commit", "acme", "agent-1"),
        ("commit", "acme", "agent-1", "-m", "m", "--author", "nobody"),
        ("commit", "acme", "agent-1", "-m", "m", "--text", "../x", "y"),
        ("head", "ac/me", "agent-1"),
        ("ls", "acme", "agent-1", "--limit", "0"),
        ("no-such-command",),
    ],
)
def test_wrong_usage_ends_with_two(arguments: tuple[str, ...], run: Run, worker: StandIn) -> None:
    assert run(*arguments).exit_code == 2
    assert worker.taken == []


def test_what_an_agent_wrote_cannot_steer_the_terminal(run: Run, worker: StandIn) -> None:
    worker.answer = lambda _: [
        {**RESULTS["get_history"][0], "message": "clear\x1b[2J\x9b2J", "author_name": "a\x1bb"}  # type: ignore[index]
    ]

    output = run("log", "acme", "agent-1").output

    assert "\x1b" not in output
    assert "\x9b" not in output


def test_settings_are_shown_without_secrets() -> None:
    url = "rediss://user:pa@ss:word@host/0?ssl_cert_reqs=none"
    shown = CliRunner(env={"MEMREPO_BROKER_URL": url, "MEMREPO_SHARDS": "8"}).invoke(main, ["config"])

    assert "MEMREPO_BROKER_URL=rediss://user:***@host/0?ssl_cert_reqs=none\n" in shown.output
    assert "MEMREPO_SHARDS=8\n" in shown.output
    assert "word" not in shown.output


def test_a_setting_that_makes_no_sense_is_named() -> None:
    told = CliRunner(env={"MEMREPO_SHARDS": "many"}).invoke(main, ["config"])

    assert told.exit_code == 2
    assert "MEMREPO_SHARDS: 'many' is not a number" in told.stderr


def as_users_run_it(*arguments: str, prelude: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    code = f"{prelude}\nimport sys; from memrepo.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
    )


def test_a_broker_that_is_down_is_one_line_on_standard_error() -> None:
    told = as_users_run_it(
        "head",
        "acme",
        "agent-1",
        MEMREPO_BROKER_URL=f"redis://u:secret@{LOOPBACK}:{closed_port()}/0",
        MEMREPO_ENQUEUE_TIMEOUT_S="0.5",
    )

    assert told.returncode == 5
    assert told.stdout == ""
    assert told.stderr.startswith("Error: ")
    assert told.stderr.count("\n") == 1
    assert "secret" not in told.stderr


@pytest.mark.parametrize("command", ["up", "worker", "doctor", "replay", "shards", "store"])
def test_without_the_workers_libraries_its_commands_say_how_to_install_them(command: str) -> None:
    told = as_users_run_it(command, "--anything", prelude="import sys; sys.modules['pygit2'] = None")

    assert told.returncode == 1
    assert install_command("worker") in told.stderr
    assert "Traceback" not in told.stderr


def test_without_the_workers_libraries_the_producers_commands_work() -> None:
    told = as_users_run_it("config", prelude="import sys; sys.modules['memrepo_worker'] = None")

    assert told.returncode == 0
    assert "MEMREPO_SHARDS=64" in told.stdout


def test_a_library_that_is_missing_inside_a_command_is_told_the_same_way() -> None:
    prelude = """
import sys, click
from memrepo.cli.main import main
@click.command()
def broken():
    sys.modules["pygit2"] = None
    import pygit2
main.add_command(broken)
"""
    told = as_users_run_it("broken", prelude=prelude)

    assert told.returncode == 1
    assert install_command("worker") in told.stderr


def test_what_the_terminals_encoding_does_not_have_is_written_as_an_escape() -> None:
    shown = as_users_run_it(
        "worker",
        "--show-settings",
        PYTHONIOENCODING="latin-1",
        MEMREPO_CACHE_DIR="/run/日本",
        MEMREPO_STORE_URL="",
    )

    assert (shown.returncode, shown.stderr) == (0, "")
    assert r"/run/\u65e5\u672c" in shown.stdout
