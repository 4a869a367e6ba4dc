"""An agent loop that is traced: steps with a commit each, many commits at once, and one that is refused."""

from __future__ import annotations

import sentry_sdk
from opentelemetry import trace

from memrepo import HeadMovedError, MemoryRepos

STEPS, AT_ONCE = 3, 30
COMMITS = STEPS + AT_ONCE + 1
SECRETS = ("secret/path.md", "SECRET-CONTENT", "SECRET-MESSAGE")


def main() -> None:
    with MemoryRepos.from_env() as repos, trace.get_tracer("loop").start_as_current_span("loop"):
        memory = repos.repo(org_id="acme", agent_id="traced")
        memory.create_repo().result(timeout_s=30)
        path, content, message = SECRETS
        for number in range(STEPS):
            with sentry_sdk.start_transaction(op="loop", name="step") as step:
                memory.commit({path: f"{content} {number}"}, message).result(timeout_s=30)
                print(step.trace_id)
        memory.get_files().result(timeout_s=30)
        jobs = [memory.commit({f"{number}.md": content}, message) for number in range(AT_ONCE)]
        for job in jobs:
            job.result(timeout_s=30)
        try:
            memory.commit({path: None}, message, expected_head="0" * 40).result(timeout_s=30)
        except HeadMovedError:
            return
        raise AssertionError("a head that never was is no expected one")


if __name__ == "__main__":
    main()
