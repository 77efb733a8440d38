"""Run every check of the project and print the seconds of each: ``python tests/everything.py [part ...]``.

This is what ``make test`` calls; it needs nothing but Python, so it also serves where there is no make.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = ["-m", "pytest", "-n", "2"]
LEAN = ["-p", "no:nbval", "-p", "no:hypothesispytest"]  # they take seconds to load, in each of three processes
PARTS = {
    "lint": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "mypy"],
    "unit": [*PYTEST, "--dist=loadfile", "--durations=5", "-m", "not notebook and not binder and not browser"],
    "colab": ["tests/colab.py"],
    "notebooks-check": ["notebooks/build.py", "check"],
    "notebooks": [*PYTEST, "--dist=worksteal", "-m", "notebook", "tests/notebooks"],
    "binder": ["-m", "pytest", "-m", "binder", "tests/binder"],
    "browser": [*PYTEST, *LEAN, "--dist=loadgroup", "--timeout=240", "-m", "browser", "tests/browser"],
}
GOAL = 300.0  # seconds of the browser's part, on two quiet cores
LIMITS = {"browser": 2 * GOAL}
"""Seconds after which a part is ended and fails where CI is set: its machines share their cores with others, and may be
half as fast as a quiet one. At home a part may take as long as it needs."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # two processes side by side, one core each


def run(name: str, store: str) -> tuple[bool, float]:
    """Run one part; whether it passed, and its seconds. What notebooks compute is kept in `store` for the browser's."""
    print(f"\n=== {name} ===", flush=True)
    start = time.perf_counter()
    env = os.environ | {"WDLAB_TESTS_STORE": store} | (ONE_THREAD if "-n" in PARTS[name] else {})
    limit = LIMITS.get(name) if "CI" in os.environ else None
    process = subprocess.Popen([sys.executable, *PARTS[name]], cwd=ROOT, env=env, start_new_session=limit is not None)
    return waited(process, limit) == 0, time.perf_counter() - start


def waited(process: subprocess.Popen[bytes], limit: float | None) -> int:
    """Wait for the end of `process`; after `limit` seconds end it, with all that it has started. Its exit status."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"ended: more than the {limit:.0f} s that are allowed where CI is set", flush=True)
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def chosen() -> list[str]:
    """The parts named on the command line, or all there are."""
    parser = argparse.ArgumentParser(description="Run every check of the project.")
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parts = parser.parse_args().parts
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return parts or [name for name in PARTS if name != "browser" or (ROOT / "tests" / "browser").exists()]


def main() -> int:
    """Run the chosen parts, all of them even if one fails; 1 if one failed."""
    parts = chosen()
    with tempfile.TemporaryDirectory(prefix="wdlab-store-", ignore_cleanup_errors=True) as store:
        results = {name: run(name, store) for name in parts}
    print("\n=== seconds of each part ===")
    for name, (passed, seconds) in results.items():
        print(f"{seconds:8.1f} s  {name:16} {'passed' if passed else 'FAILED'}")
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
