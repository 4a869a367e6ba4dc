"""What every suite shares: one whole system for those that do it no harm, and a look at what is left behind."""

from __future__ import annotations

import gc
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from hypothesis import HealthCheck, settings

from memrepo import MemoryRepos
from memrepo.clock import system_clock
from memrepo.settings import environment
from tests.support import warm
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.host import running_inside
from tests.support.idle import is_idle
from tests.support.last_words import last_words
from tests.support.seaweedfs import SeaweedFs, seaweedfs
from tests.support.systems import System, running_worker
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

LONGEST = (
    "test_every_command_ends_as_documented",
    "test_up_runs_everything_on_one_machine",
    "test_an_answer_comes_whole_or_the_connection_is_given_up",
    "test_adoption_of_the_legacy_layout",
    "test_packs_that_git_refuses_together_cost_little",
    "test_a_journal_of_any_length_is_listed_in_little_memory",
    "test_contract",
    "test_the_documented_users_use_every_right",
    "test_a_worker_that_may_not_serve_leaves_it_to_others",
    "test_a_client_works_on_in_both_processes_of_a_fork",
    "test_every_cause_is_told",
    "test_a_worker_talks",
    "test_refused_by_its_header",
    "test_damage_is_healed_and_never_a_verdict",
    "test_large_objects",
    "test_the_store_commands",
    "test_every_write_is_applied_once",
    "test_the_command_line_ends_well",
    "test_what_a_server_goes_through_loses_nothing",
    "test_a_broker_serves_one_store",
    "test_on_the_wire",
    "test_a_history_is_replayed_through_the_queue",
    "test_odd_histories_are_replayed",
    "test_a_folded_memory_is_the_same",
    "test_shards_have_one_owner",
    "test_everybody_follows_the_primary_of_sentinels",
    "test_the_operations",
    "test_edits",
    "test_git_takes_what_we_take",
    "test_no_job_is_lost_in_silence",
    "test_warm_repositories_are_repacked",
    "test_after_a_failover_everybody_moves",
    "test_celerys_own_commands",
    "test_a_worker_that_cannot_serve_says_why",
    "test_ten_histories_are_replayed",
    "test_users_own_tests",
    "test_a_request_that_got_lost",
    "test_the_command_line",
    "test_a_program_ends",
    "test_the_documented_users_have_the_rights_they_need",
    "test_the_examples_run",
    "test_what_is_misspelt_is_found",
    "test_the_hosts_celery_is_left_alone",
    "test_a_cancel_has_one_truth",
)
"""The files that take longest, the longest first."""

COLD = {"soak", "faults", "damage", "fuzz", "fresh", "root", "deployment"}
"""The folders whose tests start every process as its users do."""

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("memrepo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("memrepo")


_BEGAN_S = pytest.StashKey[float]()
"""When a test began."""


def pytest_configure() -> None:
    """Let Ctrl+C reach what tests start: where the suite runs in the background, shells have it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long forms out, unless LONG=1 asks for them, and begin with the files that take longest."""
    items.sort(key=_rank)
    if environment().get("LONG") == "1":
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_collection_finish() -> None:
    """Keep what was collected from every later garbage collection: it is there to the end, half a million objects."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have processes begin warm where nothing depends on how they began: not where memory and deaths are looked at."""
    warm.allow(not COLD.intersection(_room(item)) and not item.get_closest_marker("cold"))
    item.stash[_BEGAN_S] = system_clock()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """End the report of a test that failed with what was written to logs meanwhile: it may fail once in a thousand."""
    report = yield
    factory = getattr(item, "funcargs", {}).get("tmp_path_factory")
    if report.failed and factory is not None:
        for name, end in last_words(factory.getbasetemp(), item.stash.get(_BEGAN_S, 0.0)):
            report.sections.append((f"End of {name}", end))
    return report


def _room(item: pytest.Item) -> tuple[str, ...]:
    """Return the folders in which a test lies, wherever the whole checkout does."""
    return item.path.relative_to(item.config.rootpath).parts


def _rank(item: pytest.Item) -> int:
    """Return a file's place: in that order the processes take the files, and what is begun last ends last."""
    if "soak" in _room(item):
        return 0
    return LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Every process that a test starts ends with it."""
    yield
    warm.end()
    assert psutil.Process().children(recursive=True) == []


@pytest.fixture(scope="session", autouse=True)
def inside_a_host(tmp_path_factory: pytest.TempPathFactory, nothing_left_running: None) -> Iterator[None]:
    """With ``HOST_SAYS=CASE`` all happens inside a host with a Celery of its own, whose broker nothing may reach."""
    case = environment().get("HOST_SAYS")
    if not case:
        yield
        return
    with running_inside(tmp_path_factory.mktemp("inside-a-host"), case):
        yield


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A broker, a worker and a local folder as the store."""
    folder = tmp_path_factory.mktemp("system")
    store: Path = folder / "memrepo-data" / "store"
    with (
        valkey(folder / "valkey") as broker,
        running_worker(folder / "worker", broker, store.as_uri()) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def nothing_left_on_the_system(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave that system idle after each test: others look at the whole of it, or start another worker there."""
    one = request.getfixturevalue("system") if "system" in request.fixturenames else None
    yield
    if isinstance(one, System):
        with redis.Redis.from_url(one.broker_url, decode_responses=True) as client:
            wait_for(lambda: is_idle(client), "the system to have served all, and its worker to own all", 60)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFs]:
    """One S3 server: it takes seconds to begin, so each asks for a prefix of its own."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session", name="gcs_server")
def one_gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """One server of the GCS protocol."""
    with gcs_server(tmp_path_factory.mktemp("gcs-server")) as server:
        yield server


@pytest.fixture(scope="session")
def memories(system: System) -> Iterator[MemoryRepos]:
    """A client of that system."""
    with MemoryRepos(broker_url=system.broker_url) as repos:
        yield repos
