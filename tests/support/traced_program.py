"""An agent loop that is traced: a commit, many at once, and one that is refused."""

from __future__ import annotations

from opentelemetry import trace

from memrepo import HeadMovedError, MemoryRepos

COMMITS = 30
SECRETS = ("secret/path.md", "SECRET-CONTENT", "SECRET-MESSAGE")


def main() -> None:
    with MemoryRepos.from_env() as repos, trace.get_tracer("loop").start_as_current_span("loop"):
        memory = repos.repo(org_id="acme", agent_id="traced")
        memory.create_repo().result(timeout_s=30)
        path, content, message = SECRETS
        memory.commit({path: content}, message).result(timeout_s=30)
        memory.get_files().result(timeout_s=30)
        jobs = [memory.commit({f"{number}.md": content}, message) for number in range(COMMITS)]
        for job in jobs:
            job.result(timeout_s=30)
        try:
            memory.commit({path: None}, message, expected_head="0" * 40).result(timeout_s=30)
        except HeadMovedError:
            print("refused")


if __name__ == "__main__":
    main()
