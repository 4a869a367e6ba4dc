"""``memrepo``, and ``python -m memrepo``: Ctrl+C is one line also while the command is still being loaded."""

from __future__ import annotations

from memrepo.cli.interrupt import claim_process, ending_at_once
from memrepo.cli.streams import occupy_closed_numbers


def main() -> None:
    """Load the command line and run it."""
    claim_process()
    occupy_closed_numbers()
    with ending_at_once():
        from memrepo.cli.main import main as command  # noqa: PLC0415 - loading is what may be interrupted
    command(prog_name="memrepo")


if __name__ == "__main__":
    main()
