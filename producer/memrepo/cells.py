"""Cells: several Redis that share the agents between them, by ``MEMREPO_CELLS``.

The setting lists them, white space between: ``NAME=ADDRESS`` for each, and ``NAME.results=ADDRESS`` where the results
of one are not kept on its broker. Agents are spread by the names alone (``memrepo.routing.cell_of``), so that an
address may change; their order says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from memrepo.errors import InvalidRequestError
from memrepo.redis.address import masked, parse_redis_url

CELLS_SETTING = "MEMREPO_CELLS"
CELL_SETTING = "MEMREPO_CELL"
CELLS_MAX = 1000

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?", re.ASCII)
_RESULTS = ".results"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its name and where its requests and results go."""

    name: str
    broker_url: str
    result_url: str

    def __repr__(self) -> str:
        """Write it without its passwords."""
        return f"Cell({self.name}, {masked(self.broker_url)}, {masked(self.result_url)})"


def parse_cells(text: str) -> Mapping[str, Cell]:
    """Read the list of the cells, by name, in the order of their names; empty where there is none.

    Raises:
        InvalidRequestError: naming the setting, and the cell if it has a name; it shows nothing of an address.
    """
    if not isinstance(text, str):
        raise _wrong(f"must be str, not {type(text).__name__}")
    brokers: dict[str, str] = {}
    results: dict[str, str] = {}
    for entry in text.split():
        name, sign, url = entry.partition("=")
        kind = results if name.endswith(_RESULTS) else brokers
        name = name.removesuffix(_RESULTS)
        if not sign or not _NAME.fullmatch(name):
            raise _wrong(
                "must list cells as NAME=ADDRESS, white space between, as in a=redis://host1:6379/0 "
                "b=redis://host2:6379/0; a name is 1 to 24 of a-z, 0-9 and - inside"
            )
        if name in kind:
            raise _wrong(f"names cell {name} twice")
        _ = parse_redis_url(url, f"{CELLS_SETTING}, {entry.partition('=')[0]}")
        kind[name] = url
    if alone := results.keys() - brokers.keys():
        raise _wrong(f"says where the results of cell {min(alone)} are, and not where its broker is")
    if len(brokers) > CELLS_MAX:
        raise _wrong(f"has {len(brokers)} cells: at most {CELLS_MAX}")
    _refuse_twins(brokers)
    return {name: Cell(name, brokers[name], results.get(name, brokers[name])) for name in sorted(brokers)}


def cell_named(cells: Mapping[str, Cell], name: str, setting: str = CELL_SETTING) -> Cell:
    """Return one of the cells.

    Raises:
        InvalidRequestError: there is none of that name.
    """
    if name not in cells:
        known = f"the cells are {', '.join(cells)}" if cells else f"{CELLS_SETTING} is not set"
        raise InvalidRequestError.of(setting, f"names the cell {name!r}, and {known}")
    return cells[name]


def masked_cells(text: str) -> str:
    """Return the list as it was written, without passwords."""
    entries = (entry.partition("=") for entry in text.split())
    return " ".join(f"{name}{sign}{masked(url)}" for name, sign, url in entries)


def _refuse_twins(brokers: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for name, url in brokers.items():
        address = str(parse_redis_url(url, CELLS_SETTING))
        if address in seen:
            raise _wrong(f"has the cells {seen[address]} and {name} at one address")
        seen[address] = name


def _wrong(reason: str) -> InvalidRequestError:
    return InvalidRequestError.of(CELLS_SETTING, reason)
