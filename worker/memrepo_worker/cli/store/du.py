"""``memrepo store du``: how much of a store each memory takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby

import click

from memrepo.cli.common import json_option
from memrepo.cli.ending import plain
from memrepo.errors import RepoNotFoundError
from memrepo.wording import counted
from memrepo_worker.cli.store.tools import agent_named, open_tools, org_named
from memrepo_worker.inspection.foreign import Foreign
from memrepo_worker.inspection.memories import ListedMemory, Size

_COLUMNS = (
    "bytes",
    "entries",
    "markers",
    "segments",
    "bases",
    "reservations",
    "indexes",
    "old_files",
    "foreign",
    "foldable",
)
_WIDTHS = (15, 9, 9, 9, 6, 13, 8, 10, 8, 9)


@dataclass
class _Line:
    """What one line of the output is about: an agent, an org (no agent), or all of the store (neither)."""

    org_id: str | None
    agent_id: str | None
    agents: int = 0
    size: Size = field(default_factory=Size)
    foreign: Foreign = field(default_factory=Foreign)

    def add(self, other: _Line) -> None:
        self.agents += other.agents
        self.size.add(other.size)

    def count_in(self, outside: Foreign) -> None:
        """Count what lies under no agent's prefix."""
        self.size.foreign += outside.count
        self.size.bytes += outside.bytes
        self.foreign = outside

    @property
    def name(self) -> str:
        if self.org_id is None:
            return "total"
        return f"{self.org_id}/{self.agent_id}" if self.agent_id else f"{self.org_id}/"


@click.command(short_help="Show how large each memory is, and what a fold would join.")
@click.argument("org", required=False)
@click.argument("agent", required=False)
@click.option("--summary", is_flag=True, help="Only orgs, and the total.")
@json_option
def du(org: str | None, agent: str | None, summary: bool, as_json: bool) -> None:
    """Show how much of the store each memory takes: of all, of an ORG's, or of one AGENT's.

    It lists the store and reads no object. An org's line follows those of its agents, and the total comes last. With
    --json there is one object on each line; `agent_id` is null in an org's, `org_id` too in the total. What memrepo did
    not write is named on standard error, with its agent, or last where it lies under no agent's prefix.
    """
    org_id = org_named(org) if org is not None else ""
    agent_id = agent_named(org_id, agent).agent_id if agent is not None else ""
    with open_tools(as_json=as_json, writes=False, needs_git=False) as tools:
        show = _show_json if as_json else _Table().show
        outside = Foreign()
        memories = tools.memories.listed(org_id, agent_id, on_outside=outside.add)
        for line in _lines(memories, outside, org_id, agent_id):
            if line.agent_id is None or not summary:
                show(line)


def _lines(memories: Iterable[ListedMemory], outside: Foreign, org_id: str, agent_id: str) -> Iterator[_Line]:
    """Yield a line for each agent, each org and, where no org was named, for all.

    ``outside`` is what was found under no agent's prefix, once all are listed.
    """
    total = _Line(None, None)
    for org, its in groupby(memories, lambda memory: memory.agent.org_id):
        whole = _Line(org, None)
        for memory in its:
            line = _Line(org, memory.agent.agent_id, 1, memory.size, memory.foreign)
            yield line
            whole.add(line)
        total.add(whole)
        if org_id:
            whole.count_in(outside)
        if not agent_id:
            yield whole
    if not org_id:
        total.count_in(outside)
        yield total
    elif not total.agents:
        name = f"{org_id}/{agent_id}" if agent_id else org_id
        raise RepoNotFoundError(
            f"{name} has no object in the store", {"org_id": org_id, "agent_id": agent_id}
        )


def _show_json(line: _Line) -> None:
    values = {
        "org_id": line.org_id,
        "agent_id": line.agent_id,
        "agents": line.agents,
        **asdict(line.size),
        "foreign_names": line.foreign.names,
    }
    click.echo(json.dumps(values, ensure_ascii=False))


class _Table:
    """Prints lines as they come, under a heading."""

    def __init__(self) -> None:
        self._has_heading = False

    def show(self, line: _Line) -> None:
        if not self._has_heading:
            self._has_heading = True
            self._row(name.replace("_", " ") for name in _COLUMNS)
        numbers = asdict(line.size)
        count = "" if line.agent_id else f" ({counted(line.agents, 'agent')})"
        self._row((f"{numbers[name]:,}" for name in _COLUMNS), f"{line.name}{count}")
        if line.foreign.count:
            click.echo(plain(f"WARNING: {line.name}: {line.foreign}"), err=True)

    def _row(self, cells: Iterable[str], name: str = "") -> None:
        row = "".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
        click.echo(plain(f"{row}  {name}".rstrip()))
