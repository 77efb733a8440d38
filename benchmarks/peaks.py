"""What memory it takes, each time in a fresh process: a member, beside what `wdlab.memory` says; a way, as a whole.

python benchmarks/peaks.py WAY NET WIDTH MEMBERS [DEVICE]      the peak in MB; "member": of a training alone
"""

from __future__ import annotations

import subprocess
import sys

import machine
import torch
import ways
from settings import NETS, Setting

from wdlab import Training
from wdlab.memory import needed

CASES = {
    "mlp": (400, (2, 26, 50)),
    "signals": (32, (2, 14, 26)),
    "images": (16, (2, 14, 26)),
    "translation": (64, (2, 14, 26)),
    "cartpole": (256, (4, 52, 100)),
}
"""Wide, and members enough apart, that what they take stands out of a peak's chance: width, and so many members."""
STEPS = 3


def measure() -> list[dict]:
    """Peaks of processes that train more and more members; what one more takes, and is said to need."""
    found = []
    for net, (width, counts) in CASES.items():
        peaks = [peak("member", net, width, members) for members in counts]
        if peaks[0] is None:  # only Linux tells
            continue
        each = [(more - less) / (b - a) for less, more, a, b in zip(peaks, peaks[1:], counts, counts[1:], strict=False)]
        said = needed(NETS[net].runs(1, width, STEPS)[0], torch.device("cpu")) / 1e6
        found.append(
            {"net": net, "width": width, "members": counts, "peak_mb": peaks, "each_mb": each, "said_mb": said}
        )
    return found


def of_way(way: str, setting: Setting, device: str) -> float | None:
    """The peak of one way, all its processes together, torch included; it does not depend on the number of steps."""
    return peak(way, setting.net, setting.width, setting.members, device)


def peak(way: str, net: str, width: int, members: int, device: str = "cpu") -> float | None:
    """The peak in MB of a fresh process that trains so many members for a few steps; None where nobody tells."""
    words = [sys.executable, __file__, way, net, str(width), str(members), device]
    *_, told = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return None if told == "None" else float(told)


def show(found: list[dict]) -> None:
    """Print the estimate beside the measurements."""
    for told in found:
        each = " and ".join(f"{mb:.1f}" for mb in told["each_mb"])
        counts = ", ".join(map(str, told["members"]))
        print(
            f"memory of a member of {told['net']}, width {told['width']}: {each} MB (between {counts} members), "
            f"estimated {told['said_mb']:.1f} MB"
        )


def train(way: str, net: str, width: int, members: int, name: str) -> None:
    """In the fresh process."""
    torch.set_num_threads(1)
    setting, device = Setting(net, width, members, STEPS), ways.device_called(name)
    if way == "member":
        Training(setting.runs(), name, threads=1).advance(STEPS)
    else:
        work = ways.prepare(way, setting, device)
        assert work is not None
        work()
    print(machine.peak(device))


if __name__ == "__main__":
    train(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
