"""Runs a Python program so that any blocking call on its event loop raises.

    python -m tests.support.guarded_loop examples/agent_loop.py 100

In a process of its own: what blockbuster does to built-in types does not go away again, and the interpreter may not
survive its own end with it.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback

from blockbuster import blockbuster_ctx

if __name__ == "__main__":
    program, *arguments = sys.argv[1:]
    sys.argv = [program, *arguments]
    code = 0
    with blockbuster_ctx():
        try:
            runpy.run_path(program, run_name="__main__")
        except BaseException:  # noqa: BLE001 - told as the interpreter would tell it, whose end may not be reached
            traceback.print_exc()
            code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
