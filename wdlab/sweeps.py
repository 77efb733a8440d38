"""Many runs: looked up in the store, the missing ones trained in batches of members over processes."""

from __future__ import annotations

import logging
import math
import tempfile
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import joblib
import pandas as pd
import torch
from joblib.parallel import get_active_backend

from wdlab.branches import stretches
from wdlab.checks import whole
from wdlab.memory import available, needed
from wdlab.progress import progress
from wdlab.run import Run
from wdlab.store import Store
from wdlab.train import History, Training, group_key, pick_device

logger = logging.getLogger(__name__)

MEMBERS = {"mlp": 24, "resnet": 6, "transformer": 8, "convnet": 4}
"""Members that train together on a CPU: enough to fill matrix products and vectors, few enough to stay in cache."""
GPU_MEMBERS = {
    "mlp": 64,
    "resnet": 8,
    "transformer": 8,
    "convnet": 16,
}  # a member of ResNet-18 keeps about 1 GB of activations
ROOM = 0.7  # of the free memory, for what is needed is an estimate
SMALL = 10_000  # member steps below which starting worker processes costs more than it saves


@dataclass(frozen=True)
class Results:
    """Finished runs: `histories` in the order asked for, `table` with one row a run, `curves` with one a reading."""

    histories: tuple[History, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, in the order asked for."""
        return tuple(history.run for history in self.histories)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a run: its settings, its last readings, test_accuracy = 1 - test_error, when it diverged or broke."""
        rows = []
        for history in self.histories:
            last = {name: curve[-1] for name, curve in history.curves.items() if name not in ("lr", "weight_decay")}
            measured = {**last, "test_accuracy": 1 - last["test_error"], "diverged_at": history.diverged_at}
            measured["broken_at"] = history.broken_at
            rows.append({**settings(history.run), **measured})
        return pd.DataFrame(rows)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row a run and evaluation: `run` (its number), its settings, `step`, and every curve.

        The columns lr and weight_decay are the values at that step; the settings' own are lr0 and lambda.
        """
        parts = []
        for number, history in enumerate(self.histories):
            told = settings(history.run)
            told["lr0"], told["lambda"] = told.pop("lr"), told.pop("weight_decay")
            parts.append(pd.DataFrame({"run": number, **told, "step": history.steps, **history.curves}))
        return pd.concat(parts, ignore_index=True)


def settings(run: Run) -> dict[str, object]:
    """Return the settings of `run` as one flat row."""
    return {
        **run.task.settings(),
        "model": run.model.name,
        "width": run.model.width,
        "depth": run.model.depth,
        "norm": run.model.norm,
        "optimizer": run.optimizer.name,
        "lr": run.optimizer.lr,
        "momentum": run.optimizer.momentum,
        "nesterov": run.optimizer.nesterov,
        "betas": str(run.optimizer.betas),
        "eps": run.optimizer.eps,
        "schedule": run.schedule.name,
        "final": run.schedule.final,
        "warmup": run.schedule.warmup,
        "weight_decay": run.decay.strength,
        "timing": str(run.decay.timing),
        "coupling": run.decay.coupling,
        "scaling": run.decay.scaling,
        "mask": run.decay.mask,
        "match": str(run.match),
        "seed": run.seed,
        "steps": run.steps,
    }


def sweep(
    runs: Iterable[Run],
    device: str = "auto",
    jobs: int | None = None,
    store: Store | None = None,
    label: str = "training",
    networks: bool = False,
) -> Results:
    """Return the results of `runs`, training only those that the store does not hold; with `networks` also the nets.

    Runs of one shape train together as members; on a CPU the batches go to `jobs` processes (by default one a core)
    through joblib, whose `parallel_config(backend="dask")` or `"ray"` sends them to a cluster. Each batch is stored as
    it finishes, so an interrupted sweep goes on where it stopped. `store` defaults to wdlab's cache folder; one that
    cannot be written is named in a warning. Raises ValueError when `runs` is empty or holds something else, or for a
    device that is not there.
    """
    asked = [runs] if isinstance(runs, Run) else list(runs)
    if not asked or not all(isinstance(run, Run) for run in asked):
        raise ValueError(f"runs={asked!r:.80} is not allowed; give one or more wdlab.Run.")
    where = pick_device(device)
    kept = replace(store, device=where.type) if store else Store.default(where.type)
    # A run is known by its path in the store, for a function in it comes back from another process as another object.
    paths = [kept.path(run) for run in asked]
    wanted = dict(zip(paths, asked, strict=True))
    found = {path: one for path, run in wanted.items() if (one := kept.get(run, networks)) is not None}
    missing = [run for path, run in wanted.items() if path not in found]
    # Closed whatever happens, so that an interrupt leaves no process and no bar behind.
    with closing(_train(missing, where, jobs, label, networks)) as finished:
        for history in finished:
            _put(kept, history)
            found[kept.path(history.run)] = history
    # Runs that mean the same share one training, yet each keeps the name it gave its timing.
    return Results(tuple(replace(found[path], run=run) for path, run in zip(paths, asked, strict=True)))


def _put(store: Store, history: History) -> None:
    try:
        store.put(history)
    except OSError as error:
        logger.warning("%s; the result is only in memory: set WDLAB_CACHE to a folder that can be written.", error)


def _train(
    runs: Sequence[Run], device: torch.device, jobs: int | None, label: str, networks: bool
) -> Generator[History, None, None]:
    """Train `runs` in batches, yielding each batch's histories as it finishes."""
    if not runs:
        return
    workers = _workers(runs, device, jobs)
    batches = group(runs, workers, device, ROOM * available(device) / workers)
    with _Watched(sum(min(run.evaluations, run.steps) for run in runs), label) as counter:
        if workers == 1:
            for batch in batches:
                yield from train_batch(batch, str(device), counter, networks)
            return
        calls = (joblib.delayed(train_batch)(batch, str(device), counter, networks) for batch in batches)
        in_turn = get_active_backend()[0].supports_return_generator  # ray's backend hands over all at once
        parallel = joblib.Parallel(workers, return_as="generator_unordered" if in_turn else "list", batch_size=1)
        for finished in parallel(calls):
            yield from finished


def _workers(runs: Sequence[Run], device: torch.device, jobs: int | None) -> int:
    if jobs is not None:
        return whole("jobs", jobs, 1)
    backend, active = get_active_backend()
    if active is not None or type(backend).__name__ != "LokyBackend":
        return int(joblib.effective_n_jobs(active or -1))  # the user chose a cluster, or a number of workers
    work = sum(run.steps for run in runs)
    if device.type != "cpu" or (work < SMALL and all(run.model.name == "mlp" for run in runs)):
        return 1
    return min(len(runs), int(joblib.cpu_count()))  # it knows a container's limit, which os.cpu_count does not


def group(runs: Sequence[Run], workers: int, device: torch.device, room: float = math.inf) -> list[list[Run]]:
    """Return `runs` in batches whose members can train together, of even sizes, a multiple of `workers` in number.

    Runs of one seed stay together: they share their data, and those whose decay begins alike share a past (see
    `wdlab.branches`). Where some copy from others no seed is divided, even if batches become larger and less even: what
    they copy from would have to train once more in every part. A batch whose members would need more than `room` bytes
    is split; a warning says so.
    """
    shapes: dict[Run, list[Run]] = {}
    for run in runs:
        shapes.setdefault(group_key(run), []).append(run)
    batches = []
    for key, alike in shapes.items():
        on_cpu = key.task.together or MEMBERS[key.model.name]
        most = on_cpu if device.type == "cpu" else GPU_MEMBERS[key.model.name]
        most = _that_fit(key, min(most, len(alike)), room, device)
        count = math.ceil(len(alike) / most)
        count = min(len(alike), math.ceil(count / max(workers, 1)) * max(workers, 1))
        by_seed = sorted(alike, key=lambda run: (run.seed, _past(run)))
        batches += [by_seed[start:stop] for start, stop in pairwise(_cuts(by_seed, count))]
    return sorted(batches, key=lambda batch: -len(batch) * batch[0].steps)


def _past(run: Run) -> bytes:
    """What brings runs next to each other that have long the same lambda; nothing for agents, which share no past."""
    if run.task.acts:
        return b""
    return (run.decay.strength * run.decay.timing.table(run.steps)).numpy().tobytes()


def _cuts(by_seed: Sequence[Run], count: int) -> list[int]:
    """Return where to cut runs in order of seeds into `count` even batches, or fewer that leave copying seeds whole."""
    cuts = [len(by_seed) * number // count for number in range(count + 1)]
    if not any(run.match.leaders for run in by_seed):
        return cuts
    first: dict[int, int] = {}
    for place, run in enumerate(by_seed):
        first.setdefault(run.seed, place)
    return sorted({first[by_seed[cut].seed] for cut in cuts[:-1]} | {len(by_seed)})


def _that_fit(run: Run, most: int, room: float, device: torch.device) -> int:
    """How many members of `run`'s shape, of `most`, train together within `room` bytes; at least one is tried."""
    if room == math.inf:
        return most
    each = needed(run, device)
    fit = max(1, min(most, int(room / each)))
    if fit < most or each > room:
        logger.warning(
            "%d members of %s at width %d need about %.3g GB and %.3g GB may be used; training %d at a time%s.",
            most,
            run.model.name,
            run.model.width,
            most * each / 1e9,
            room / 1e9,
            fit,
            ", which may still be too much: take a smaller model or batch" if each > room else "",
        )
    return fit


def train_batch(runs: Sequence[Run], device: str, counter: Path | None = None, networks: bool = False) -> list[History]:
    """Train one batch of members to the end and return their histories, with `networks` the trained nets in them.

    What several have in common trains once (see `wdlab.branches`). With `counter`, one byte a member and evaluation is
    appended to that file: its size is the work done.
    """
    first, *others = stretches(runs)
    training = Training(first.runs, device)
    _to(first.stop, training, len(runs), counter)
    for stretch in others:
        training = training.branch(stretch.runs, stretch.of)
        _to(stretch.stop, training, len(runs), counter)
    return training.histories(networks)


def _to(stop: int, training: Training, members: int, counter: Path | None) -> None:
    """Advance `training`, which is that of so many `members`, to step `stop`."""
    stride = math.ceil(training.steps / training.runs[0].evaluations)
    while training.step < stop:
        before = len(training.rows)
        training.advance(min(stride, stop - training.step))
        if counter is not None and counter.parent.exists():
            with counter.open("ab") as file:
                file.write(b"." * (members * (len(training.rows) - before)))


class _Watched:
    """Shows progress while the file it hands out grows: workers in any process append a byte a unit of work."""

    def __init__(self, total: int, label: str) -> None:
        self._bar = progress(total, label)
        self._folder = tempfile.TemporaryDirectory(prefix="wdlab-", ignore_cleanup_errors=True)
        self._counter = Path(self._folder.name) / "done"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="wdlab-progress", daemon=True)

    def __enter__(self) -> Path:
        self._counter.touch()
        self._thread.start()
        return self._counter

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()
        self._bar.close()
        self._folder.cleanup()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self._look()

    def _look(self) -> None:
        self._bar.update(self._counter.stat().st_size)
