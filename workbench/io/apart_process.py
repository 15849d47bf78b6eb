"""Limit this process, then run a script's ``main`` in it.

Run as a script itself: ``python -P apart_process.py CPU_SECONDS MEMORY SCRIPT SOURCE FOLDER``.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def limit(seconds: int, memory: int) -> None:
    """Set this process's limits, where the system has such."""
    try:
        import resource
    except ImportError:  # no such limits on this system; the caller's clock still runs
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    memory += used * resource.getpagesize()
    for kind, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory)):
        _, hard = resource.getrlimit(kind)
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (lower, hard))


if __name__ == "__main__":
    limit(int(sys.argv[1]), int(sys.argv[2]))
    try:
        runpy.run_path(sys.argv[3])["main"](sys.argv[4], sys.argv[5])
    except Exception as error:  # one line for the process that asked
        reason = " ".join(str(error).split())
        sys.exit(f"{type(error).__name__}: {reason}" if reason else type(error).__name__)
