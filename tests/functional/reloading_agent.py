"""
`reloading_agent.py ROOT`: an agent below ROOT that takes over the configuration that a line of its input holds, as JSON
by section and key, and answers each with a line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from reloading import reloading

if __name__ == "__main__":
    with reloading(Path(sys.argv[1]), json.loads(sys.stdin.readline())) as one:
        print("ready", flush=True)
        for line in sys.stdin:
            one.reload(json.loads(line))
            print("reloaded", flush=True)
