"""The upkeep of warm repositories: few packs, and a commit graph, whatever the number of commits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from memrepo_worker.files.regular import irregular_in
from memrepo_worker.git.command import Git, GitError
from memrepo_worker.group import Agent
from memrepo_worker.journal.entry import BRANCHES
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.repos.repacking import (
    PACKS_MAX,
    ToJoin,
    clear,
    exchange,
    is_due,
    join,
    set_apart,
    to_join,
)
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.upkeep.runner import Job, Stop, UpkeepRunner

_ASKED_MAX = 1000


@dataclass(frozen=True)
class Repacker:
    """Repacks warm repositories of one cache. Turns of their agents go on meanwhile."""

    cache: RepoCache
    git: Git
    under_way: set[Agent] = field(default_factory=set)
    _asked: dict[Agent, int] = field(default_factory=dict)
    """How many packs there were where a job was asked for that has not done its work yet."""

    def ask(self, upkeep: UpkeepRunner, agent: Agent, repo: WarmRepo) -> None:
        """Have a repository seen to that needs it; where that has failed, not again before there is another pack.

        The job holds the repository, too, and whoever held it asks: it would follow on itself without end.
        """
        packs = len(repo.packs.files)
        if agent in self.under_way or self._asked.get(agent) == packs or not is_due(repo):
            return
        if len(self._asked) >= _ASKED_MAX:  # those that failed, and are warm no more
            for other in [*self._asked]:  # a copy, as jobs end meanwhile
                if self.cache.in_memory(other) is None:
                    self._asked.pop(other, None)
        self._asked[agent] = packs
        if not upkeep.submit(self.job(agent)):
            self._asked.pop(agent, None)

    def job(self, agent: Agent) -> Job:
        """Return the job that does it for an agent."""
        return Job("repack", agent, lambda stop: self._do(agent, stop))

    def _do(self, agent: Agent, stop: Stop) -> None:
        self.under_way.add(agent)
        try:
            self.repack(agent, stop)
        except (GitError, OSError):
            self._drop_irregular(agent)
            raise
        finally:
            self.under_way.discard(agent)

    def _drop_irregular(self, agent: Agent) -> None:
        """Throw a copy away in which something lies in the place of a file: no run of git would be begun in it."""
        with self.cache.hold(agent) as held:
            repo = held.in_memory()
            if repo is not None and irregular_in(repo.path / "objects"):
                held.drop()
                self._asked.pop(agent, None)

    def repack(self, agent: Agent, stop: Stop) -> None:
        """Join packs where there are many, and write what is new into the commit graph; what is not warm stays."""
        with self.cache.hold(agent) as held:
            repo = held.in_memory()
            if repo is None:
                self._asked.pop(agent, None)
                return
            names = to_join(repo.packs.files) if len(repo.packs.files) >= PACKS_MAX else ()
            apart = set_apart(repo, names) if names else None
        try:
            self._join_and_write(agent, repo, apart, stop)
        finally:
            if not self.cache.accounts.is_given_back:  # else what lies there is another process's by now
                clear(repo)  # of one that went wrong, or was let go meanwhile
            with self.cache.hold(agent):
                repo.measure_again()

    def _join_and_write(self, agent: Agent, repo: WarmRepo, apart: ToJoin | None, stop: Stop) -> None:
        git = stop.git(self.git)
        try:
            joined = join(apart, git, stop.check) if apart else None
            stop.check()
            with self.cache.hold(agent) as held:
                if joined is not None and not exchange(held, repo, joined, stop.check):
                    return
                state = repo.on_disk
            stop.check()
            tips = sorted(sha for name, sha in state.refs.items() if name.startswith(BRANCHES))
            repo.graph.write(git, tips, state.seq)
        except (GitError, OSError):
            if self.cache.in_memory(agent) is repo:
                raise
            self._asked.pop(agent, None)
            return  # it was evicted meanwhile, and with it what was to be joined
        self._asked.pop(agent, None)


def repacking(cache: RepoCache, git: Git, upkeep: UpkeepRunner) -> None:
    """Have the warm repositories of a cache seen to when they need it, after a turn of their agent."""
    repacker = Repacker(cache, git)
    cache.on_release = partial(repacker.ask, upkeep)
