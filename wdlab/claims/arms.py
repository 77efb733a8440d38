"""The networks and the arms that claims compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from wdlab.claims.claim import SCALES, Level, Measure, Setting
from wdlab.decay import Decay, Timing
from wdlab.run import Model, Run, Schedule
from wdlab.stats import paired
from wdlab.sweeps import Results, sweep
from wdlab.tasks import TASKS, of_vision

EARLY, LATE = Timing.first(0.25), Timing.after(0.5)
NEVER, ALWAYS = Timing.never(), Timing.always()
CONSTANT = Schedule("constant")


def spread(base: Run, seeds: Sequence[int], timings: Sequence[Timing]) -> list[Run]:
    """Return `base` once a seed and timing."""
    return [replace(base, seed=seed, decay=replace(base.decay, timing=timing)) for seed in seeds for timing in timings]


def trained(runs: Sequence[Run], setting: Setting) -> Results:
    """Return the results of `runs`; every claim about networks trains them here."""
    return sweep(runs, device=setting.device)


def gain(base: Run, setting: Setting, a: Timing, b: Timing) -> tuple[float, ...]:
    """Return the test accuracy under timing a minus that under timing b, seed by seed."""
    results = trained(spread(base, setting.seeds, (a, b)), setting)
    return paired(results, "decay.timing", a, b).values


def norm_saved(base: Run, setting: Setting) -> list[float]:
    """Return by what share the final weight norm of early decay is below that of never, seed by seed."""
    norms = trained(spread(base, setting.seeds, (EARLY, NEVER)), setting).table["weight_norm"].tolist()
    return [1 - early / never for early, never in zip(norms[::2], norms[1::2], strict=True)]


def network(scale: str) -> Run:
    """Return the run chapter 03 rests on: a BatchNorm MLP on MNIST-1D, at `scale` paper ResNet-18 on CIFAR-10."""
    if scale == "ci":
        return Run(model=Model(width=64), decay=Decay(0.01), steps=15 * TASKS["mnist1d"].epoch)
    if scale == "paper":
        # lr 0.1 times 0.97 an epoch for 200 epochs and lambda 5e-4: remembered of Golatkar et al., not read; the list
        # in the appendix of Bjorck et al. could not be seen. Here the rate falls at every step, not once an epoch.
        resnet18 = Model("resnet", width=64, depth=4, blocks=2)
        return Run(TASKS["cifar10"], resnet18, schedule=Schedule(final=0.97**200), decay=Decay(5e-4, mask="everything"))
    return Run(model=Model(width=100 if scale == "demo" else 256), decay=Decay(0.01))


def signal_resnet(scale: str) -> Run:
    """Return the 1-D ResNet on MNIST-1D at `scale`."""
    width = {"ci": 4, "demo": 8}.get(scale, 16)
    whole_run = Run(model=Model("resnet", width), decay=Decay(0.01), evaluations=4)
    return shortened(whole_run, 5) if scale == "ci" else whole_run


def image_resnet(scale: str) -> Run:
    """Return the 2-D ResNet on Fashion-MNIST at `scale`; at ci scale the images are smaller."""
    task = TASKS["fashion_full" if scale in ("gpu", "paper") else "fashion"]
    if scale == "ci":
        task = replace(of_vision(task), image_size=7)
    whole_run = Run(task, Model("resnet", 4 if scale == "ci" else 8), decay=Decay(0.02), evaluations=4)
    return shortened(whole_run, 15) if scale == "ci" else whole_run


def shortened(run: Run, epochs: int) -> Run:
    """Return `run` cut to `epochs` passes, with lambda raised so that lambda times steps stays as it was."""
    steps = epochs * run.task.epoch
    return replace(run, steps=steps, decay=replace(run.decay, strength=run.decay.strength * run.steps / steps))


def of(base: Callable[[str], Run], a: Timing, b: Timing) -> Measure:
    """Return the measure "test accuracy under a minus that under b" for the network `base` makes at a scale."""
    return lambda setting: gain(base(setting.scale), setting, a, b)


def sentence(where: str, said: str) -> str:
    """Return where a claim is made, if anywhere in particular, and what it says, as one sentence."""
    return where + said if where else said[0].upper() + said[1:]


def levels(smallest: float, ci: int = 6, demo: int = 10, gpu: int = 20, paper: int = 5) -> dict[str, Level]:
    """Return one smallest effect of interest for all scales, with the number of seeds of each."""
    return {scale: Level(seeds, smallest) for scale, seeds in zip(SCALES, (ci, demo, gpu, paper), strict=True)}
