"""What 10 million agents ask of ten cells, and what they notice when something happens.

``python docs/scale/simulation.py`` prints the tables of docs/scale.md, which says what is measured and what assumed.
One cell is simulated, as cells share nothing but the bucket: requests arrive by chance in steps of half a second at its
shards, and the process that owns a shard works off what waits there. All chance comes from one seed, so that the same
inputs give the same tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

SHARDS = 64
STEP_S, SHOWN_S, BEGIN_S = 0.5, 240.0, 30.0
"""A step, how long is simulated, and when something happens."""

NOTICED_S = 1.0
USED = 0.7
"""How busy a core is planned to be."""

DAY_S = 86_400


@dataclass(frozen=True)
class Costs:
    """What was measured: milliseconds of CPU for one request among many, and how long one takes where nothing waits."""

    commit_ms: float = 3.7
    read_ms: float = 1.5
    cold_open_ms: float = 15.0
    redis_commit_ms: float = 0.35
    redis_read_ms: float = 0.47
    answer_s: float = 0.012


@dataclass(frozen=True)
class Load:
    """What is assumed of agents: sessions of turns, commits and reads in a turn; ``peak`` is over the day's mean."""

    agents: int = 10_000_000
    sessions_a_day: float = 2.0
    turns: float = 10.0
    turn_every_s: float = 20.0
    commits: float = 1.0
    reads: float = 2.0
    peak: float = 2.0

    @property
    def turns_per_s(self) -> float:
        """How many turns begin each second at the peak, of all agents."""
        return self.agents * self.sessions_a_day * self.turns * self.peak / DAY_S


@dataclass(frozen=True)
class Places:
    """What serves them: cells of so many machines, with a process for each core; how shards move, by the settings."""

    cells: int = 10
    machines: int = 4
    processes: int = 2
    lease_s: float = 8.0
    move_s: float = 0.5
    restart_s: float = 5.0

    @property
    def owners(self) -> int:
        """How many processes a cell has."""
        return self.machines * self.processes


@dataclass
class Shard:
    """One queue: its owner, the work in it (ms of CPU), since when somebody serves it, and which part of it is cold."""

    owner: int
    work_ms: float = 0.0
    served_from_s: float = 0.0
    cold: float = 0.0


@dataclass
class Cell:
    """One cell as time goes on; ``share`` is its part of all turns."""

    share: float
    costs: Costs
    load: Load
    places: Places
    random: Random
    shards: list[Shard] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    """How long requests waited, and how many did."""
    noticed_until_s: float = BEGIN_S

    def __post_init__(self) -> None:
        self.shards = [Shard(number % self.places.owners) for number in range(SHARDS)]

    def give(
        self, shards: Iterable[Shard], owners: Iterable[int], from_s: float, *, cold: float = 1.0
    ) -> None:
        """Have shards served by others from a moment on; ``cold`` is the part of their agents not known there."""
        turn = list(owners)
        for number, shard in enumerate(shards):
            shard.owner, shard.served_from_s, shard.cold = turn[number % len(turn)], from_s, cold

    def step(self, now_s: float) -> None:
        """Let a step pass: what comes is counted with how long it will wait, and what can be done is done."""
        waiting_ms = [0.0] * self.places.owners
        for shard in self.shards:
            self._arrive(shard)
            if now_s >= shard.served_from_s:
                waiting_ms[shard.owner] += shard.work_ms
        left = [max(0.0, 1 - STEP_S * 1e3 / each) if each else 0.0 for each in waiting_ms]
        requests = self._turns_per_step * (self.load.commits + self.load.reads)
        for shard in self.shards:
            pause_s = max(0.0, shard.served_from_s - now_s)
            ahead_ms = shard.work_ms if pause_s else waiting_ms[shard.owner]
            wait_s = self.costs.answer_s + pause_s + max(0.0, ahead_ms / 1e3 - STEP_S)
            self.waits.append((wait_s, requests))
            if wait_s > NOTICED_S:
                self.noticed_until_s = now_s
            if not pause_s:
                shard.work_ms *= left[shard.owner]

    def _arrive(self, shard: Shard) -> None:
        turns = poisson(self._turns_per_step, self.random)
        opened = turns * min(1.0, 1 / self.load.turns + shard.cold)
        shard.cold *= math.exp(-STEP_S / self.load.turn_every_s)  # each agent is cold once
        served_ms = self.load.commits * self.costs.commit_ms + self.load.reads * self.costs.read_ms
        shard.work_ms += turns * served_ms + opened * self.costs.cold_open_ms

    @property
    def _turns_per_step(self) -> float:
        return self.load.turns_per_s * self.share / SHARDS * STEP_S


Event = Callable[[Cell, float], None]
"""Is told of each step before it."""


def quiet(_cell: Cell, _now_s: float) -> None:
    """Let nothing happen."""


def restarts(cell: Cell, now_s: float) -> None:
    """Restart process after process, one every 12 s: others take its shards, and it takes them again."""
    number, since_s = divmod(now_s - BEGIN_S, 12.0)
    process = int(number)
    if not 0 <= process < cell.places.owners:
        return
    own = [shard for index, shard in enumerate(cell.shards) if index % cell.places.owners == process]
    others = [other for other in range(cell.places.owners) if other != process]
    if since_s == 0:
        cell.give(own, others, now_s + cell.places.move_s)
    elif since_s == cell.places.restart_s:
        # Warm on disk, but for what moved on meanwhile.
        cell.give(own, [process], now_s + cell.places.move_s, cold=0.2)


def machine_lost(cell: Cell, now_s: float) -> None:
    """Take one machine away: its shards wait for the lease to be over, and are served by the others, cold."""
    if now_s == BEGIN_S:
        gone = range(cell.places.processes)
        others = range(cell.places.processes, cell.places.owners)
        lost = [shard for shard in cell.shards if shard.owner in gone]
        cell.give(lost, others, now_s + cell.places.lease_s + cell.places.move_s)


def redis_away(cell: Cell, now_s: float) -> None:
    """Have the cell's Redis away for 30 s: all wait, and come at once; what was warm is so still."""
    if now_s == BEGIN_S:
        for shard in cell.shards:
            shard.served_from_s = now_s + 30.0


def takes_over(cell: Cell, now_s: float) -> None:
    """Give a cell its part of one that is lost for good: those agents are cold, and stay."""
    if now_s == BEGIN_S:
        before, cell.share = cell.share, 1 / (cell.places.cells - 1)
        for shard in cell.shards:
            shard.cold = 1 - before / cell.share


def is_added(cell: Cell, now_s: float) -> None:
    """Begin a cell that was added: all that come to it are cold."""
    if now_s == BEGIN_S:
        cell.share = 1 / (cell.places.cells + 1)
        for shard in cell.shards:
            shard.cold = 1.0


EVENTS: Mapping[str, tuple[Event, float]] = {
    "nothing": (quiet, 0.1),
    "every process is restarted, one after the other": (restarts, 0.1),
    "one machine of four is lost": (machine_lost, 0.1),
    "a cell's Redis is away for 30 s: that cell": (redis_away, 0.1),
    "the same: the nine others": (quiet, 0.1),
    "a cell is lost for good: each of the nine that take its agents": (takes_over, 0.1),
    "an eleventh cell is added: the new one": (is_added, 0.0),
}
"""What happens, and the part of all turns that the cell that is looked at had before."""


def poisson(mean: float, random: Random) -> int:
    """Return how many come where so many do on average."""
    if mean > 30:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    count, product = 0, random.random()
    while product > math.exp(-mean):
        product *= random.random()
        count += 1
    return count


def simulate(event: Event, share: float, costs: Costs, load: Load, places: Places) -> Cell:
    """Return a cell to which something has happened."""
    cell = Cell(share, costs, load, places, Random(10_000_000))  # noqa: S311 - chance, not secrets
    for step in range(int(SHOWN_S / STEP_S)):
        now_s = step * STEP_S
        event(cell, now_s)
        cell.step(now_s)
    return cell


def sizes(costs: Costs, load: Load, places: Places) -> Sequence[Sequence[str]]:
    """Return what each part carries, of commits alone, reads alone, and agents of this load, at 70 % of a core."""
    turn_ms = load.commits * costs.commit_ms + load.reads * costs.read_ms + costs.cold_open_ms / load.turns
    redis_turn_ms = load.commits * costs.redis_commit_ms + load.reads * costs.redis_read_ms
    core = [USED * 1e3 / each for each in (costs.commit_ms, costs.read_ms, turn_ms)]
    redis = [USED * 1e3 / each for each in (costs.redis_commit_ms, costs.redis_read_ms, redis_turn_ms)]
    worker = [places.processes * each for each in core]
    cell = [min(places.owners * mine, all_of_it) for mine, all_of_it in zip(core, redis, strict=True)]
    rows = {
        "one core (a process of a worker)": core,
        f"one worker of {places.processes} cores": worker,
        f"one cell of {places.owners} cores": cell,
        f"ten cells of {places.owners} cores": [10 * each for each in cell],
        f"one Redis, whatever serves it ({math.ceil(redis[2] / core[2])} cores)": redis,
    }
    agents_of_turn = load.agents / load.turns_per_s
    return [
        ["", "commits/s alone", "reads/s alone", "turns/s", "agents"],
        *(
            [name, *(f"{each:,.0f}" for each in rates), f"{rounded(rates[2] * agents_of_turn):,}"]
            for name, rates in rows.items()
        ),
    ]


def happenings(costs: Costs, load: Load, places: Places) -> Sequence[Sequence[str]]:
    """Return what is noticed of each event."""
    rows = [["what happens", "waits, p99", "the longest", "requests over 1 s", "of all cells'", "over after"]]
    everybody = load.turns_per_s * (load.commits + load.reads) * (SHOWN_S - BEGIN_S)
    for name, (event, share) in EVENTS.items():
        cell = simulate(event, share, costs, load, places)
        late = sum(count for wait_s, count in cell.waits if wait_s > NOTICED_S)
        longest_s = max(wait_s for wait_s, _ in cell.waits)
        over = f"{cell.noticed_until_s + STEP_S - BEGIN_S:.0f} s" if late else "-"
        waits = [f"{p99(cell.waits):.2f} s", f"{longest_s:.1f} s"]
        rows.append([name, *waits, f"{rounded(late):,}", f"{late / everybody:.1%}", over])
    return rows


def p99(waits: Sequence[tuple[float, float]]) -> float:
    """Return how long all but the last hundredth of the requests waited at most."""
    left = sum(count for _, count in waits) / 100
    for wait_s, count in sorted(waits, reverse=True):
        left -= count
        if left <= 0:
            return wait_s
    return 0.0


def rounded(number: float) -> int:
    """Return a number with two digits that count: the model knows no more."""
    digits = max(0, len(str(int(number))) - 2)
    return int(round(number, -digits))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as Markdown."""
    head, *others = rows
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *others))


def main() -> None:
    """Print the tables."""
    costs, load, places = Costs(), Load(), Places()
    print(table(sizes(costs, load, places)), table(happenings(costs, load, places)), sep="\n\n")


if __name__ == "__main__":
    main()
