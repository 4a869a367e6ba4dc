"""A program with a Celery app of its own that uses memrepo, too: once under each of the settings that it is given.

It is called with the address of its own broker and the settings, as JSON: name → variables of the environment. It
prints as JSON what became of each: "ok", or what went wrong.
"""

from __future__ import annotations

import json
import os
import sys

from celery import Celery

from memrepo import MemoryRepos

HOST_QUEUE = "host"
TIMEOUT_S = 15


def main() -> None:
    """Do a host's own work and memrepo's by turns."""
    host_broker, cases = sys.argv[1], json.loads(sys.argv[2])
    host = Celery("host", broker=host_broker, backend=host_broker)  # the current app of this process
    became = {}
    for name, variables in cases.items():
        os.environ.update(variables)
        try:
            became[name] = use_memrepo(name.replace(" ", "-"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            became[name] = f"{type(error).__name__}: {error}"
        for variable in variables:
            del os.environ[variable]
        host.send_task("host.task", queue=HOST_QUEUE)
    print(json.dumps(became))


def use_memrepo(agent: str) -> str:
    """Commit something and read it again."""
    with MemoryRepos.from_env() as repos:
        repo = repos.repo(org_id="acme", agent_id=agent)
        repo.create_repo().result(timeout_s=TIMEOUT_S)
        repo.commit({"a.md": agent}, "m").result(timeout_s=TIMEOUT_S)
        found = repo.get_file("a.md").result(timeout_s=TIMEOUT_S)
        return "ok" if found.text == agent else "other content"


if __name__ == "__main__":
    main()
