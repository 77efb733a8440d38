# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Data grow the weights
#
# **Without decay weights grow. Does it depend on the data how fast? Does what is being memorized grow them, does growth
# stop once nothing is left to memorize, and what does noise do that cannot be memorized?**
#
# {{badges}} · {{minutes}} on two CPU cores, exercises not counted · no GPU needed
#
# You will rebuild three figures: norm and test accuracy against label noise under three learning-rate schedules, the same
# against the size of the training set, and the norm *predicted* from G, the gradients as they would be at norm 1, beside the
# measured one.

# %% [markdown]
# ## What you will be able to do
#
# * turn label noise, set size, classes and augmentation one at a time, at equal numbers of steps;
# * show why a step makes weights longer, by exactly how much, and where momentum makes that approximate;
# * predict the final norm from the gradients, and say which part of it is the data's doing;
# * say when label noise grows weights, when it does not, and what the learning rate has to do with it.
#
# **Before this:** [02 · Scale does not matter, step size does](02_scale_does_not_matter.ipynb), for the right angle between
# weights and gradient; [03 · Early weight decay](03_early_weight_decay.ipynb), for paired seeds, claims and controls.
#
# **Whose finding.** Bjorck, Weinberger and Gomes (2021) report that how fast weights grow depends strongly on the data set
# and on how well it generalizes. Which manipulations they used we could not read. Those here (label noise, set size, fresh
# data, classes, MNIST-1D's own random changes), the measure G and all thresholds are our operationalization.

# %%
import math
import os
from dataclasses import replace

import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

from wdlab import Optimizer, Schedule, sweep
from wdlab.claims import CLAIMS, chapter06, recorded
from wdlab.exercises import chapter06 as exercises
from wdlab.figures import data as draw
from wdlab.figures import forest, lines
from wdlab.lab import Lab, Predictions
from wdlab.stats import interval
from wdlab.tasks import Batches

torch.set_num_threads(1)  # small networks: the sweeps below use one process a core instead

# %% tags=["parameters"]
scale = os.environ.get("WDLAB_SCALE", "demo")  # "ci" proves that it runs, "demo" is for you, "gpu" has more seeds
seed_offset = 0  # the first seed; settings were chosen on seeds from 10,000 on, with the same test examples
device = "auto"

# %% [markdown]
# ## Commit to a guess
#
# A network learns at a constant learning rate, without decay. Commit before you run on, and then run on with *Run Selected Cell
# and All Below*: *Run All* asks anew, forgets your answers and goes straight to the results.

# %%
predictions = Predictions()
NORMS = ["smaller, by over 5%", "about the same", "larger, by over 5%"]
predictions.ask(
    "repeated", "Half the labels of a small training set are replaced at random. Its weight norm ends ...", NORMS
)

# %%
predictions.ask("fresh", "The same label noise, but no example ever comes twice. The weight norm ends ...", NORMS)

# %%
predictions.ask(
    "size", "A set of a quarter the size, the same number of steps, no label noise. The weight norm ends ...", NORMS
)

# %% [markdown]
# ## By hand
#
# Weights that feed BatchNorm have a gradient at a right angle to them: making them longer changes nothing, so the gradient
# has no part along them (notebook 02). Hence a step of plain SGD and the weights it starts from are the short sides of a
# right triangle, and Pythagoras says
#
# $$\|W_{t+1}\|^2 = \|W_t\|^2 + \mathrm{lr}^2\,\|g_t\|^2 .$$
#
# Whichever way the gradient points, weights get longer. Here is the loop you know, on labels of which a share is noise. The
# marked line adds up the right-hand side; the norm itself is read off the weights.

# %%
base = chapter06.growing(scale)
task = base.task
data, steps, lr = task.arrays(), base.steps // 2, 1.0


def network_by_hand(width=64):
    layers = []
    for inputs in (40, width, width):
        layers += [torch.nn.Linear(inputs, width, bias=False), torch.nn.BatchNorm1d(width), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 10))


def train_by_hand(noise, seed=seed_offset):
    torch.manual_seed(seed)
    net, batches = network_by_hand(), Batches(task, [seed], len(data.labels))
    labels = torch.where(torch.rand(len(data.labels)) < noise, torch.randint(10, data.labels.shape), data.labels)
    free = [p for p in net[:-1].parameters() if p.ndim > 1]  # the matrices that feed a BatchNorm
    square = sum(w.detach().square().sum() for w in free)
    measured, predicted = [], []
    for step in range(steps):
        batch = batches.indices(step)[0]
        net.zero_grad()
        F.cross_entropy(net(data.inputs[batch]), labels[batch]).backward()
        square += lr**2 * sum(w.grad.square().sum() for w in free)  # <- the line that makes the difference
        with torch.no_grad():
            for p in net.parameters():
                p -= lr * p.grad
        measured.append(sum(w.detach().square().sum() for w in free).sqrt().item())
        predicted.append(square.sqrt().item())
    return measured, predicted


# %%
by_hand = {}
for label, noise in {"true labels": 0.0, "half random": 0.5}.items():
    by_hand[f"{label}, norm"], by_hand[f"{label}, Pythagoras"] = train_by_hand(noise)
lines(by_hand, "Weights that feed BatchNorm, by hand", "step", "norm")

# %%
ends = {name: values[-1] for name, values in by_hand.items()}
errors = [abs(ends[f"{label}, Pythagoras"] / ends[f"{label}, norm"] - 1) for label in ("true labels", "half random")]
display(Markdown(f"Largest miss at the end: **{max(errors):.0e}** of the norm."))

# %% [markdown]
# Two lines for each set, and you see one: for plain SGD this is no theory of growth, it is bookkeeping. What is not
# bookkeeping is that the gradient itself gets smaller as weights get longer, in proportion. Take that out: $G = \|W\|\,\|g\|$
# does not depend on the length of W (for each matrix by itself; the figures add the matrices up). Put it into the formula,
# look at the square of the square, and drop the tiny last term:
#
# $$\|W_{t+1}\|^4 \approx \|W_t\|^4 + 2\,\mathrm{lr}^2 G_t^2 .$$
#
# **Under plain SGD the data enter through G and through nothing else.** Far from the start norms grow as the fourth root of
# the sum of lr² G², slowly: twice the G makes a norm √2 times as large.
#
# **With momentum μ** the whole push of one gradient is lr/(1 − μ) long, but spread over later steps, at which weights and
# gradients have moved on. If gradients of different steps are at right angles to *each other* (white noise), the walk is that
# of plain SGD at lr/(1 − μ). Where they are not, the data also enter through how far successive gradients agree: `whiteness`,
# further down, measures that.
#
# ## The same through the library
#
# `watch` hands out weights and gradients at every step; `followed` records their norms and forms both sides.

# %%
plain = replace(base, optimizer=Optimizer(lr=1.0, momentum=0.0), seed=seed_offset, steps=steps)
draw.growth(
    {
        "true labels": chapter06.followed([plain], device),
        "half random": chapter06.followed([chapter06.of(plain, label_noise=0.5)], device),
    }
)

# %% [markdown]
# The right panel is your plot again for the library's network (wider, except at *ci* scale), now from G alone. The left one
# says why the norms differ: look which set has the larger G early, and which later.
#
# ## Turn it yourself
#
# The number of steps is the same whatever you turn. Try half of the labels random with 250 examples, and with 8,000. Then
# let the learning rate fall. Watch the training loss together with the norm: what happens to growth when the loss is gone?

# %%
lab = Lab(
    task=task,
    show=("schedule", "label_noise", "train_size", "augment"),
    model=base.model,
    steps=40 if scale == "ci" else base.steps,
    seed=seed_offset,
    device=device,
    curves=("weight_norm", "train_loss", "test_error"),
)
lab.run(timing="never", schedule="constant")
lab.wait()  # the Lab makes one run at a time
lab.run(label_noise=0.5)
lab.wait()
lab.run(label_noise=0.5, train_size=8000)
lab

# %% [markdown]
# ## The measurement
#
# ### Label noise and the learning rate: the map
#
# Left: a small set whose examples come again and again. Right: as many steps, on signals made for the purpose, so that each
# is seen once (at *ci* scale: seldom). Everything else is the same: network, steps, batch size, no decay. The next cell also
# makes the signals, once on a machine.

# %%
once = chapter06.fresh(base, scale)
noises = (0.0, 0.5) if scale == "ci" else (0.0, 0.25, 0.5, 1.0)
schedules = (Schedule(), Schedule(final=0.05), Schedule("constant"))
few = range(seed_offset, seed_offset + (2 if scale == "ci" else 5))


def trained(run, seeds=few, **dials):
    return sweep([replace(chapter06.of(run, **dials), seed=seed) for seed in seeds], device=device)


def over_the_map(run):
    run.task.arrays()
    tried = [replace(chapter06.of(run, label_noise=noise), schedule=s) for s in schedules for noise in noises]
    return sweep([replace(one, seed=seed) for one in tried for seed in few], device=device)


map_of = {
    f"{task.train_size:,} examples, repeated": over_the_map(base),
    f"{once.task.train_size:,} examples, fresh": over_the_map(once),
}
draw.noise_map(map_of)


# %%
def percent(more, less):
    """Return by what share `more` lies above `less`, over paired seeds, with its 95% interval."""
    found = interval(more / less - 1)
    return f"{found.mean:+.1%} ({found.low:+.1%} to {found.high:+.1%})"


def at(results, metric, *shape):
    """Return a measurement at the end as an array whose last axis is the seed."""
    return results.table[metric].to_numpy().reshape(*shape, len(few))


def as_table(title, *rows):
    heads, *rest = (f"| {' | '.join(row)} |" for row in rows)
    display(Markdown("\n".join([f"{title}\n", heads, "|---" * len(rows[0]) + "|", *rest])))


middle = noises.index(0.5)
cells = [
    ["data", "learning rate", "lr² spent in the first quarter", "loss, true", "loss, half random", "norm, by noise"]
]
for data_name, results in map_of.items():
    norm, loss = (at(results, metric, 3, len(noises)) for metric in ("weight_norm", "train_loss"))
    for place, schedule in enumerate(schedules):
        spent = schedule.table(base.steps).square()
        share = (spent[: base.steps // 4].sum() / spent.sum()).item()
        losses = [f"{loss[place, k].mean():.2f}" for k in (0, middle)]
        effect = percent(norm[place, middle], norm[place, 0])
        cells.append([data_name, draw.schedule_name(schedule), f"{share:.0%}", *losses, effect])
as_table("Training loss (nats) at the end, and what half the labels random do to the norm:", *cells)

right, wrong = 1 - 0.5 * 9 / 10, 0.5 / 10
floor = -right * math.log(right) - 9 * wrong * math.log(wrong)
display(Markdown(f"Without memorizing, half the labels random cost at least **{floor:.2f} nats** on average."))

# %% [markdown]
# Compare the sign of the last column with the losses before it. Our reading: whether noise is memorized *within the run*
# decides the sign, and how long the learning rate stays up decides the size. Whoever knew all true labels, and which share
# is random, could get no lower than the last number without memorizing: a loss below it says that noise is being memorized,
# one above it leaves that open. It is not enough that examples come back: the table of sizes below has sets whose examples
# do, up to losses above that number. That the effect of noise depends on the schedule is a claim further down. It was fixed
# when this map had been seen on the seeds from 0, so on these it is no test: the record below has others.
#
# Three things explain the map:
#
# 1. **Noise that is not memorized makes G smaller.** The best answer to a label that may be anything is a cautious one. A
#    cautious network has a large loss and a small G (the next figure shows its G, the table below it its loss); gradients of
#    contradicting examples in a batch cancel.
# 2. **Memorizing makes G large.** To answer differently for signals that look alike, a network has to become steep, and a
#    steep network has large gradients as long as anything is left to learn.
# 3. **Growth adds up lr² G².** Where the rate falls far, most lr² is spent early (third column), before memorization gets
#    under way, so that part of G counts for little. When the rate stays up, it counts in full.
#
# So the effect of label noise is no constant of nature. It is early caution against late memorizing, weighed by the schedule.
# Fresh data, where memorizing is impossible, leave only the first. (Caution and steepness are our reading of why; what was
# measured is G, the loss, the accuracy and the norm.)

# %%
grown = {
    "true labels": chapter06.followed([replace(base, seed=s) for s in few[:2]], device),
    "half random": chapter06.followed([replace(chapter06.of(base, label_noise=0.5), seed=s) for s in few[:2]], device),
    "a quarter of the set": chapter06.followed([replace(chapter06.quarter(base), seed=s) for s in few[:2]], device),
    "fresh": chapter06.followed([replace(once, seed=s) for s in few[:2]], device),
    "fresh, half random": chapter06.followed(
        [replace(chapter06.of(once, label_noise=0.5), seed=s) for s in few[:2]], device
    ),
}
mechanism = draw.growth(grown)
mechanism

# %%
half = {"label_noise": 0.5}
five = [trained(base), trained(base, **half), trained(chapter06.quarter(base)), trained(once), trained(once, **half)]


def late(found):
    """Return G at the end as a share of its largest, and what the last quarter of the steps added to the norm."""
    G, norm = draw.smoothed(found.relative_gradient), found.measured.mean(1)
    return G[-1] / max(G), (norm[-1] / norm[-1 - len(G) // 4] - 1).item()


mechanism.data.assign(
    **{"training loss (nats)": [found.table["train_loss"].mean() for found in five]},
    **dict(zip(("G at the end", "last quarter"), zip(*map(late, grown.values()), strict=True), strict=True)),
).round(3)

# %% [markdown]
# `G at the end` is a share of its largest value, `last quarter` what the last quarter of the steps added to the norm. Follow
# *fresh, half random*: how large is its loss at the end, and how small its G? Follow *a quarter of the set*: what is left
# of G, and of growth, once the loss is gone? The broken lines are predictions from G with the momentum rule;
# `relative error` is by how much they miss. `whiteness` says why: it is 1 where gradients of different steps are at right
# angles, below 1 they undo one another in part, above 1 they push the same way
# ([notebook 02](02_scale_does_not_matter.ipynb) measures their cosines). So under momentum the data enter here too, beside
# G. Where weights hardly grow, any prediction is good.
#
# ### Claims, fixed before the result
#
# The effect is relative: by which share one norm lies above the other, seed by seed. Each control is the same measurement
# where the claim must not hold. Every claim is made of three kinds of network. Here the MLP is tried on all of them and the
# two ResNets on label noise; the rest stands in a record further down.
#
# Three of the controls, those of *gradients-predict-the-norm*, *small-sets-stop-growing* and *repeats-grow-the-norm*, were put
# in their places after the seeds from 0 had been seen, because the old ones passed too easily. (For *repeats-grow-the-norm*
# three others were tried on seeds from 10,000 on; two of them did not vanish at *ci* scale, where "seldom" is not seldom.) So
# what they say on the seeds from 0 is not what a control fixed beforehand would say. The record tries them on seeds that came
# after.


# %%
def check(name, **more):
    return CLAIMS[name].check(scale=scale, seed_offset=seed_offset, device=device, **more)


limited = {"seeds": 2} if scale == "ci" else {}  # slow nets, or no more seeds than the map has: two prove the path
memorized = check("noise-grows-the-norm")
memorized

# %%
by_rate = check("noise-needs-the-rate", **limited)  # its runs are the map's
by_rate

# %%
predicted = check("gradients-predict-the-norm")
predicted


# %%
def choice(effect):
    return NORMS[0 if effect < -0.05 else 2 if effect > 0.05 else 1], f"The norm changed by {effect:+.0%}."


display(predictions.reveal("repeated", *choice(memorized.effect)))
display(predictions.reveal("fresh", *choice(memorized.control_outcome.effect)))

# %% [markdown]
# ### How many examples?
#
# As many steps for all sizes. The smallest sets come back most often, the largest never (at *ci* scale: seldom).

# %%
sizes = [task.train_size * k // 4 for k in (1, 2, 4, 8, 16)] + [once.task.train_size]
tried = [chapter06.of(base, train_size=size, label_noise=noise) for noise in (0.0, 0.5) for size in sizes]
sized = sweep([replace(one, seed=seed) for one in tried for seed in few], device=device)
draw.set_sizes(sized)

# %%
norm, loss = (at(sized, metric, 2, len(sizes)) for metric in ("weight_norm", "train_loss"))
cells = [["examples", "times seen", "loss, true", "loss, half random", "norm, by noise"]]
for k, size in enumerate(sizes):
    losses = [f"{one[k].mean():.2f}" for one in loss]
    cells.append([f"{size:,}", f"{base.steps * task.batch_size / size:.1f}", *losses, percent(norm[1, k], norm[0, k])])
as_table(f"Half the labels random, by size. Without memorizing, their loss is at least {floor:.2f} nats.", *cells)


def highest(norm):
    """Return the size with the largest mean norm, and those that cannot be told from it over paired seeds."""
    top = norm[norm.mean(1).argmax()]
    return " or ".join(f"{size:,}" for size, one in zip(sizes, norm, strict=True) if interval(one - top).high >= 0)


signs = (norm[1] / norm[0] - 1).mean(1) > 0
turns = [f"between {sizes[k]:,} and {sizes[k + 1]:,}" for k in range(len(signs) - 1) if signs[k] != signs[k + 1]]
display(
    Markdown(
        f"Largest norm, as far as {len(few)} seeds can tell: true labels at {highest(norm[0])} examples, half random at "
        f"{highest(norm[1])}. The mean effect of noise changes sign **{' and '.join(turns) or 'at none of these sizes'}**."
    )
)

# %% [markdown]
# Read the table from the top. Where the loss is gone early, nothing pushes any more: more examples should mean more growth.
# Where the loss stays up, less and less is memorized within the run, and accuracy on new signals rises: more examples should
# mean *less* growth. Between the two we expect a summit. And if memorizing within the run decides the sign of what noise does,
# the sign should change near where the loss with noise passes the number above, not where examples stop coming back.

# %%
small = check("small-sets-stop-growing")
small

# %%
repeats = check("repeats-grow-the-norm")
repeats

# %% [markdown]
# That is about a set of this size. The control is a smaller set, memorized early, whose examples come four times as often:
# were it the repeating as such that grows weights, they would have to grow more there. Whether examples that come only a
# few times grow weights more than fresh ones, the control of the claim before says (not at *ci* scale, where they come more
# often).

# %%
predictions.reveal("size", *choice(-small.effect))

# %% [markdown]
# ### Classes and augmentation
#
# MNIST-1D's signals are digits that were shifted, scaled and overlaid with noise. Doing more of the same at random in every
# pass gives three kinds of augmentation. All three make each pass new. Do they all act alike?

# %%
turned = {
    "as it is": {},
    **{f"{classes} classes": {"classes": classes} for classes in (5, 2)},
    **{f"augmented: {kind}": {"augment": (kind,)} for kind in ("shift", "scale", "noise")},
    "augmented: scale and noise": {"augment": ("scale", "noise")},
    "shift, half the labels random": {"augment": ("shift",), "label_noise": 0.5},
}
by_kind = {label: trained(base, **dials) for label, dials in turned.items()}
draw.kinds(by_kind)

# %%
cells = [["data", "norm", "training loss (nats)", "test accuracy"]]
for label, found in list(by_kind.items())[1:]:
    pairs = [[at(one, metric) for one in (found, by_kind["as it is"])] for metric in draw.KIND_TITLES]
    ends = [interval(here - there) for here, there in pairs[1:]]
    cells.append([label, percent(*pairs[0]), *(f"{e.mean:+.3f} ({e.low:+.3f} to {e.high:+.3f})" for e in ends)])
as_table("Against the set as it is, with 95% intervals:", *cells)

# %% [markdown]
# Compare shifting with scaling and noise: which of them raises test accuracy, which the training loss, and which way does
# the norm go? If growth followed the training loss alone, what keeps the loss up would grow weights more. Our reading: what
# is learnt from shifted signals also holds for the next shift, and what does hold needs no memorizing.
#
# Fewer classes are an easier task, but the set stays as large, so there are also more examples of each class. The figure
# cannot tell the two apart: classes are a figure only, without a claim.

# %%
shifts = check("shifting-slows-growth")
shifts

# %% [markdown]
# ### Other networks, other data
#
# Convolutional networks take longer for a step, so they get fewer steps here, and smaller sets, to be memorized all the same.

# %%
signals = check("noise-grows-the-norm-signals", **limited)
signals

# %%
images = check("noise-grows-the-norm-images", **limited)
images

# %% [markdown]
# The other claims were tried on these two networks as well, which takes longer than this notebook may. There are only so many
# images: what is always new for signals is, for images, as many as there are, or all of them moved in every pass. The table is
# **not measured here**: it holds what came out when `wdlab reproduce --record` tried every claim of this chapter, whatever came
# out, on seeds that nobody had looked at when the claim was fixed. (The test examples are the same for all seeds, and all seeds
# draw their images from one pool.) The last three columns say when it was tried, what has changed since, and what the same
# seeds gave in an earlier trial, if there was one. (Convolutions repeat to the last digit only where processor, threads and
# batches of runs are the same, and training magnifies the rest; the last column says where a verdict turned.)

# %%
recorded("06")

# %% [markdown]
# A claim stands where it is supported *and* its control vanishes. Where a line says *not supported* or *inconclusive*, what
# this notebook says about that claim stands on the networks for which it does hold, and the interval says how far off the
# others are. Where the whole interval lies on the other side of zero than the bar, the effect is not too small there: it is
# the opposite one. As many steps are not as much memorizing: how early a set is memorized may depend on the network too, and
# that is not measured for the ResNets.
#
# What was tried here, on one page. Blue: the claim, which should lie right of the orange bar. Grey: its control, which should
# lie left of it. The last claim is minus an error, so its bar lies left of zero.

# %%
verdicts = [memorized, by_rate, small, repeats, shifts, signals, images]
forest([*verdicts, predicted])

# %% tags=["nbval-check-output"]
for verdict in (*verdicts, predicted):
    print(f"{verdict.id}: {verdict.verdict}; control {verdict.control}")

# %% [markdown]
# ## Exercises
#
# Fill in each function and run the cell below it. The checker compares you with a reference, shows the smallest case in
# which you differ, and names the likely slip. It never stops the notebook.
#
# ### 1. Times as long
# difficulty 1 of 5 · importance 4 of 5 · 3 minutes
#
# On other data G is 2.25 times as large at every step; learning rate and steps are the same. Change the number: far from the
# start, how many times as long do the weights end up?
#
# <details><summary>A hint</summary>The fourth power of the norm is a sum of lr² G².</details>

# %% tags=["exercise"]
times_as_long = None  # a number

# %% tags=["solution"]
times_as_long = 2.25**0.5

# %%
exercises.check_times_as_long(times_as_long)

# %% [markdown]
# ### 2. One step longer
# difficulty 1 of 5 · importance 5 of 5 · 5 minutes
#
# Weights of length `norm` feed a BatchNorm. Return their length after one step of plain SGD; `gradient` is the length of the
# gradient.
#
# <details><summary>A hint</summary>Draw the weights and the step as two arrows. Which angle is between them?</details>


# %% tags=["exercise"]
def longer(norm, gradient, lr):
    """Return the norm after one step of plain SGD."""
    ...


# %% tags=["solution"]
def longer(norm, gradient, lr):
    return (norm**2 + (lr * gradient) ** 2) ** 0.5


# %%
exercises.check_longer(longer)

# %% [markdown]
# ### 3. Label noise
# difficulty 2 of 5 · importance 4 of 5 · 5 minutes
#
# Return the labels to train on. Each example has a `threshold`, drawn once from [0, 1), and a label `drawn` from all classes:
# where the threshold lies below `noise`, the drawn label takes the place of the true one. (Why a threshold and not a coin? So
# that more noise keeps the wrong labels that less noise has.)
#
# <details><summary>A hint</summary><code>torch.where(condition, this, other)</code></details>


# %% tags=["exercise"]
def noisy(labels, threshold, drawn, noise):
    """Return labels of which a share is drawn at random; all three tensors have one entry an example."""
    ...


# %% tags=["solution"]
def noisy(labels, threshold, drawn, noise):
    return torch.where(threshold < noise, drawn, labels)


# %%
exercises.check_noisy_labels(noisy)

# %% [markdown]
# ### 4. How many are wrong?
# difficulty 2 of 5 · importance 3 of 5 · 5 minutes
#
# With that noise, which share of the labels is wrong on average, when there are `classes` classes, and all are equally likely
# to be drawn?
#
# <details><summary>A hint</summary>Start with two classes and a noise of 1: all labels are drawn. How many are wrong?</details>


# %% tags=["exercise"]
def wrong_share(noise, classes):
    """Return the expected share of wrong labels."""
    ...


# %% tags=["solution"]
def wrong_share(noise, classes):
    return noise * (1 - 1 / classes)


# %%
exercises.check_wrong_share(wrong_share)

# %% [markdown]
# ### 5. The norm at the end
# difficulty 3 of 5 · importance 5 of 5 · 10 minutes
#
# `lr` and `G` hold the learning rate and ‖W‖ ‖gradient‖ of each step. Return the norm at the end of the run that starts at
# norm `start`, for SGD with this momentum, taking gradients for white.
#
# <details><summary>A hint</summary>What is added at each step: to the norm, its square, or its fourth power?</details>
# <details><summary>Another</summary>In the long run momentum makes each push 1/(1 − μ) times as long. The push enters
# squared.</details>


# %% tags=["exercise"]
def norm_at_end(start, lr, G, momentum):
    """Return the norm after len(lr) steps; lr and G are tensors of one number a step."""
    ...


# %% tags=["solution"]
def norm_at_end(start, lr, G, momentum):
    return (start**4 + 2 * ((lr * G / (1 - momentum)) ** 2).sum()) ** 0.25


# %%
exercises.check_predicted_norm(norm_at_end)

# %% [markdown]
# ## What would change our mind
#
# * **The controls.** If noise that cannot be memorized grew the norm as well, the story would be about noise and not about
#   memorizing. If the prediction were as good with the G of other data, G would say nothing about data.
# * **Steps.** All comparisons are at equal numbers of steps. With many more steps we expect that larger sets are memorized
#   too, and that the summit of the size curve moves to the right; with few, that even a small set is not memorized and noise
#   slows growth. The table of sizes is the nearest we have: there it is the set that grows, not the steps that get fewer.
# * **G is not free of the path.** It is measured on the very run whose norm it predicts. Under plain SGD nothing but G is
#   needed; under momentum the prediction leaves out what successive gradients have in common. And it does not say what G a
#   data set will have, which is the harder question.
# * **Right angles.** The rule is for weights that feed a normalization (exactly so but for the small number that BatchNorm
#   adds to a variance). The last layer does not, and its weights can also shrink; the weight norms in figures and claims
#   include it, the predictions do not.
# * **Memorizing is not the same as generalizing badly.** If weights grew because a net generalizes badly, the set with the
#   lowest accuracy would have the largest norm. The next cell compares the two. What grows weights here is, as we read it,
#   memorizing that is still under way.
# * **What the paper does that we do not.** Its data and networks are larger, and we do not know which data it compared.

# %%
found = (at(sized, metric, 2, len(sizes)).mean(2) for metric in ("weight_norm", "test_accuracy"))
for label, norm, accuracy in zip(("true labels", "half random"), *found, strict=True):
    lowest, least, most = (f"{sizes[k]:,}" for k in (accuracy.argmin(), norm.argmin(), norm.argmax()))
    print(f"{label}: accuracy is lowest at {lowest} examples; the norm is smallest at {least}, largest at {most}.")

# %% [markdown]
# What held on your seeds and networks, in numbers:

# %%
for verdict in verdicts:
    print(f"{verdict.id}: {verdict.effect:+.0%}, {verdict.verdict}; control {verdict.control_outcome.effect:+.0%}")
several = len(chapter06.data_sets(base))
print(
    f"gradients-predict-the-norm: the largest miss on {several} data sets is {-predicted.effect:.1%}, on average over "
    f"{len(predicted.seeds)} seeds, {predicted.verdict}; in the control the smallest is "
    f"{-predicted.control_outcome.effect:.1%}"
)

# %% [markdown]
# ## Your score

# %%
predictions.score()

# %% [markdown]
# **In three sentences.** A step of plain SGD makes weights that feed BatchNorm longer by Pythagoras, so their growth is a
# sum of lr² G² and the data enter through G alone; with momentum they also enter through how far successive gradients agree.
# Memorizing grows weights, a memorized set no longer does, and noise that cannot be memorized does not: those are the claims
# and their controls. The numbers above your score say how far they held here, the record where they did on the ResNets, where
# not, and where the effect turned round. How much of it shows in the final norm depends on how long the learning rate stays
# up: see the table under the map, and the claim about the rate.
#
# **Next:** [07 · Inside Adam](07_inside_adam.ipynb) for the optimizer that divides every gradient by its size. **Back:**
# [03 · Early weight decay](03_early_weight_decay.ipynb) for what decay does to a norm that grows,
# [04 · The norm stays small](04_the_norm_stays_small.ipynb) for what a smaller norm does to training, and
# [05 · What sharpness forgets](05_what_sharpness_forgets.ipynb) for what it does to measures of flatness.
#
# ### References
#
# * J. Bjorck, K. Weinberger, C. Gomes. *Understanding Decoupled and Early Weight Decay.* AAAI 2021.
# * T. van Laarhoven. *L2 Regularization versus Batch and Weight Normalization.* 2017.
# * C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals. *Understanding Deep Learning Requires Rethinking Generalization.*
#   ICLR 2017.
# * S. Greydanus, D. Kobak. *Scaling Down Deep Learning with MNIST-1D.* ICML 2024.
# * H. Xiao, K. Rasul, R. Vollgraf. *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms.* 2017.
