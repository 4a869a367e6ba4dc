"""How commands end that are interrupted, cannot write, or cannot read: in one line, with an exit code of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from memrepo.cli.ending import telling
from memrepo.cli.main import main
from memrepo.errors import InvalidRequestError
from tests.producer.stand_in import SHA, StandIn, Taken
from tests.support.ports import LOOPBACK
from tests.support.samples import COMMIT as SAMPLE_COMMIT
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

COMMIT = ("commit", "acme", "agent-1", "-m", "m", "--text", "a.md", "x")


@contextmanager
def started(
    *arguments: str,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    prelude: str = "",
    closed: int | None = None,
    **env: str,
) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a process of its own, as ``python -m memrepo`` does; one standard stream may be closed."""
    code = f"{prelude}\nimport runpy; runpy.run_module('memrepo', run_name='__main__')"
    command = [sys.executable, "-c", code, *arguments]
    if closed is not None:
        command = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *command]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        env={**os.environ, **env},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_while_a_commit_waits_names_the_id_and_how_to_ask_for_it(
    broker: Valkey, worker: StandIn, as_json: bool
) -> None:
    worker.answer = lambda _: None
    options = ("--request-id", "my-own-id-1", *(["--json"] if as_json else []))
    with started(*COMMIT, *options, MEMREPO_BROKER_URL=broker.url) as process:
        (taken,) = worker.wait_taken(1)
        process.send_signal(signal.SIGINT)
        code, stderr = ended(process)

    # The broker holds it, but whether the command has heard of that already is a matter of moments.
    waits, sends = f"`memrepo job {taken.id} --wait`", "`memrepo job my-own-id-1 --of acme agent-1`"
    assert code == 130
    assert stderr.count("\n") == 1
    assert waits in stderr or sends in stderr
    if as_json:
        told = json.loads(stderr)["error"]
        assert told["type"] == "Interrupted"
        assert told["details"] in ({"job_id": taken.id}, {"request_id": "my-own-id-1"})


@pytest.mark.parametrize(
    "write",
    [
        COMMIT,
        ("create", "acme", "agent-1"),
        ("restore", "acme", "agent-1", "main~1"),
        ("branches", "acme", "agent-1", "--delete", "draft"),
        ("delete", "acme", "agent-1", "--yes"),
    ],
)
def test_ctrl_c_before_the_broker_has_answered_names_the_request(write: tuple[str, ...]) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        url = f"redis://{LOOPBACK}:{silent.getsockname()[1]}/0"
        patient: dict[str, Any] = {"MEMREPO_CONNECT_TIMEOUT_S": "600", "MEMREPO_ENQUEUE_TIMEOUT_S": "600"}
        with started(*write, MEMREPO_BROKER_URL=url, **patient) as process:
            silent.accept()
            process.send_signal(signal.SIGINT)
            code, stderr = ended(process)

    assert code == 130
    assert re.fullmatch(r"Interrupted before .* `memrepo job [0-9a-f-]{36} --of acme agent-1`\.\n", stderr)


def test_ctrl_c_before_the_broker_has_answered_a_read_waits_for_nothing() -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        url = f"redis://{LOOPBACK}:{silent.getsockname()[1]}/0"
        patient: dict[str, Any] = {"MEMREPO_CONNECT_TIMEOUT_S": "600", "MEMREPO_ENQUEUE_TIMEOUT_S": "600"}
        with started("ls", "acme", "agent-1", MEMREPO_BROKER_URL=url, **patient) as process:
            silent.accept()
            process.send_signal(signal.SIGINT)

            assert ended(process) == (130, "Interrupted.\n")


def test_ctrl_c_does_not_end_a_process_that_is_not_the_commands_own(broker: Valkey, worker: StandIn) -> None:
    def interrupt(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    worker.answer = interrupt
    result = CliRunner(env={"MEMREPO_BROKER_URL": broker.url}).invoke(main, ["head", "acme", "agent-1"])

    assert result.exit_code == 130
    assert result.stderr.startswith("Interrupted.")


@pytest.mark.parametrize("module", ["click", "memrepo.cli.main", "memrepo.cli.commands.write", "pydantic"])
def test_ctrl_c_while_the_command_is_still_loading_is_one_line(module: str) -> None:
    prelude = f"""
import os, signal, sys, time
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
sys.meta_path.insert(0, Interrupting())
"""
    with started(*COMMIT, prelude=prelude) as process:
        assert ended(process) == (130, "Interrupted.\n")


# Python keeps what it could not write and tries again when it ends, unless PYTHONUNBUFFERED (here empty: not) is set.
UNBUFFERED = ("", "1")


@pytest.mark.parametrize("unbuffered", UNBUFFERED)
@pytest.mark.parametrize("arguments", [("config",), ("--help",)])
def test_output_that_does_not_fit_on_the_disk_is_one_line(
    arguments: tuple[str, ...], unbuffered: str
) -> None:
    with (
        Path("/dev/full").open("w") as full,
        started(*arguments, stdout=full.fileno(), PYTHONUNBUFFERED=unbuffered) as process,
    ):
        code, stderr = ended(process)

    assert code == 1
    assert stderr == "Error: the output cannot be written: No space left on device\n"


RESULT = {**SAMPLE_COMMIT, "branch": "main", "created": True, "sha": SHA}


@pytest.mark.parametrize(
    ("write", "answer", "said"),
    [
        (COMMIT, RESULT, f"The commit was made: main is at {SHA}"),
        (("create", "acme", "agent-1"), RESULT, f"The commit was made: main is at {SHA}"),
        (("restore", "acme", "agent-1", "main~1"), RESULT, f"The commit was made: main is at {SHA}"),
        ((*COMMIT, "--no-wait"), None, "The request was sent, as job "),
        (("delete", "acme", "agent-1", "--yes"), None, "The memory of acme/agent-1 was deleted"),
        (("branches", "acme", "agent-1", "--create", "draft"), None, "Branch draft was begun"),
        (("branches", "acme", "agent-1", "--delete", "draft"), None, "Branch draft was removed"),
    ],
)
def test_what_was_done_is_told_though_the_output_cannot_be_written(
    broker: Valkey, worker: StandIn, write: tuple[str, ...], answer: object, said: str
) -> None:
    branch = {"name": "draft", "sha": SHA}

    def settle(taken: Taken) -> object:
        name = str(taken.headers["task"]).removeprefix("memrepo.")
        if name.startswith("delete_"):  # their result is null
            worker.store(taken.id, "SUCCESS", None, str(taken.properties["reply_to"]))
            return None
        return {"list_branches": [branch], "create_branch": branch}.get(name, answer)

    worker.answer = settle
    with (
        Path("/dev/full").open("w") as full,
        started(*write, stdout=full.fileno(), MEMREPO_BROKER_URL=broker.url) as process,
    ):
        code, stderr = ended(process)

    assert code == 1
    assert stderr.count("\n") == 1
    assert said in stderr
    assert "the output cannot be written: No space left on device" in stderr


def test_a_branch_that_is_there_already_is_a_conflict(broker: Valkey, worker: StandIn) -> None:
    there = [{"name": "draft", "sha": SHA}]
    refusal = InvalidRequestError.of("name", "there is a branch of that name already, at another commit")
    worker.answer = lambda taken: there if taken.headers["task"] == "memrepo.list_branches" else refusal
    runner = CliRunner(env={"MEMREPO_BROKER_URL": broker.url})

    again = runner.invoke(main, ["branches", "acme", "agent-1", "--create", "draft"])
    beside = runner.invoke(main, ["branches", "acme", "agent-1", "--create", "other"])

    assert (again.exit_code, beside.exit_code) == (4, 2)
    assert again.stderr == "Error: --create: there is a branch of that name already, at another commit\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("branches", "acme", "agent-1", "--start-point", "main~1"),
        ("branches", "acme", "agent-1", "--delete", "draft", "--start-point", "main~1"),
        ("branches", "acme", "agent-1", "--create", "draft", "--expected-head", "a" * 40),
        ("tags", "acme", "agent-1", "--create", "v1", "--expected-head", "a" * 40),
        ("job", "some-job-id", "--cancel", "--wait"),
        ("job", "some-job-id", "--cancel", "--of", "acme", "agent-1"),
    ],
)
def test_an_option_that_would_mean_nothing_is_refused(arguments: tuple[str, ...]) -> None:
    result = CliRunner(env={"MEMREPO_BROKER_URL": "redis://127.0.0.1:1"}).invoke(main, arguments)

    assert result.exit_code == 2
    assert "Nothing was done." in result.stderr


@pytest.mark.parametrize("text", ["- tea", "-tea", "---"])
def test_where_a_text_goes_that_begins_with_a_dash_is_told(text: str) -> None:
    result = CliRunner().invoke(main, ["append", "acme", "agent-1", "list.md", text])

    assert result.exit_code == 2
    assert " A text that begins with - goes behind --, and options before that. See " in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("append", "acme", "a", "b", "c", "--newline"), ("--nothing",)])
def test_an_option_that_is_misspelt_is_taken_for_no_text(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 2
    assert "No such option" in result.stderr
    assert "goes behind" not in result.stderr


@pytest.mark.parametrize(("there", "code"), [("notes/a.md", 0), ("notes", 0), ("notes-old/a.md", 3), ("", 3)])
def test_a_path_that_is_on_neither_side_is_not_taken_for_no_change(
    broker: Valkey, worker: StandIn, there: str, code: int
) -> None:
    def answer(taken: Taken) -> object:
        if taken.headers["task"] == "memrepo.diff":
            return {"base_sha": SHA, "target_sha": SHA, "files": []}
        is_listed = there and there.startswith(taken.request.get("prefix", ""))
        return [{"path": there, "sha": SHA, "size": 1}] if is_listed else []

    worker.answer = answer
    runner = CliRunner(env={"MEMREPO_BROKER_URL": broker.url})

    assert runner.invoke(main, ["diff", "acme", "agent-1", "main~1", "main", "notes"]).exit_code == code


def test_a_file_of_which_the_mode_alone_has_changed_is_shown(broker: Valkey, worker: StandIn) -> None:
    counted = {"status": "modified", "additions": 0, "deletions": 0, "binary": False, "patch": ""}
    file = {"path": "run.sh", **counted, "old_mode": "100644", "new_mode": "100755"}
    worker.answer = lambda _: {"base_sha": SHA, "target_sha": SHA, "files": [file]}

    shown = CliRunner(env={"MEMREPO_BROKER_URL": broker.url}).invoke(
        main, ["diff", "acme", "agent-1", "main"]
    )

    assert shown.output == "mode change 100644 => 100755 run.sh\n"


def test_a_search_that_ends_at_its_limit_says_so_beside_what_it_found(
    broker: Valkey, worker: StandIn
) -> None:
    found = {"path": "a.md", "line": 1, "text": "tea", "before": [], "after": [], "limit_reached": True}
    worker.answer = lambda _: [found]
    runner = CliRunner(env={"MEMREPO_BROKER_URL": broker.url})

    shown = runner.invoke(main, ["search", "acme", "agent-1", "tea", "--limit", "1"])

    assert "tea" in shown.stdout
    assert shown.stderr == "These are the first 1, and there may be more: --limit asks for more.\n"


SCHEMA = (sys.executable, "-m", "memrepo.wire.schema")


@pytest.mark.parametrize("unbuffered", UNBUFFERED)
def test_a_schema_that_cannot_be_written_is_one_line(unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        ending = subprocess.run(SCHEMA, stdout=full, stderr=subprocess.PIPE, text=True, env=env, check=False)

    assert ending.returncode == 1
    assert ending.stderr == "Error: the output cannot be written: No space left on device\n"


def test_a_reader_that_has_read_enough_of_the_schema_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ending = subprocess.run(SCHEMA, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)

    assert (ending.returncode, ending.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", UNBUFFERED)
def test_a_reader_that_has_read_enough_is_no_error(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with started("config", stdout=writing, PYTHONUNBUFFERED=unbuffered) as process:
            assert ended(process) == (141, "")
    finally:
        os.close(writing)


def test_an_error_that_cannot_be_told_has_its_exit_code() -> None:
    with (
        Path("/dev/full").open("w") as full,
        started("no-such-command", stderr=full.fileno(), PYTHONUNBUFFERED="") as process,
    ):
        stdout, _ = process.communicate(timeout=60)

    assert (process.returncode, stdout) == (2, "")


@pytest.mark.parametrize("as_json", [False, True])
def test_output_that_is_closed_is_one_line_and_nothing_is_done(
    broker: Valkey, worker: StandIn, as_json: bool
) -> None:
    options = ["--json"] if as_json else []
    with started(*COMMIT, *options, closed=1, MEMREPO_BROKER_URL=broker.url) as process:
        code, stderr = ended(process)

    assert code == 1
    assert stderr.count("\n") == 1
    assert "the output cannot be written: standard output is closed" in stderr
    assert worker.taken == []


def test_errors_that_are_closed_leave_output_and_exit_code() -> None:
    with started("config", closed=2) as process:
        stdout, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert stdout.startswith("MEMREPO_BROKER_URL=")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ((*COMMIT, "--put", "b.md", "-"), 2, "what is meant for b.md cannot be read"),
        (("delete", "acme", "agent-1"), 1, "Aborted: nothing was done."),
    ],
)
def test_input_that_is_closed_is_not_read_as_empty(
    arguments: tuple[str, ...], code: int, reason: str
) -> None:
    with started(*arguments, closed=0) as process:
        ended_with, stderr = ended(process)

    assert ended_with == code
    assert reason in stderr
    assert "Traceback" not in stderr


def test_standard_input_is_read_once_only() -> None:
    result = CliRunner().invoke(main, [*COMMIT, "--put", "a", "-", "--put", "b", "-"], input="x")

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --put: standard input can be read once only.")


def test_standard_input_under_another_name_is_read_once_only_as_well() -> None:
    with started(*COMMIT, "--put", "a", "-", "--put", "b", "/dev/stdin") as process:
        code, stderr = ended(process)

    assert code == 2
    assert "standard input can be read once only" in stderr


@pytest.mark.parametrize(("name", "reason"), [("nowhere.md", "No such file"), (".", "directory")])
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, name: str, reason: str) -> None:
    result = CliRunner().invoke(main, [*COMMIT, "--put", "a", str(tmp_path / name)])

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert str(tmp_path / name) in result.stderr
    assert reason in result.stderr


def test_a_file_that_has_no_end_is_not_read_to_it() -> None:
    result = CliRunner().invoke(main, [*COMMIT, "--put", "a", "/dev/zero"])

    assert result.exit_code == 2
    assert "file_bytes_max" in result.stderr


def test_a_path_that_is_given_twice_is_refused() -> None:
    result = CliRunner().invoke(main, [*COMMIT, "--delete", "/a.md"])

    assert result.exit_code == 2
    assert "'a.md' is there twice" in result.stderr


def test_bytes_that_are_no_text_are_kept_in_content(broker: Valkey, worker: StandIn) -> None:
    with started(
        *("commit", "acme", "agent-1", "--no-wait", "-m", "m", "--text", "a.md", "\udcff"),
        MEMREPO_BROKER_URL=broker.url,
    ) as process:
        assert ended(process) == (0, "")
    (taken,) = worker.wait_taken(1)
    assert taken.request["changes"] == [{"path": "a.md", "content": {"base64": "/w=="}}]


@pytest.mark.parametrize(
    "arguments",
    [
        ("commit", "acme", "agent-1", "-m", "\udcff"),
        ("commit", "acme", "agent-1", "-m", "m", "--text", "\udcff", "x"),
        ("commit", "acme", "agent-1", "-m", "m", "--author", "\udcff <e>"),
        ("ls", "acme", "agent-1", "\udcff"),
        ("head", "acme", "\udcff"),
    ],
)
def test_bytes_that_are_no_text_are_refused_in_names(broker: Valkey, arguments: tuple[str, ...]) -> None:
    result = CliRunner(env={"MEMREPO_BROKER_URL": broker.url}).invoke(main, arguments)

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_a_delete_that_nobody_confirms_says_that_nothing_was_done() -> None:
    with started("delete", "acme", "agent-1") as process:
        code, stderr = ended(process)

    assert code == 1
    # Click 8.3 writes no space behind the colon there.
    asked, told = stderr.splitlines()
    assert asked.rstrip() == "Delete the memory of acme/agent-1 for good? [y/N]:"
    assert told == "Error: Aborted: nothing was done."


def test_a_program_is_not_asked_whether_it_means_to_delete(broker: Valkey) -> None:
    result = CliRunner().invoke(main, ["delete", "acme", "agent-1", "--json"], input="y\n")

    assert result.exit_code == 2
    assert json.loads(result.stderr)["error"]["message"].startswith("With --json nobody is asked: say --yes.")


@pytest.mark.parametrize("text", ["nan", "-1", "inf", "soon", "1e300"])
def test_a_timeout_that_is_no_duration_is_refused(text: str) -> None:
    result = CliRunner().invoke(main, ["head", "acme", "agent-1", "--timeout", text])

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_what_is_wrong_with_the_command_line_itself_is_json_too() -> None:
    for arguments in (["ls", "--json"], ["no-such-command", "--json"], ["--no-such-option", "--json"]):
        result = CliRunner().invoke(main, arguments)

        assert result.exit_code == 2
        assert json.loads(result.stderr)["error"]["type"] == "UsageError"
        assert result.stdout == ""


def test_a_message_that_reads_like_the_option_is_no_wish_for_json() -> None:
    result = CliRunner().invoke(main, ["commit", "acme", "agent-1", "-m", "--json", "--text", "../x", "y"])

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --text '../x': ")


def test_no_arguments_at_all_show_the_help() -> None:
    result = CliRunner().invoke(main, [])

    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_help_fits_its_lines_and_cuts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["--help"], ["store", "--help"]):
        shown = CliRunner().invoke(main, arguments, terminal_width=80)

        assert shown.exit_code == 0
        assert "..." not in shown.output.replace("[ARGS]...", "").replace("COMMAND [ARGS]", "")
        commands = shown.output.partition("Commands:\n")[2]
        assert all(
            line.startswith("  ") and line[2] != " " for line in commands.splitlines() if line.startswith(" ")
        )


def test_a_shell_that_completes_is_not_told_what_is_missing() -> None:
    completing: dict[str, Any] = {
        "_MEMREPO_COMPLETE": "bash_complete",
        "COMP_WORDS": "memrepo up --",
        "COMP_CWORD": "2",
    }
    with started(prelude="import sys; sys.modules['pygit2'] = None", **completing) as process:
        assert ended(process) == (0, "")


def test_on_a_terminal_it_is_shown_how_far_the_job_is_and_then_nothing_is_left_of_that(
    broker: Valkey, worker: StandIn
) -> None:
    worker.answer = lambda _: None
    reading, writing = os.openpty()
    with started("head", "acme", "agent-1", stderr=writing, MEMREPO_BROKER_URL=broker.url) as process:
        (taken,) = worker.wait_taken(1)
        shown = os.read(reading, 1000).decode()
        worker.settle(taken, SHA)
        stdout, _ = process.communicate(timeout=60)
        while not shown.endswith("\r"):
            shown += os.read(reading, 1000).decode()
    os.close(reading)
    os.close(writing)

    assert re.search(r"queued, no worker .*, waiting for \d+ s", shown)
    assert re.search(r"\r +\r$", shown)
    assert stdout == f"{SHA}\n"


def test_nothing_is_shown_on_a_terminal_that_is_none(broker: Valkey, worker: StandIn) -> None:
    with started("head", "acme", "agent-1", MEMREPO_BROKER_URL=broker.url) as process:
        wait_for(lambda: process.poll() is not None, "the end")
        stdout, stderr = process.communicate()

    assert stderr == ""
    assert "\x1b" not in stdout


@pytest.mark.parametrize(("answer", "code"), [(KeyboardInterrupt, 130), (EOFError, 1)])
def test_ctrl_c_at_a_question_ends_as_anywhere_and_a_no_as_a_failure(
    monkeypatch: pytest.MonkeyPatch, answer: type[BaseException], code: int
) -> None:
    def answers(_: str) -> str:
        raise answer

    monkeypatch.setattr("click.termui.visible_prompt_func", answers)

    with pytest.raises(click.exceptions.Exit) as left, telling(lambda: False):
        click.confirm("Delete it?", abort=True, err=True)

    assert left.value.exit_code == code
