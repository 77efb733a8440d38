"""Progress: silent in a pipe, a line on a terminal, a bar in a notebook, always with the time that is left."""

import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import IPython.core.getipython
import IPython.display
import pytest

import wdlab
from wdlab import progress

ENV = os.environ | {"PYTHONPATH": str(Path(wdlab.__file__).parent.parent)}
SCRIPT = """
import time
from wdlab import progress
progress.DELAY, progress.INTERVAL = {delay}, 0.02
bar = progress.progress(40, "training")
for done in range(0, 41, 4):
    bar.update(done)
    time.sleep(0.03)
bar.close()
print("the end", flush=True)
"""


def test_a_pipe_gets_nothing() -> None:
    command = [sys.executable, "-c", SCRIPT.format(delay=0.0)]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout == "the end\n"


def on_a_terminal(delay: float) -> str:
    """Everything that the script writes to a pseudo-terminal."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    leader, follower = pty.openpty()
    size = importlib.import_module("struct").pack("HHHH", 24, 80, 0, 0)
    importlib.import_module("fcntl").ioctl(leader, importlib.import_module("termios").TIOCSWINSZ, size)
    command = [sys.executable, "-c", SCRIPT.format(delay=delay)]
    with subprocess.Popen(command, env=ENV, stdout=follower, stderr=follower) as process:
        os.close(follower)
        written = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            written += part
    os.close(leader)
    assert process.returncode == 0
    return written.decode()


def test_a_terminal_gets_a_line_that_is_wiped_at_the_end() -> None:
    written = on_a_terminal(delay=0.0)
    pictures = written.split("\r")
    shown = [picture for picture in pictures if "training" in picture]
    assert len(shown) > 2 and "\n" not in "".join(shown), "one line, drawn again and again"
    assert any(re.search(r"training: +\d+%.*\d+/40 \[\d\d:\d\d<\d\d:\d\d", picture) for picture in shown), shown
    wiped = pictures[pictures.index(shown[-1]) + 1]
    assert not wiped.strip() and len(wiped) >= len(shown[-1].rstrip()) - 1
    assert written.rstrip().endswith("the end")


def test_what_is_quick_stays_silent_on_a_terminal_too() -> None:
    assert on_a_terminal(delay=30.0).strip() == "the end"


class Handle:
    """Stands in for the display of a notebook: remembers every picture."""

    def __init__(self) -> None:
        self.pictures: list[str] = []

    def display(self, html, display_id: bool) -> "Handle":
        assert display_id
        self.pictures.append(html.data)
        return self

    def update(self, html) -> None:
        self.pictures.append(html.data)


class Clock:
    """A time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def handle(monkeypatch) -> Handle:
    handle = Handle()
    monkeypatch.setattr(IPython.display, "display", handle.display)
    return handle


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_notebook_gets_a_bar_with_the_time_left(handle: Handle, clock: Clock) -> None:
    bar = progress.Notebook(100, "18 runs")
    bar.update(0)
    assert handle.pictures == [], "what is quick stays silent"
    clock.now += 0.6
    bar.update(0)
    assert handle.pictures == ['<progress max="100" value="0"></progress> 18 runs: starting']
    clock.now += 0.1
    bar.update(5)
    assert len(handle.pictures) == 1, "not too often"
    clock.now += 4.3
    bar.update(25)
    assert handle.pictures[1:] == ['<progress max="100" value="25"></progress> 18 runs: about 15 s left']
    clock.now += 15.0
    bar.update(100)
    assert handle.pictures[-1].endswith("about 0 s left")
    clock.now += 0.3
    bar.close()
    assert handle.pictures[-1] == "<small>18 runs: 20.3 s</small>"


def test_a_quick_cell_leaves_nothing(handle: Handle, clock: Clock) -> None:
    bar = progress.Notebook(100, "18 runs")
    clock.now += 0.4
    bar.update(50)
    bar.close()
    assert handle.pictures == []


def test_the_label_of_a_notebook_is_text_and_no_html(handle: Handle, clock: Clock) -> None:
    bar = progress.Notebook(1, "<b>runs</b> & more")
    clock.now += 1
    bar.update(0)
    bar.close()
    assert all("<b>" not in picture and "&lt;b&gt;runs&lt;/b&gt; &amp; more" in picture for picture in handle.pictures)


def test_where_python_runs_decides(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False, write=lambda _: None, flush=lambda: None))
    assert isinstance(progress.progress(1, "x"), progress.Silent)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = progress.progress(1, "x")
    assert isinstance(bar, progress.Terminal)
    bar.close()
    monkeypatch.setattr(IPython.core.getipython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    assert isinstance(progress.progress(1, "x"), progress.Notebook)
    monkeypatch.setattr(IPython.core.getipython, "get_ipython", lambda: SimpleNamespace())  # IPython on a terminal
    bar = progress.progress(1, "x")
    assert isinstance(bar, progress.Terminal)
    bar.close()


def test_no_stderr_is_silence(monkeypatch) -> None:
    """pythonw and some services have none."""
    monkeypatch.setattr(sys, "stderr", None)
    assert isinstance(progress.progress(1, "x"), progress.Silent)


def test_a_sweep_moves_the_bar_to_its_end(monkeypatch, tmp_path) -> None:
    """Work done in members and evaluations, told through a file, whatever process did it."""
    from wdlab import Model, Run, Vision, sweep, sweeps
    from wdlab.store import Store

    class Recorder:
        def __init__(self, total: int, label: str) -> None:
            self.total, self.label, self.seen, self.closed = total, label, [0], 0
            made.append(self)

        def update(self, done: int) -> None:
            self.seen.append(done)

        def close(self) -> None:
            self.closed += 1

    made: list[Recorder] = []
    monkeypatch.setattr(sweeps, "progress", Recorder)
    tiny = Vision("tiny", "fashion", train_size=64, test_size=20, batch_size=16, image_size=7)
    runs = [Run(tiny, Model(width=4, depth=1), seed=seed, steps=4, evaluations=9) for seed in range(3)]
    sweep(runs, "cpu", store=Store(tmp_path), label="three")
    [bar] = made
    assert bar.label == "three" and bar.total == 3 * 4, "no more readings than steps"
    assert bar.closed == 1 and bar.seen == sorted(bar.seen) and bar.seen[-1] == bar.total
    sweep(runs, "cpu", store=Store(tmp_path))
    assert len(made) == 1, "nothing to train, nothing to show"


def test_the_watcher_reads_while_the_work_goes_on(monkeypatch) -> None:
    from wdlab import sweeps

    seen: list[int] = []
    bar = SimpleNamespace(update=seen.append, close=lambda: None)
    monkeypatch.setattr(sweeps, "progress", lambda total, label: bar)
    with sweeps._Watched(10, "x") as counter:
        for _ in range(200):
            if 4 in seen:
                break
            counter.write_bytes(b"....")
            time.sleep(0.02)
        assert 4 in seen
    assert not counter.exists()
