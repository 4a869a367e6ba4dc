"""What a person reads in Flower, in a real browser, while fifty agents work and a worker is killed beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import psutil
import pytest
from playwright.sync_api import Error, Page, sync_playwright

from memrepo import Job, MemoryRepos
from memrepo.errors import MemoryRepoError
from memrepo.settings import environment
from tests.deployment.tools import debians
from tests.support.commands import MEMREPO
from tests.support.ports import LOOPBACK, answers, free_port
from tests.support.started import started
from tests.support.systems import running_worker
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

AGENTS = 50
LOGIN = ("watcher", "secret")
SECRET_TEXT = "what only the agent may know"
SCREENSHOTS = environment().get("SCREENSHOTS")
"""A folder for pictures of the pages, such as those in docs/monitoring; none where it is not set."""


@dataclass(frozen=True)
class Shown:
    """A browser at a Flower that has seen the traffic; ``asked`` is whom its pages asked for anything."""

    page: Page
    url: str
    asked: list[str]
    jobs: dict[str, Job[object]]

    def read(self, path: str) -> str:
        """Open a page and return what a person reads there."""
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("networkidle")
        if SCREENSHOTS:
            name = path.strip("/").partition("/")[0] or "workers"
            self.page.screenshot(path=f"{SCREENSHOTS}/flower-{name}.png")
        text: str = self.page.inner_text("body")  # where the browser is not installed, neither are its types
        return text

    def task(self, name: str) -> str:
        """Return what is read on the page of one of the jobs, once it shows that the job has ended."""

        def ended() -> str | None:
            text = self.read(f"/task/{self.jobs[name].id}")
            return text if re.search("^(SUCCESS|FAILURE|REVOKED)$", text, re.MULTILINE) else None

        return wait_for(ended, f"the page of the {name} one to show its end")


def traffic(repos: MemoryRepos, agents: range) -> dict[str, Job[object]]:
    """Have each agent begin, commit and read, and some of them fail, cancel and write much; return one job of each."""
    jobs: dict[str, Job[object]] = {}
    for number in agents:
        memory = repos.repo(org_id="acme", agent_id=f"agent-{number:02}")
        jobs["created"] = memory.create_repo({"human.md": SECRET_TEXT})
        jobs["committed"] = memory.commit({"notes/day.md": SECRET_TEXT}, SECRET_TEXT)
        jobs["read"] = memory.get_files()
        jobs["refused"] = memory.commit({"a": "b"}, "late", expected_head="0" * 40)
        jobs["large"] = (
            memory.commit({"large.txt": "line\n" * 400_000}, "much") if number == agents[0] else jobs["large"]
        )
        jobs["cancelled"] = memory.commit({"c": "d"}, "no")
        jobs["cancelled"].cancel()
        jobs[f"last of {number}"] = memory.list_files()
    return jobs


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("flower")
    port = free_port()
    env = {"MEMREPO_LEASE_S": "1"}
    with ExitStack() as running:
        broker = running.enter_context(valkey(folder / "valkey"))
        store = (folder / "store").as_uri()
        first = running.enter_context(running_worker(folder / "first", broker, store, env=env))
        url = broker.database(0)
        flower = {
            "PATH": environment()["PATH"],
            "MEMREPO_BROKER_URL": url,
            "MEMREPO_FLOWER_BASIC_AUTH": ":".join(LOGIN),
        }
        command = [MEMREPO, "flower", "--port", str(port)]
        running.enter_context(started(command, folder=folder, env=flower, ready=lambda: answers(port)))
        with MemoryRepos(broker_url=url) as repos:
            taken_over = traffic(repos, range(AGENTS // 2))
            wait_for(lambda: taken_over["created"].status() != "queued", "the first worker to have begun")
            psutil.Process(first.worker_pid).kill()
            second = running.enter_context(running_worker(folder / "second", broker, store, env=env))
            wait_for(lambda: taken_over["read"].status() != "queued", "the second worker to go on")
            psutil.Process(second.worker_pid).suspend()  # so that none has begun when some are cancelled
            jobs = traffic(repos, range(AGENTS // 2, AGENTS))
            psutil.Process(second.worker_pid).resume()
            for job in [*taken_over.values(), *jobs.values()]:
                try:
                    job.result(timeout_s=60)
                except MemoryRepoError:
                    continue  # two of them are to fail, which the pages are read for
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=debians("chromium", "chromium"), args=["--no-sandbox"]
                )
                context = browser.new_context(
                    http_credentials={"username": LOGIN[0], "password": LOGIN[1]},
                    viewport={"width": 1500, "height": 800},
                )
                page = context.new_page()
                asked: list[str] = []
                page.on("request", lambda request: asked.append(request.url))
                yield Shown(page, f"http://{LOOPBACK}:{port}", asked, jobs)
                browser.close()


def test_both_workers_are_listed(shown: Shown) -> None:
    # That the killed one is gone is shown after two heartbeats of Celery's were missed, which are a minute apart.
    text = shown.read("/")

    assert len(re.findall(r"^\S*-\d+@\S+", text, re.MULTILINE)) == 2
    assert "Online" in text


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("state:SUCCESS", ("memrepo.get_files", "memrepo.commit", "SUCCESS")),
        ("state:FAILURE", ("memrepo.commit", "main 1 changes", "FAILURE", "HeadMovedError")),
        ("state:REVOKED", ("memrepo.commit", "main 1 changes", "REVOKED")),
    ],
)
def test_the_list_of_tasks_says_who_asked_for_what_and_how_it_went(
    shown: Shown, search: str, words: tuple[str, ...]
) -> None:
    shown.read("/tasks")
    shown.page.get_by_placeholder("state:FAILURE").fill(search)

    def found() -> str | None:
        text = shown.page.inner_text("body")
        return text if all(word in text for word in words) else None

    text = wait_for(found, f"the list to show {words}", timeout_s=30)
    assert re.search(r"acme/agent-\d\d", text)
    assert SECRET_TEXT not in text


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("committed", ("memrepo.commit", "SUCCESS", "acme/agent-49 main 1 changes")),
        ("read", ("memrepo.get_files", "SUCCESS", "2 files")),
        ("refused", ("memrepo.commit", "FAILURE", "HeadMovedError")),
        ("cancelled", ("memrepo.commit", "REVOKED")),
        ("large", ("memrepo.commit", "SUCCESS", "acme/agent-25 ")),
    ],
)
def test_the_page_of_a_task_says_how_it_went_and_nothing_of_its_contents(
    shown: Shown, job: str, words: tuple[str, ...]
) -> None:
    text = shown.task(job)

    assert [word for word in words if word not in text] == [], text
    assert SECRET_TEXT not in text
    assert shown.page.get_by_role("button", name=re.compile("revoke|terminate", re.IGNORECASE)).count() == 0


def test_the_broker_is_shown_with_every_queue_and_without_its_password(shown: Shown) -> None:
    text = shown.read("/broker")

    assert all(f"memrepo.{number:03}" in text for number in (0, 31, 63))
    assert f"@{LOOPBACK}" in text or f"//{LOOPBACK}" in text


def test_nothing_is_asked_of_another_host(shown: Shown) -> None:
    for path in ("/", "/tasks", "/broker"):
        shown.read(path)

    own = (shown.url, "data:", "blob:")
    assert shown.asked
    assert [url for url in shown.asked if not url.startswith(own)] == []


def test_nobody_sees_it_without_the_password(shown: Shown) -> None:
    browser = shown.page.context.browser
    assert browser is not None
    with browser.new_context() as context, pytest.raises(Error, match="AUTH"):
        context.new_page().goto(f"{shown.url}/tasks")
