"""``memrepo store verify``: whether memories are whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import click

from memrepo.cli.common import json_option
from memrepo.cli.ending import MachineError, plain
from memrepo.cli.output import show_json
from memrepo.errors import MemoryDamagedError, RepoNotFoundError, StoreUnavailableError
from memrepo.wording import counted
from memrepo_worker.cli.store.tools import Tools, naming_the_cache, naming_what_is_full, open_tools, show_line
from memrepo_worker.cli.store.walk import OF_ONE, Chosen, Walk
from memrepo_worker.git.command import GitError
from memrepo_worker.group import Agent
from memrepo_worker.inspection.foreign import Foreign
from memrepo_worker.inspection.memories import ListedMemory
from memrepo_worker.inspection.verifying import Verified
from memrepo_worker.journal.layout import Layout
from memrepo_worker.repos.slots import CacheUnusableError
from memrepo_worker.store.interface import ListedObject, RefusedError
from memrepo_worker.store.unnamed import ListsUnnamed, UnnamedFile, list_all, list_unnamed


@click.command(short_help="Check memories from end to end with stock git; name what is damaged.")
@click.argument("org", required=False)
@click.argument("agent", required=False)
@click.option(
    "--all", "everyone", is_flag=True, help="Verify every memory; say nothing of those that are sound."
)
@click.option("--org", "of_org", metavar="ORG", help="With --all: only an org's.")
@click.option("--after", metavar="ORG/AGENT", help="With --all: go on after this memory.")
@json_option
def verify(
    org: str | None, agent: str | None, everyone: bool, of_org: str | None, after: str | None, as_json: bool
) -> None:
    """Check a memory from end to end with stock git, and name each damaged object and the kind of its damage.

    Every number must be there, every pack whole, everything that it leads to be there, and each base and segment hold
    what its entries hold. Nothing is written; workers go on. With --all and --json there is one object on each line.
    The exit code is 1 where something is damaged, and 5 where nothing is known to be, and not all could be read.
    """
    chosen = Chosen.of(org, agent, everyone, of_org, after)
    with open_tools(as_json=as_json, writes=False) as tools:
        if chosen.one is not None:
            _verify_one(tools, chosen.one, as_json=as_json)
        else:
            _VerifyAll(tools, as_json=as_json).run(chosen)


def _verify_one(tools: Tools, whose: Agent, *, as_json: bool) -> None:
    try:
        with naming_the_cache(tools.cache_dir), naming_what_is_full(tools.cache_dir):
            found = tools.verifier.verify(whose)
            # Of a store of files the first knows those without a key; what answers over a network is asked again.
            listing = tools.opened if isinstance(tools.opened, ListsUnnamed) else tools.store
            _add_beside(found, list_all(listing, Layout.of_agent(whose.org_id, whose.agent_id)))
    except (
        OSError,
        GitError,
        CacheUnusableError,
    ) as error:  # the former were taken as one of the output's, else
        raise MachineError(f"{whose} could not be read: {' '.join(str(error).split())}") from error
    if not found.exists and not found.was_deleted and not found.damages:
        ids = {"org_id": whose.org_id, "agent_id": whose.agent_id}
        raise RepoNotFoundError(f"{whose} has no memory", ids)
    if as_json:
        show_json(_values(found))
    else:
        _print_found(found)
    if found.damages:
        raise _damaged(f"{whose} is damaged: {counted(len(found.damages), 'object')}", found)
    if not as_json:
        size = (
            f"{counted(found.commits or 0, 'commit')} in {len_of(found)}"
            if found.exists
            else f"deleted, {len_of(found)}"
        )
        click.echo(plain(f"{whose}: {size}, sound"))


def _add_beside(found: Verified, listed: Iterable[ListedObject]) -> None:
    """Count in what lies beside a memory: under no agent's prefix, or under a name that no key has."""
    for item in listed:
        if isinstance(item, UnnamedFile) or Layout.ids_of(item.key) is None:
            found.foreign.add(item)


def len_of(found: Verified) -> str:
    """Return how many entries a journal has, in words."""
    return counted(found.entries, "entry")


class _VerifyAll:
    def __init__(self, tools: Tools, *, as_json: bool) -> None:
        self._tools = tools
        self._as_json = as_json
        self._memories = self._entries = self._damaged = self._unread = 0
        self._objects = 0
        self._was_refused = True

    def run(self, chosen: Chosen) -> None:
        """Verify all that are chosen; raise where one is damaged, or was not read."""
        outside = Foreign()
        progress = Walk(self._tools, chosen, "verifying").run(self._verify, on_outside=outside.add)
        if outside.count:
            click.echo(plain(f"WARNING: beside the memories: {outside}"), err=True)
        sums = {
            "memories": self._memories,
            "entries": self._entries,
            "damaged": self._damaged,
            "damaged_objects": self._objects,
            "unread": self._unread,
        }
        words = (
            f"{self._damaged} of {self._memories} memories are damaged ({counted(self._objects, 'object')})"
        )
        if self._unread:
            words += f", {self._unread} could not be read"
        if self._damaged:
            raise MemoryDamagedError(words, sums)
        if self._unread:
            raise (StoreUnavailableError if self._was_refused else MachineError)(words, sums)
        if progress.is_terminal:
            click.echo(f"{self._memories:,} memories of {self._entries:,} entries are sound", err=True)

    def _verify(self, memory: ListedMemory) -> None:
        self._memories += 1
        try:
            with naming_what_is_full(self._tools.cache_dir):
                found = self._tools.verifier.verify(memory.agent)
                layout = Layout.of(memory.agent.org_id, memory.agent.agent_id)
                _add_beside(found, list_unnamed(self._tools.opened, layout.prefix))
        except OF_ONE as error:
            self._unread += 1
            self._was_refused &= isinstance(error, RefusedError)
            told = " ".join(str(error).split())
            show_line(
                memory.agent, f"{memory.agent}: not read: {told}", {"error": told}, as_json=self._as_json
            )
            return
        self._entries += found.entries
        self._damaged += bool(found.damages)
        self._objects += len(found.damages)
        if self._as_json:
            show_line(memory.agent, "", _values(found), as_json=True)
        else:
            _print_found(found)


def _print_found(found: Verified) -> None:
    for damage in found.damages:
        click.echo(plain(str(damage)))
    if found.foreign.count:
        click.echo(plain(f"WARNING: {found.agent}: {found.foreign}"), err=True)


def _values(found: Verified) -> dict[str, object]:
    return {
        "org_id": found.agent.org_id,
        "agent_id": found.agent.agent_id,
        "entries": found.entries,
        "commits": found.commits,
        "sound": not found.damages,
        "damage": [
            {"key": each.key, "kind": each.kind.value, "detail": each.detail} for each in found.damages
        ],
        "foreign": asdict(found.foreign),
    }


def _damaged(words: str, found: Verified) -> MemoryDamagedError:
    return MemoryDamagedError(words, {"keys": [each.key for each in found.damages]})
