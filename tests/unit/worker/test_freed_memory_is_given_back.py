"""A worker keeps little of what it frees: it is the system's again, and not kept for one thread."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import pytest

from memrepo.limits import MIB
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.threads.heaps import HEAPS_MAX, keep_little

PROGRAM = """
import ctypes, json, re, sys, threading
from pathlib import Path
from memrepo_worker.cli import worker
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.testing import inline_repos

folder, large, threads_count = Path(sys.argv[1]), 3 * 1024**2, 12
C = ctypes.CDLL(None)
C.fopen.restype = ctypes.c_void_p
C.malloc_info.argtypes = ctypes.c_int, ctypes.c_void_p
C.fclose.argtypes = ctypes.c_void_p,

def look():
    file = C.fopen(bytes(folder / "heaps.xml"), b"w")
    C.malloc_info(0, file)
    C.fclose(file)
    text = (folder / "heaps.xml").read_text()
    mapped = re.findall('type="mmap" count="[0-9]*" size="([0-9]*)"', text)
    return text.count("<heap nr"), int(mapped[-1])

def serve(*_, **__):
    threads = [threading.Thread(target=compute) for _ in range(threads_count)]
    for thread in threads:
        thread.start()
    all_here.wait()
    heaps, _ = look()
    over.set()
    bytearray(8 * large)  # from here on glibc would take what is large from its heaps
    _, before = look()
    buffer = bytearray(large)
    _, after = look()
    print(json.dumps({"heaps": heaps, "mapped": after - before}))
    return 0

def compute():
    kept = [bytearray(20_000) for _ in range(8)]
    all_here.wait()
    over.wait()
    del kept

all_here, over = threading.Barrier(threads_count + 1), threading.Event()
if sys.argv[2] == "worker":
    worker.require = worker.agree_on_store = lambda *_: ""  # there is no broker here
    worker.run_worker = serve
    settings = WorkerSettings(store_url=(folder / "store").as_uri(), cache_dir=folder / "cache")
    worker._serve(settings, None, None)
else:
    with inline_repos():
        serve()
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc's heaps")


def looked_at(folder: Path, who: str = "worker", **variables: str) -> dict[str, int]:
    """Return how many heaps twelve threads have where somebody serves, and how much of a large buffer is mapped."""
    env = {"PATH": environment()["PATH"], **variables}
    command = [sys.executable, "-c", PROGRAM, str(folder), who]
    found: dict[str, int] = json.loads(Processes(Counters()).run(command, env=env, timeout_s=100))
    return found


def test_threads_share_a_few_heaps_and_large_buffers_are_memory_of_their_own(tmp_path: Path) -> None:
    found = looked_at(tmp_path)

    assert found["heaps"] <= HEAPS_MAX
    assert found["mapped"] >= 3 * MIB


def test_what_the_environment_tells_glibc_stays(tmp_path: Path) -> None:
    assert looked_at(tmp_path, MALLOC_ARENA_MAX="5")["heaps"] == 5
    assert not keep_little({"GLIBC_TUNABLES": "glibc.malloc.arena_max=5"})


def test_a_process_of_tests_with_a_worker_inside_keeps_glibcs_own_ways(tmp_path: Path) -> None:
    assert looked_at(tmp_path, "inline")["heaps"] > HEAPS_MAX
