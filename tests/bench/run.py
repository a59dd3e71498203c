"""
Measure the agent beside the limit of the machine and write docs/benchmarks.md: `make bench`, or
`tests/bench/run.py [--quick] [CASE ...]`. How much of everything, and the targets, stand in sizes.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # The folder above instead of this one: the modules here are `bench.…`, for the unit tests, too.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

    from bench.cli import main

    sys.exit(main())
