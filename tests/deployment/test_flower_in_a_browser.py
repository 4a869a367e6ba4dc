"""What a person reads in Flower, in a real browser, while fifty agents work: over a kill, and without the store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Error, Page, sync_playwright

from memrepo import Job, MemoryRepos
from memrepo.clock import system_clock
from memrepo.errors import MemoryRepoError
from memrepo.limits import HORIZON_S
from memrepo.routing import SHARDS_DEFAULT
from memrepo.settings import environment
from tests.deployment.tools import debians
from tests.support.commands import MEMREPO
from tests.support.ports import LOOPBACK, answers, free_port
from tests.support.proxy import Proxy, proxy
from tests.support.seaweedfs import seaweedfs
from tests.support.sending import commit_request, sender
from tests.support.started import started
from tests.support.suspended import suspended
from tests.support.systems import System, running_worker
from tests.support.valkey import Valkey, valkey
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
    jobs: dict[str, Job[object]] = field(default_factory=dict)
    workers: dict[str, str] = field(default_factory=dict)

    def read(self, path: str) -> str:
        """Open a page and return what a person reads there."""
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("networkidle")
        text: str = self.page.inner_text("body")  # where the browser is not installed, neither are its types
        return text

    def task(self, name: str) -> str:
        """Return what is read on the page of one of the jobs, once it shows that the job has ended."""

        def ended() -> str | None:
            text = self.read(f"/task/{self.jobs[name].id}")
            return text if re.search("^(SUCCESS|FAILURE|REVOKED)$", text, re.MULTILINE) else None

        return wait_for(ended, f"the page of the {name} one to show its end")

    def listed(self) -> str:
        """Return what is read on the page of workers once all that have begun are listed.

        A long name is cut in two for the eye; a link's accessible name is the whole.
        """
        self.read("/")

        def found() -> str | None:
            links = [self.page.get_by_role("link", name=name) for name in self.workers.values()]
            text: str = self.page.inner_text("body")
            return text if all(link.count() for link in links) else None

        return wait_for(found, f"{self.workers} to be listed", timeout_s=30)

    def picture(self, name: str) -> None:
        """Keep what is seen now, where pictures are asked for."""
        if SCREENSHOTS:
            self.page.screenshot(path=f"{SCREENSHOTS}/flower-{name}.png")


@dataclass(frozen=True)
class Running:
    """A broker, a store that can be away, and how workers are begun."""

    folder: Path
    broker: Valkey
    store: Proxy
    store_url: str
    env: dict[str, str]

    def worker(self, stack: ExitStack, name: str) -> System:
        """Begin a worker; the store has to be there."""
        return stack.enter_context(
            running_worker(self.folder / name, self.broker, self.store_url, env=self.env)
        )

    def take_the_store_away(self) -> None:
        """Let no answer of the store arrive any more."""
        self.store.loses_answers = True

    def bring_the_store_back(self) -> None:
        """Let all of them arrive again."""
        self.store.loses_answers = False


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


def expired(broker: Valkey, repos: MemoryRepos) -> Job[object]:
    """Send what waited for longer than a request may: a day, and a minute."""
    late = commit_request("acme", "agent-49", enqueued_at=system_clock() - HORIZON_S - 60)
    with sender(broker, SHARDS_DEFAULT) as old:
        return repos.job(old.send(late))


def mixed_traffic(running: Running, repos: MemoryRepos, shown: Shown, stack: ExitStack) -> None:
    """Have fifty agents work, over a kill and two times without the store."""
    first = running.worker(stack, "first")
    shown.workers["first"] = f"memrepo-{first.worker_pid}@"
    shown.listed()
    running.take_the_store_away()
    early = traffic(repos, range(AGENTS // 2))
    wait_for(lambda: early["created"].status() == "retrying", "the first worker to wait for the store")
    psutil.Process(first.worker_pid).kill()
    running.bring_the_store_back()
    second = running.worker(stack, "second")
    shown.workers["second"] = f"memrepo-{second.worker_pid}@"
    wait_for(lambda: early["read"].status() != "queued", "the second worker to go on")

    with suspended(second.worker_pid):  # so that none has begun when some are cancelled
        jobs = traffic(repos, range(AGENTS // 2, AGENTS))
    jobs["taken over"], jobs["expired"] = early["created"], expired(running.broker, repos)
    await_all([*early.values(), *jobs.values()])

    running.take_the_store_away()
    jobs["retried"] = repos.repo(org_id="acme", agent_id="agent-49").commit({"e": "f"}, "again")
    wait_for(lambda: jobs["retried"].status() == "retrying", "the second worker to wait for the store")
    running.bring_the_store_back()
    await_all([jobs["retried"]])
    shown.jobs.update(jobs)


def await_all(jobs: list[Job[object]]) -> None:
    for job in jobs:
        try:
            job.result(timeout_s=60)
        except MemoryRepoError:
            continue  # some of them are to fail, which the pages are read for


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("flower")
    port = free_port()
    with ExitStack() as stack:
        broker = stack.enter_context(valkey(folder / "valkey"))
        server = stack.enter_context(seaweedfs(folder / "seaweedfs"))
        before = stack.enter_context(proxy(server.endpoint_url))
        store_url = server.store_url("watched", endpoint_url=before.url)
        env = {"MEMREPO_LEASE_S": "1", **server.environment}
        url = broker.database(0)
        flower = {
            "PATH": environment()["PATH"],
            "MEMREPO_BROKER_URL": url,
            "MEMREPO_FLOWER_BASIC_AUTH": ":".join(LOGIN),
        }
        command = [MEMREPO, "flower", "--port", str(port)]
        events = stack.enter_context(broker.client())
        stack.enter_context(
            started(
                command,
                folder=folder,
                env=flower,
                ready=lambda: (
                    answers(port) and events.pubsub_numpat() > 0
                ),  # what is told before is told to nobody
            )
        )
        repos = stack.enter_context(MemoryRepos(broker_url=url))
        playwright = stack.enter_context(sync_playwright())
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
        shown = Shown(page, f"http://{LOOPBACK}:{port}", asked)
        mixed_traffic(Running(folder, broker, before, store_url, env), repos, shown, stack)
        yield shown
        browser.close()


def test_both_workers_are_listed(shown: Shown) -> None:
    # That the killed one is gone is shown after two heartbeats of Celery's were missed, which are a minute apart.
    text = shown.listed()
    shown.picture("workers")
    assert len(re.findall(r"^\S*-\d+@\S+", text, re.MULTILINE)) == 2
    assert "Online" in text


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("agent-49", ("SUCCESS", "FAILURE", "REVOKED")),
        ("state:SUCCESS", ("memrepo.get_files", "memrepo.commit", "SUCCESS")),
        (
            "state:FAILURE",
            ("memrepo.commit", "main 1 changes", "FAILURE", "HeadMovedError", "RequestExpiredError"),
        ),
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
    shown.picture(f"tasks-{search.lower().replace(':', '-')}")
    assert re.search(r"acme/agent-\d\d", text)
    assert SECRET_TEXT not in text


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("committed", ("memrepo.commit", "SUCCESS", "acme/agent-49 main 1 changes")),
        ("read", ("memrepo.get_files", "SUCCESS", "2 files")),
        ("refused", ("memrepo.commit", "FAILURE", "HeadMovedError")),
        ("expired", ("memrepo.commit", "FAILURE", "RequestExpiredError")),
        (
            "retried",
            ("memrepo.commit", "SUCCESS", "acme/agent-49 main 1 changes", "Retried", "StoreUnavailableError"),
        ),
        ("taken over", ("memrepo.create_repo", "SUCCESS", "acme/agent-24")),
        ("cancelled", ("memrepo.commit", "REVOKED")),
        ("large", ("memrepo.commit", "SUCCESS", "acme/agent-25 ")),
    ],
)
def test_the_page_of_a_task_says_how_it_went_and_nothing_of_its_contents(
    shown: Shown, job: str, words: tuple[str, ...]
) -> None:
    text = shown.task(job)
    shown.picture(f"task-{job.replace(' ', '-')}")

    assert [word for word in words if word not in text] == [], text
    assert SECRET_TEXT not in text
    assert shown.page.get_by_role("button", name=re.compile("revoke|terminate", re.IGNORECASE)).count() == 0


def test_a_request_that_was_retried_says_how_often(shown: Shown) -> None:
    assert re.search(r"^Retries\s+[1-9]\d*$", shown.task("retried"), re.MULTILINE)
    assert re.search(r"^Retries\s+0$", shown.task("committed"), re.MULTILINE)


def test_what_was_taken_over_is_shown_at_the_worker_that_ended_it(shown: Shown) -> None:
    text = shown.task("taken over")

    assert shown.workers["second"] in text
    assert shown.workers["first"] not in text


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
