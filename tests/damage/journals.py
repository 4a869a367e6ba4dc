"""Journals as their objects are: what is damaged in a store is planted in one of these."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from memrepo_worker.group import Agent
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ALWAYS
from tests.support.folding import fold, small_runs
from tests.support.writers import AGENT, commit, create, writer

Journal = dict[str, bytes]
"""The objects of a memory, without its prefix."""

ENTRIES = 15
BASE = f"base/{8:020d}.bundle"
SEGMENT = f"segment/{9:020d}-{12:020d}.bundle"


def entry(seq: int) -> str:
    return f"journal/{seq:020d}.bundle"


def of(store: LocalStore, agent: Agent = AGENT) -> Journal:
    prefix = Layout.of(agent.org_id, agent.agent_id).prefix
    return {item.key.removeprefix(prefix): store.get(item.key).data for item in store.list(prefix)}


def put(store: LocalStore, agent: Agent, journal: Mapping[str, bytes]) -> None:
    for name, data in journal.items():
        store.put(Layout.of(agent.org_id, agent.agent_id).prefix + name, data, ALWAYS)


def folded(folder: Path, word: str = "step") -> Journal:
    """A memory of a branch more, 15 entries, a base of 8 and a segment of 4."""
    store = LocalStore(folder / "store")
    with writer(store, folder / "cache") as one, small_runs():
        one.ask(create(human="likes tea"))
        for number in range(2, ENTRIES):
            one.ask(commit(f"{word} {number}", {"human.md": f"{word} {number}\n" * 50, f"{number}.md": word}))
        one.ask(commit("aside", branch="idea"))
        fold(store, folder / "scratch")
    journal = of(store)
    assert {BASE, SEGMENT, entry(ENTRIES)} <= journal.keys()
    return journal


def flipped(data: bytes) -> bytes:
    middle = len(data) - 40
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
