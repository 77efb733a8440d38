"""What a member takes of memory beside what `wdlab.memory` says it needs: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from settings import NETS

from wdlab import Training
from wdlab.memory import needed

CASES = {
    "mlp": (400, (2, 6, 10)),
    "signals": (32, (4, 12, 20)),
    "images": (16, (4, 12, 20)),
    "translation": (64, (2, 4, 6)),
    "cartpole": (256, (8, 24, 40)),
}
"""Wide, and members enough apart, that what they take stands out of a peak's chance: width, and so many members."""
STEPS = 3


def measure() -> list[dict]:
    """Peaks of processes that train 1, 2 and 3 times as many more members; what one takes, and is said to need."""
    found = []
    for net, (width, counts) in CASES.items():
        peaks = [peak(net, width, members) for members in counts]
        if peaks[0] is None:  # only Linux tells
            continue
        each = [(more - less) / (b - a) for less, more, a, b in zip(peaks, peaks[1:], counts, counts[1:], strict=False)]
        said = needed(NETS[net].runs(1, width, STEPS)[0], torch.device("cpu")) / 1e6
        found.append(
            {"net": net, "width": width, "members": counts, "peak_mb": peaks, "each_mb": each, "said_mb": said}
        )
    return found


def peak(net: str, width: int, members: int) -> float | None:
    """The peak in MB of a new process that trains so many members for a few steps."""
    words = [sys.executable, __file__, net, str(width), str(members)]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return float(told) if told.strip() else None


def show(found: list[dict]) -> None:
    """Print the estimate beside the measurements."""
    for told in found:
        each = " and ".join(f"{mb:.1f}" for mb in told["each_mb"])
        counts = ", ".join(map(str, told["members"]))
        print(
            f"memory of a member of {told['net']}, width {told['width']}: {each} MB (between {counts} members), "
            f"estimated {told['said_mb']:.1f} MB"
        )


def train(net: str, width: int, members: int) -> None:
    """In the new process."""
    torch.set_num_threads(1)
    Training(NETS[net].runs(members, width, STEPS), "cpu", threads=1).advance(STEPS)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    print(*(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")))


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
