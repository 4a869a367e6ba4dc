"""How late the timers of an event loop are, in a process that does nothing else: what the machine alone costs.

Runs until its standard input ends, then prints the longest delay in seconds.
"""

from __future__ import annotations

import asyncio
import sys
import time

TICK_S = 0.001


async def ticking(late_s: list[float]) -> None:
    """Note at each tick how late it comes."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(TICK_S)
        late_s.append(time.perf_counter() - start - TICK_S)


async def main() -> None:
    late_s: list[float] = []
    task = asyncio.create_task(ticking(late_s))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    task.cancel()
    print(max(late_s))


if __name__ == "__main__":
    asyncio.run(main())
