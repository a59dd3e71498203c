from __future__ import annotations

from conductor_loop.cli import main

main()
