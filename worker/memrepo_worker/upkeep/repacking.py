"""The upkeep of warm repositories: few packs, and a commit graph, whatever the number of commits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from memrepo_worker.git.command import Git
from memrepo_worker.group import Agent
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.repos.repacking import PACKS_MAX, exchange, join, to_join
from memrepo_worker.upkeep.runner import Job, Stop, UpkeepRunner


@dataclass(frozen=True)
class Repacker:
    """Repacks warm repositories of one cache. Turns of their agents go on meanwhile."""

    cache: RepoCache
    git: Git
    _asked: dict[Agent, int] = field(default_factory=dict)
    """How many packs there were where a job was asked for that has not done its work yet."""

    def ask(self, upkeep: UpkeepRunner, agent: Agent, packs: int) -> None:
        """Have an agent's packs joined; where that has failed, not again before there is another pack.

        The job holds the repository, too, and whoever held it asks: it would follow on itself without end.
        """
        if self._asked.get(agent) != packs:
            self._asked[agent] = packs
            if not upkeep.submit(self.job(agent)):
                self._asked.pop(agent, None)

    def job(self, agent: Agent) -> Job:
        """Return the job that does it for an agent."""
        return Job("repack", agent, lambda stop: self.repack(agent, stop))

    def repack(self, agent: Agent, stop: Stop) -> None:
        """Join packs and write what is new into the commit graph; what is not warm, or has few packs, stays."""
        with self.cache.hold(agent) as held:
            repo = held.in_memory()
            if repo is None or repo.packs_count < PACKS_MAX:
                self._asked.pop(agent, None)
                return
            names = to_join(repo.packs.files)
        git = stop.git(self.git)
        joined = join(repo, names, git, stop.check)
        stop.check()
        with self.cache.hold(agent) as held:
            if joined is not None and not exchange(held, repo, joined, stop.check):
                return
            self._asked.pop(agent, None)
            tips = sorted(sha for name, sha in repo.state.refs.items() if name.startswith("refs/heads/"))
        stop.check()
        repo.graph.write(git, tips)
        with self.cache.hold(agent):
            repo.measure_again()


def repacking(cache: RepoCache, git: Git, upkeep: UpkeepRunner) -> None:
    """Have the warm repositories of a cache repacked when they have many packs."""
    repacker = Repacker(cache, git)
    cache.packs_max = PACKS_MAX
    cache.on_many_packs = partial(repacker.ask, upkeep)
