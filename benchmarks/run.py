"""How fast members train together, against a plain loop over the same runs, both in this process.

    python benchmarks/run.py [--device cpu] [--runs 48] [--width 100] [--steps 62] [--repeats 5] [--json FILE]
    python benchmarks/run.py --net signals --runs 4 --width 8 --threads 1     (or --net images: the residual networks)
    python benchmarks/run.py --net translation --runs 8 --width 64
    python benchmarks/run.py --net cartpole --runs 24 --width 64 --steps 6000 --repeats 1     (or --net breakout)

The plain loop is what a good engineer writes for one network: torch.nn modules, torch.optim's optimizers, data on the
device, channels last for images, one network after another. Both sides train the same runs from the same weights on
the same batches; their final training losses are compared before any time is believed. The two sides take turns, after
one warm-up each, with one and with two threads; each side's better thread count is quoted. Ratios are of medians, with
the smallest and largest.

Agents that differ by a rounding error soon live different lives, so that theirs are compared over the first steps.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from plain_dqn import PlainDQN, plain_net
from torch import Tensor, nn

from wdlab import Decay, Model, Optimizer, Run, Schedule, Timing, Training, sweep
from wdlab.models import MLP, QMLP, MemberModel, QConv, ResNet, Transformer
from wdlab.models.transformer import PAD, START, positions
from wdlab.store import Store
from wdlab.tasks import GAMES, TASKS, TRANSLATIONS
from wdlab.train import pick_device

TIMINGS = (Timing.never(), Timing.always(), Timing.first(0.1), Timing.first(0.25), Timing.first(0.5), Timing.after(0.5))

FIRST_STEPS = 60  # of an agent's, in which both sides must agree


def chosen_runs(net: str, count: int, width: int, steps: int) -> list[Run]:
    """The runs of both sides: six timings, as many seeds as it takes, tested once at the end.

    Translation is trained by Adam, under l2 and decoupled decay by turns.
    """
    if net == "translation":
        return [translator(width, steps, seed, coupling) for seed in range(count) for coupling in ("l2", "decoupled")][
            :count
        ]
    if net in GAMES:
        return [agent(net, width, steps, seed) for seed in range(count)]
    settings = [(seed, timing) for seed in range(-(-count // 6)) for timing in TIMINGS][:count]
    task, model = TASKS["fashion" if net == "images" else "mnist1d"], Model("mlp" if net == "mlp" else "resnet", width)
    return [Run(task, model, decay=Decay(0.01, t), seed=s, steps=steps, evaluations=1) for s, t in settings]


def translator(width: int, steps: int, seed: int, coupling: str) -> Run:
    """A run of translation with the settings of the course; the plain loop tests nothing, so we test on little."""
    task = replace(TRANSLATIONS["translation"], test_size=20)
    adam, climb = Optimizer("adam", 0.003, betas=(0.9, 0.98)), Schedule("cosine", warmup=1 / 6)
    decay = Decay(0.1 if coupling == "decoupled" else 1e-4, coupling=coupling)
    return Run(task, Model("transformer", width, 2), adam, climb, decay, seed, steps, evaluations=1)


def agent(game: str, width: int, steps: int, seed: int) -> Run:
    """A run of DQN with the settings of the course; the plain loop tests nothing, so we test on one episode."""
    task, decay = replace(GAMES[game], test_size=1), Decay(0.1, coupling="decoupled")
    net = Model("mlp", width, 2, norm=False) if game == "cartpole" else Model("convnet", width, 1, norm=False)
    adam = Optimizer("adam", 1e-3, eps=1.5e-4)
    return Run(task, net, adam, Schedule("constant"), decay, seed, steps, evaluations=1)


def network(model: MemberModel, member: int) -> nn.Module:
    """One member of `model` as a network of torch.nn modules."""
    if isinstance(model, QMLP | QConv):
        return plain_net(model, member)
    if isinstance(model, Transformer):
        return PlainTransformer(model, member)
    if isinstance(model, ResNet):
        net = PlainResNet(model, member)
        return net.to(memory_format=torch.channels_last) if model.spatial == 2 else net
    assert isinstance(model, MLP)
    return perceptron(model, member)


class PlainResNet(nn.Module):
    """One member of a ResNet, its layers by their names in the model."""

    def __init__(self, model: ResNet, member: int) -> None:
        super().__init__()
        self.names, self.layers = model.blocks, nn.ModuleDict()
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if model.spatial == 1 else (nn.Conv2d, nn.BatchNorm2d)
        for name, stride in model.strides.items():
            weight = model.get_parameter(f"weight_{name}").data[member].clone()
            after, before, size = weight.shape[:3]
            layer = conv(before, after, size, stride, size // 2, bias=False)
            layer.weight.data = weight
            self.layers[name] = nn.Sequential(layer, norm(after))
        self.head = nn.Linear(*model.weight_head.shape[1:])
        self.head.weight.data = model.weight_head.data[member].T.contiguous()
        self.head.bias.data = model.bias_head.data[member].clone()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.layers["stem"](x))
        for name in self.names:
            short = self.layers[f"{name}_short"](x) if f"{name}_short" in self.layers else x
            x = self.layers[f"{name}_b"](F.relu(self.layers[f"{name}_a"](x)))
            x = F.relu(x + short)
        return self.head(x.flatten(2).mean(-1))


class PlainTransformer(nn.Module):
    """One member of a Transformer, of torch.nn.Transformer and two embeddings."""

    def __init__(self, model: Transformer, member: int, longest: int = 64) -> None:
        super().__init__()
        self.width = model.width
        own = {name: p.data[member].clone() for name, p in model.named_parameters()}
        self.source = nn.Embedding.from_pretrained(own["embed_source"], freeze=False, padding_idx=PAD)
        self.target = nn.Embedding.from_pretrained(own["embed_target"], freeze=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about nested tensors, which need post-norm
            self.layers = nn.Transformer(
                model.width,
                model.heads,
                model.depth,
                model.depth,
                2 * model.width,
                0.0,
                batch_first=True,
                norm_first=True,
            )
        self.register_buffer("positions", positions(longest, model.width, torch.float32, torch.device("cpu")).clone())
        self.register_buffer("future", torch.full((longest, longest), -math.inf).triu(1))
        self._fill(own)

    @torch.no_grad()
    def _fill(self, own: dict[str, Tensor]) -> None:
        encoder, decoder = self.layers.encoder, self.layers.decoder
        layers: dict[str, nn.Module] = {"memory": encoder.norm, "output": decoder.norm}
        for side, stack in (("encoder", encoder), ("decoder", decoder)):
            for number, layer in enumerate(stack.layers):
                name, last = f"{side}{number}", layer.norm2 if side == "encoder" else layer.norm3
                layers |= {f"{name}_self": layer.norm1, f"{name}_feed": last}
                layers |= {f"{name}_self_out": layer.self_attn.out_proj}
                layers |= {f"{name}_feed_in": layer.linear1, f"{name}_feed_out": layer.linear2}
                layer.self_attn.in_proj_weight.copy_(own[f"weight_{name}_self_in"].T)
        for number, layer in enumerate(decoder.layers):
            name, pair = f"decoder{number}_cross", slice(2 * number * self.width, 2 * (number + 1) * self.width)
            layers |= {name: layer.norm2, f"{name}_out": layer.multihead_attn.out_proj}
            both = torch.cat([own[f"weight_{name}_in"], own["weight_memory"][:, pair]], 1)
            layer.multihead_attn.in_proj_weight.copy_(both.T)
        for name, layer in layers.items():  # biases begin at 0 on both sides
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(own[f"weight_{name}"].T)
                layer.bias.zero_()

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        before = F.pad(target[:, :-1], (1, 0), value=START)
        x, y = (
            table(tokens) * math.sqrt(self.width) + self.positions[: tokens.shape[1]]
            for table, tokens in ((self.source, source), (self.target, before))
        )
        length, pad = before.shape[1], torch.zeros_like(x[..., 0]).masked_fill(source == PAD, -math.inf)
        y = self.layers(
            x,
            y,
            tgt_mask=self.future[:length, :length],
            src_key_padding_mask=pad,
            memory_key_padding_mask=pad,
            tgt_is_causal=True,
        )
        return y @ self.target.weight.T


def perceptron(model: MLP, member: int) -> nn.Sequential:
    """One member of an MLP as torch.nn modules."""
    layers: list[nn.Module] = []
    for layer in range(model.hidden):
        linear = nn.Linear(model.sizes[layer], model.sizes[layer + 1], bias=False)
        linear.weight.data = getattr(model, f"weight_{layer}").data[member].T.contiguous()
        layers += [linear, nn.BatchNorm1d(model.sizes[layer + 1]), nn.ReLU()]
    head = nn.Linear(*model.sizes[-2:])
    head.weight.data = getattr(model, f"weight_{model.hidden}").data[member].T.contiguous()
    head.bias.data = getattr(model, f"bias_{model.hidden}").data[member].clone()
    return nn.Sequential(*layers, head)


def plain(runs: list[Run], nets: list[nn.Module], inputs: Tensor, labels: Tensor) -> list[float]:
    """Train one network after another; the mean training loss of each over the run."""
    return [plain_run(run, net.to(inputs.device), inputs, labels) for run, net in zip(runs, nets, strict=True)]


def plain_run(run: Run, net: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """The training loop everybody knows, with the toggle of weight decay in it."""
    optimizer = plain_optimizer(run, net)
    if run.task.acts:
        optimizer.param_groups[0]["weight_decay"] = run.decay.strength
        return PlainDQN(run, net).train(optimizer)
    on, rates = run.decay.timing.table(run.steps).tolist(), run.schedule.table(run.steps).tolist()
    batches, total = run.task.batches([run.seed], len(labels)), torch.zeros((), device=inputs.device)
    for step in range(run.steps):
        batch = batches.indices(step)[0].to(inputs.device)
        loss = plain_loss(net, inputs[batch], labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["weight_decay"] = run.decay.strength * on[step]
        for group in optimizer.param_groups:
            group["lr"] = run.optimizer.lr * rates[step]
        optimizer.step()
        total += loss.detach()
    return float(total) / run.steps


def plain_optimizer(run: Run, net: nn.Module) -> torch.optim.Optimizer:
    """The fastest that torch has here, with weight decay on matrices and kernels only."""
    groups = [{"params": [p for p in net.parameters() if p.ndim > 1]}]
    groups += [{"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0}]
    if run.optimizer.name == "sgd":
        return torch.optim.SGD(groups, lr=run.optimizer.lr, momentum=0.9)
    kind = torch.optim.AdamW if run.decay.coupling == "decoupled" else torch.optim.Adam
    return kind(groups, lr=run.optimizer.lr, betas=run.optimizer.betas, eps=run.optimizer.eps, fused=True)


def plain_loss(net: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy, of examples or of words."""
    if isinstance(net, PlainTransformer):
        return F.cross_entropy(net(inputs, labels).flatten(0, 1), labels.flatten(), ignore_index=PAD)
    return F.cross_entropy(net(inputs), labels)


def together(runs: list[Run], device: str) -> tuple[list[float], float]:
    """Train all runs as members; their mean training losses, and the seconds of the steps alone."""
    training = Training(runs, device, threads=torch.get_num_threads())
    start = clock(training.device)
    training.advance(runs[0].steps)
    seconds = clock(training.device) - start
    return [history.curves["train_loss"][-1] for history in training.histories()], seconds


def clock(device: torch.device) -> float:
    """Seconds now, once the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def sgemm(device: torch.device, size: int = 1536) -> float:
    """The best rate of a square float32 matrix product seen here, in GF/s."""
    a = torch.randn(size, size, device=device)
    best = min(timed(device, lambda: a @ a) for _ in range(20))
    return 2 * size**3 / best / 1e9


def timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = clock(device)
    work()
    return clock(device) - start


def operations(runs: list[Run]) -> float:
    """Multiplications and additions in the matrix products of all runs of an MLP: 6 a weight, example and step."""
    sizes = runs[0].task.build(runs[0].model, 1)
    weights = sum(p[0].numel() for p in sizes.parameters() if p.ndim > 2)
    return 6.0 * weights * runs[0].task.batch_size * sum(run.steps for run in runs)


def overhead(run: Run, device: str) -> dict[str, float]:
    """The share of a sweep that is not training: hashing, grouping and storing 12 runs of usual length."""
    runs = [Run(model=run.model, decay=run.decay, seed=seed) for seed in range(12)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), pick_device(device).type)
        training = Training(runs, device)
        alone = timed(training.device, lambda: training.advance(training.steps))
        whole = timed(training.device, lambda: sweep(runs, device=device, jobs=1, store=store))
        again = timed(training.device, lambda: sweep(runs, device=device, jobs=1, store=store))
    return {"training_s": alone, "sweep_s": whole, "from_store_s": again, "bookkeeping_share": again / whole}


def measure(runs: list[Run], device: str, threads: int, repeats: int) -> dict[str, object]:
    """Both sides by turns at one thread count: seconds of each repeat."""
    torch.set_num_threads(threads)
    where = pick_device(device)
    data = runs[0].task.arrays()
    inputs, labels = runs[0].task.shape_inputs(data.inputs, runs[0].model).to(where), data.labels.to(where)
    start = Training(runs, device).model
    seconds: dict[str, list[float]] = {"plain": [], "wdlab": []}
    for turn in range(repeats + 1):
        nets = [network(start, member) for member in range(len(runs))]
        began = clock(where)
        losses = plain(runs, nets, inputs, labels)
        spent = clock(where) - began
        found, own = together(runs, device)
        if not runs[0].task.acts or runs[0].steps <= FIRST_STEPS:
            agree(losses, found)
        if turn:  # the first turn warms up
            seconds["plain"].append(spent)
            seconds["wdlab"].append(own)
    return {"threads": threads, "sgemm_gflops": sgemm(where), **seconds}


def agree(one: list[float], other: list[float]) -> None:
    """Stop when the two sides did not do the same work."""
    worst = max(abs(a - b) for a, b in zip(one, other, strict=True))
    if not worst < 0.02:
        raise SystemExit(f"the two sides disagree by {worst:g} in mean training loss: the timings mean nothing")


def report(options: argparse.Namespace) -> dict[str, object]:
    """Measure, print, and return what was measured."""
    runs = chosen_runs(options.net, options.runs, options.width, options.steps)
    if runs[0].task.acts:
        measure([replace(run, steps=FIRST_STEPS) for run in runs], options.device, 1, 0)  # says whether they agree
    measured = [measure(runs, options.device, threads, options.repeats) for threads in options.threads]
    best = {side: min(measured, key=lambda m: statistics.median(m[side]))[side] for side in ("plain", "wdlab")}
    ratios = sorted(a / b for a, b in zip(best["plain"], best["wdlab"], strict=True))
    print(
        f"{options.net}: {len(runs)} runs, width {options.width}, {options.steps} steps each, {options.repeats} repeats"
    )
    for side, seconds in best.items():
        print(f"  {side:6} {statistics.median(seconds):7.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})")
    ratio = statistics.median(best["plain"]) / statistics.median(best["wdlab"])
    print(f"  plain / wdlab {ratio:.2f}  (pairwise {ratios[0]:.2f} to {ratios[-1]:.2f})")
    versions = {"torch": str(torch.__version__), "python": platform.python_version(), "machine": platform.machine()}
    found: dict[str, object] = {"net": options.net, "runs": len(runs), "width": options.width, "steps": options.steps}
    found |= {"measured": measured, "ratio": ratio, "versions": versions}
    top = max(m["sgemm_gflops"] for m in measured)
    return found | (limits(runs, options.device, best["wdlab"], top) if options.net == "mlp" else {})


def limits(runs: list[Run], device: str, seconds: list[float], top: float) -> dict[str, object]:
    """Print and return how near an MLP's training comes to this machine's limits."""
    rate = operations(runs) / statistics.median(seconds) / 1e9
    print(f"  {rate:.0f} GF/s, {rate / top:.0%} of this machine's sgemm ({top:.0f} GF/s)")
    spent = overhead(runs[0], device)
    print(f"  sweep: bookkeeping {spent['bookkeeping_share']:.1%} of {spent['sweep_s']:.1f} s")
    return {"gflops": rate, "sgemm_gflops": top, "sweep": spent}


def main() -> None:
    """Read the options, measure, and write the JSON if asked to."""
    parser = argparse.ArgumentParser(description="Members against a plain loop over the same runs.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--net", choices=["mlp", "signals", "images", "translation", *GAMES], default="mlp")
    parser.add_argument("--runs", type=int, default=48)
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--steps", type=int, default=62)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = report(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
