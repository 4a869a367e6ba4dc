"""What is planted in requests, and the broker's password, must show up nowhere but in the store and in results.

Searched: all of Flower's pages and its API, every event, everything that broker, worker, Flower and ``memrepo up``
write, and what ``memrepo config``, ``doctor``, ``shards`` and ``worker --show-settings`` print. The worker tells all
that it can: level DEBUG, lines of requests, as JSON.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import redis

from memrepo import MemoryRepoError, MemoryRepos
from tests.queues.test_nothing_private_is_shown import Listener
from tests.support.commands import Up, memrepo, up
from tests.support.samples import AUTHOR, FILES, PATH, PRIVATE, ask_everything
from tests.support.systems import running_worker
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

PASSWORD = "planted-password-of-the-broker"
PLANTED = {**PRIVATE, "password": PASSWORD}
AUTH = "watcher:flowers-own-password"


def do_everything(repos: MemoryRepos) -> list[str]:
    """Every kind of request, also such as fail with errors that quote what was asked; returns the jobs' ids."""
    repo = repos.repo(org_id="acme", agent_id="agent-42")
    jobs = ask_everything(repo)
    jobs += [
        repo.create_repo(FILES, author=AUTHOR),
        repo.commit({PATH: PLANTED["content"] * 10_000}, PLANTED["message"], author=AUTHOR),
        repo.get_file(PATH),
        repo.commit({f"{PATH}/inside": "x"}, PLANTED["message"]),
        repo.commit({PATH: "x"}, PLANTED["message"], expected_head="a" * 40),
        repo.get_file(f"{PLANTED['path']}/nothing"),
        repo.diff("main", PLANTED["path"]),
        repo.restore("main", paths=[f"{PLANTED['path']}/never"]),
    ]
    jobs += [repo.find_request(job.id) for job in jobs[:3]]
    for job in jobs:
        try:
            job.result(timeout_s=30)
        except MemoryRepoError:
            continue
    return [job.id for job in jobs]


def pages_of(running: Up, ids: list[str]) -> dict[str, str]:
    """Everything that Flower shows."""
    paths = [
        "/",
        "/workers",
        "/tasks",
        "/broker",
        "/metrics",
        "/api/workers",
        "/api/tasks",
        "/api/task/types",
    ]
    paths += [
        "/api/queues/length",
        "/tasks/datatable?draw=1&start=0&length=100&search[value]=&order[0][column]=0",
    ]
    paths += [f"/task/{task_id}" for task_id in ids] + [f"/api/task/info/{task_id}" for task_id in ids]
    paths += [f"/api/task/result/{task_id}?timeout=1" for task_id in ids]
    return {path: flower(running, path) for path in paths}


def flower(running: Up, path: str) -> str:
    """What Flower answers, also when it is an error."""
    url = running.told["flower_url"] + path
    headers = {"Authorization": "Basic " + base64.b64encode(AUTH.encode()).decode()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return str(answer.read(), errors="replace")
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")


@pytest.mark.timeout(180)
def test_what_is_planted_shows_up_nowhere(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey") as broker:
        with broker.client() as client:
            client.config_set("requirepass", PASSWORD)
        url = f"redis://:{PASSWORD}@127.0.0.1:{broker.port}/0"
        env = {"MEMREPO_BROKER_URL": url, "MEMREPO_FLOWER_BASIC_AUTH": AUTH}
        talking = {"MEMREPO_LOG_LEVEL": "DEBUG", "MEMREPO_LOG_FORMAT": "json"}
        folder = tmp_path / "up"
        with (
            up(folder, env=env | talking) as running,
            MemoryRepos(broker_url=url) as repos,
            Listener(url) as listener,
        ):
            wait_for(
                lambda: "memrepo.000" in flower(running, "/api/workers?refresh=1"), "Flower to see the worker"
            )
            ids = do_everything(repos)
            wait_for(
                lambda: len([event for event in listener.events if event["type"] in ENDS]) >= len(ids),
                "the end of every request to be told",
            )
            wait_for(lambda: all(task in flower(running, "/api/tasks") for task in ids), "Flower to see all")
            shown = pages_of(running, ids)
            for command in (("config",), ("doctor",), ("shards",), ("worker", "--show-settings")):
                ended = memrepo(
                    *command, folder=tmp_path, env={**env, "MEMREPO_STORE_URL": f"file://{tmp_path}/s"}
                )
                shown[" ".join(command)] = ended.stdout + ended.stderr
            running.process.terminate()
            running.process.wait(60)
        shown["events"] = repr(listener.events)
        shown |= {f"log {path.name}": path.read_text(errors="replace") for path in logs(tmp_path)}

    assert ids[0] in shown["/api/tasks"], "Flower saw nothing: the search would prove nothing"
    assert "acme/agent-42" in shown["events"]
    records = [json.loads(line) for line in shown["log worker.log"].splitlines()]
    told = [record for record in records if record["event"] == "request"]
    assert {record["job_id"] for record in told} >= set(ids), "the worker told little: likewise"
    found = {
        (what, place) for place, text in shown.items() for what, secret in PLANTED.items() if secret in text
    }
    assert not found


ENDS = ("task-succeeded", "task-failed")


def logs(folder: Path) -> list[Path]:
    """Everything that was written but the store, the cache, and the broker's own data."""
    kept = ("store", "cache", "appendonlydir", "s")
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part in kept for part in path.relative_to(folder).parts)
    ]


def test_the_search_would_find_what_is_planted(tmp_path: Path) -> None:
    """The results themselves hold it all: they are read by who knows a job's id."""
    store = (tmp_path / "store").as_uri()
    with (
        valkey(tmp_path / "valkey") as broker,
        running_worker(tmp_path / "worker", broker, store) as running,
        MemoryRepos(broker_url=running.broker_url) as repos,
    ):
        ids = do_everything(repos)
        client = redis.Redis.from_url(running.broker_url, decode_responses=True)
        results = " ".join(str(client.get(f"celery-task-meta-{task_id}")) for task_id in ids)
        client.close()

    assert all(PLANTED[what] in results for what in ("content", "message", "path", "e-mail", "author"))
