"""``memrepo store fold``: joining what a journal's entries hold."""

from __future__ import annotations

from dataclasses import asdict

import click

from memrepo.cli.common import json_option
from memrepo.cli.ending import plain
from memrepo.clock import system_clock
from memrepo.errors import MemoryRepoError, RepoNotFoundError
from memrepo.redis.address import masked
from memrepo.wording import counted
from memrepo_worker.cli.failures import failure_of, kind_of_all
from memrepo_worker.cli.store.tools import (
    Tools,
    naming_what_is_full,
    open_tools,
    saying_who_names_damage,
    show,
    show_line,
)
from memrepo_worker.cli.store.walk import OF_ONE, Chosen, Walk
from memrepo_worker.inspection.memories import ListedMemory
from memrepo_worker.store.interface import RefusedError
from memrepo_worker.store.probe import token_of_trial
from memrepo_worker.store.replaces import fault_of_replaces
from memrepo_worker.upkeep.folding import Folding


@click.command(short_help="Join a memory's entries, so that it opens quickly whatever its age.")
@click.argument("org", required=False)
@click.argument("agent", required=False)
@click.option("--all", "everyone", is_flag=True, help="Fold every memory that has something to join.")
@click.option("--org", "of_org", metavar="ORG", help="With --all: only an org's.")
@click.option("--after", metavar="ORG/AGENT", help="With --all: go on after this memory.")
@json_option
def fold(
    org: str | None, agent: str | None, everyone: bool, of_org: str | None, after: str | None, as_json: bool
) -> None:
    """Join the entries of an agent's journal into a base and segments, so that opening it stays quick with age.

    The entries stay, and workers go on meanwhile. What is made was verified by stock git; done again, it makes only
    what is new. A store that does not honour conditional replaces is refused. With --all and --json there is one object
    on each line, for each memory of which something was joined.
    """
    chosen = Chosen.of(org, agent, everyone, of_org, after)
    with open_tools(as_json=as_json) as tools:
        if chosen.one is None:
            _FoldAll(tools, as_json=as_json).run(chosen)
            return
        _require_replaces(tools)
        with saying_who_names_damage(chosen.one), naming_what_is_full(tools.cache_dir):
            done = tools.folder.fold(chosen.one, lambda key: click.echo(plain(f"{key} made"), err=True))
    # Else a base that was cut off would seem to be found whole.
    unread = (
        "" if done.made else f"; what was there was not read: memrepo store verify {org} {agent} does that"
    )
    show(chosen.one, f"{_words(done)}{unread}", _values(done), as_json=as_json)


def _require_replaces(tools: Tools) -> None:
    """Refuse a store that cannot fold; it is tried out, and what that writes is removed."""
    fault = fault_of_replaces(tools.store, lambda: token_of_trial(system_clock()))
    if fault is not None:
        raise RefusedError(f"memories in {masked(tools.store.name)} cannot be folded: {fault}")


class _FoldAll:
    def __init__(self, tools: Tools, *, as_json: bool) -> None:
        self._tools = tools
        self._as_json = as_json
        self._memories = self._folded = self._failed = self._bytes = 0
        self._kinds: set[type[MemoryRepoError]] = set()

    def run(self, chosen: Chosen) -> None:
        """Fold all that are chosen; raise where one could not be."""
        progress = Walk(self._tools, chosen, "folding").run(
            self._fold, lambda: _require_replaces(self._tools)
        )
        words = f"{self._folded:,} of {self._memories:,} memories were folded ({counted(self._bytes, 'byte')} written)"
        if self._failed:
            sums = {"memories": self._memories, "folded": self._folded, "failed": self._failed}
            raise kind_of_all(self._kinds)(f"{self._failed} could not be folded; {words}", sums)
        if progress.is_terminal:
            click.echo(words, err=True)

    def _fold(self, memory: ListedMemory) -> None:
        self._memories += 1
        if not memory.has_runs_to_make:
            return
        try:
            with saying_who_names_damage(memory.agent), naming_what_is_full(self._tools.cache_dir):
                done = self._tools.folder.fold(memory.agent)
        except RepoNotFoundError:  # deleted
            return
        except OF_ONE as error:
            self._failed += 1
            self._kinds.add(type(failure_of(error)))
            told = " ".join(str(error).split())
            show_line(
                memory.agent, f"{memory.agent}: not folded: {told}", {"error": told}, as_json=self._as_json
            )
            return
        if done.made:
            self._folded += 1
            self._bytes += done.bytes_written
            show_line(memory.agent, f"{memory.agent}: {_words(done)}", _values(done), as_json=self._as_json)


def _words(done: Folding) -> str:
    return (
        f"{done.folded} of {done.entries} entries joined, {counted(len(done.made), 'object')} made "
        f"({counted(done.bytes_written, 'byte')}), {done.removed} removed"
    )


def _values(done: Folding) -> dict[str, object]:
    return {**asdict(done), "made": list(done.made)}
