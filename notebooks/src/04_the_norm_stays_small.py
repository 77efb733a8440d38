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
# # 04 · The norm stays small
#
# **Decay in the first part of training leaves the weights smaller to the end, long after it is over. What pays need not be
# the small norm: a run with large weights that turns them as far at every step can be as good.**
#
# {{badges}} · {{minutes}} on two CPU cores · no GPU needed
#
# You will rebuild two figures: norm and turning of runs whose decay ended early, and the gain of runs that *copy* one
# thing at a time from such a run.

# %% [markdown]
# ## What you will be able to do
#
# * say why the norm grows back so little once the learning rate has fallen, and show where it grows back more;
# * tell "goes along with" from "causes", by setting one quantity by hand and leaving the rest alone;
# * say what share of a gain an explanation accounts for, with an interval.
#
# **Before this:** [02 · Scale does not matter, step size does](02_scale_does_not_matter.ipynb) for the effective learning
# rate; [03 · Early weight decay](03_early_weight_decay.ipynb) for the gain that is explained here.
#
# **Whose finding.** Bjorck, Weinberger and Gomes (2021) report that decay applied only at the start leaves the norm small
# for the whole of training, and that a small norm regularizes because updates become larger relative to the weights. How
# we measure it, the runs that copy, the thresholds and the controls are our operationalization. Zhang, Wang, Xu and
# Grosse (2019) proposed a larger effective learning rate as one of three mechanisms of weight decay.

# %%
import os
from dataclasses import replace

import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

from wdlab import TASKS, Decay, Match, Timing, figures, sweep
from wdlab.claims import CLAIMS, CONSTANT, EARLY, NEVER, network, recorded
from wdlab.exercises import chapter04
from wdlab.figures.arms import say_share
from wdlab.lab import Lab, Predictions
from wdlab.stats import interval, paired, share
from wdlab.sweeps import Results
from wdlab.tasks import Batches

torch.set_num_threads(1)  # small networks: the sweeps below use one process a core instead

# %% tags=["parameters"]
scale = os.environ.get("WDLAB_SCALE", "demo")  # "ci" proves that it runs, "demo" is for you, "gpu" has more seeds
seed_offset = 0  # the first seed; settings were chosen on seeds from 10,000 on, with the same test examples
device = "auto"

# %% [markdown]
# ## Commit to a guess
#
# Your answers stay in this notebook's memory, and the last cell scores them. Commit before you run on.

# %%
predictions = Predictions()
BELOW = ["less than a quarter", "a quarter to a half", "more than a half"]
predictions.ask("norm", "Decay stops after a quarter of the run. How far below never's is the norm at the end?", BELOW)

# %%
SHARES = ["less than a third", "about half", "more than two thirds"]
predictions.ask(
    "lr",
    "A run without decay takes over the effective learning rate of the early-decay run. What share of the gain is its?",
    SHARES,
)

# %%
predictions.ask(
    "alone",
    "Another is rescaled after every step to the norm it began with, at the effective learning rate of the run without "
    "decay. What share of the gain is its?",
    SHARES,
)

# %% [markdown]
# ## By hand
#
# Two networks in lockstep. The *leader* decays in the first quarter of training. The *copy* never decays; but before
# every step, each of its hidden layers gets the learning rate that turns it as the leader's layer is turned. Weights that
# feed a BatchNorm do not matter in scale, so under SGD that is lr · ‖W‖² / ‖W'‖², with W' the leader's (notebook 02).

# %%
task = TASKS["mnist1d"]
data = task.arrays()
test_x, test_y = data.inputs[: task.test_size], data.labels[: task.test_size]
steps, lr, weight_decay, momentum = network(scale).steps // 2, 0.1, 0.01, 0.9


def network_by_hand(seed, width=64):
    torch.manual_seed(seed)
    layers = []
    for inputs in (40, width, width):
        layers += [torch.nn.Linear(inputs, width, bias=False), torch.nn.BatchNorm1d(width), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 10))


def step_by_hand(net, buffers, x, y, lr, weight_decay, leader=None):
    F.cross_entropy(net(x), y).backward()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            g = p.grad + weight_decay * p if p.ndim > 1 else p.grad
            buffers[i] = momentum * buffers.get(i, 0) + g
            rate = lr
            if leader is not None and p.ndim > 1 and p.shape[0] > 10:  # a hidden layer
                rate = lr * (p.norm() / leader[i].norm()) ** 2  # <- the line that makes the difference
            p -= rate * buffers[i]
            p.grad = None


# %%
seed = seed_offset
nets = {name: network_by_hand(seed) for name in ("never", "early", "copy of early's effective lr")}
buffers = {name: {} for name in nets}
norms = {name: [] for name in nets}
batches = Batches(task, [seed], len(data.labels))
for step in range(steps):
    batch = batches.indices(step)[0]
    x, y, now = data.inputs[batch], data.labels[batch], lr * 0.002 ** (step / steps)
    leader = [p.detach().clone() for p in nets["early"].parameters()]
    for name, net in nets.items():
        on = weight_decay if name == "early" and step < steps / 4 else 0.0
        step_by_hand(net, buffers[name], x, y, now, on, leader if name.startswith("copy") else None)
        norms[name].append(sum(p.square().sum() for p in net.parameters() if p.ndim > 1).sqrt().item())
ends = {name: (net.eval()(test_x).argmax(1) == test_y).float().mean().item() for name, net in nets.items()}
lines = [f"| {name} | {ends[name]:.3f} | {norms[name][-1]:.1f} |" for name in nets]
display(Markdown("\n".join(["| run | test accuracy | weight norm at the end |", "|---|---|---|", *lines])))
display(Markdown(f"Norms at the end, largest first: {', '.join(sorted(norms, key=lambda name: -norms[name][-1]))}."))
figures.lines(norms, "Weight norm, by hand", "step", "weight norm")

# %% [markdown]
# One seed, so do not read much into the accuracies yet. Read the norms: where does the copy stand? It copies the *turning* of
# the run that decays, not its norm, and nothing makes its own weights shorter. If its norm is large and it does well in the
# measurement below, small weights as such cannot be the reason.

# %% [markdown]
# ## Why the norm grows back so little
#
# The gradient stands at a right angle to weights whose scale does not matter, so a step of plain SGD makes ‖W‖² longer by
# lr² ‖∇L‖², and nothing but decay can make it shorter. After decay has ended the norm starts to grow again, but by
# then the learning rate has fallen, and it counts squared. How much of that growth is left?

# %%
decays = network(scale).schedule.table(steps).square()
left = {t: (decays[int(t * steps) :].sum() / decays.sum()).item() for t in (0.1, 0.25, 0.5)}
rows = [f"| {t:.0%} | {falling:.1%} | {1 - t:.0%} |" for t, falling in left.items()]
head = ["| decay ends after | left of the sum of lr², falling lr | the same, constant lr |", "|---|---|---|"]
display(Markdown("\n".join([*head, *rows])))

# %% [markdown]
# That is the prediction to test: with this schedule the norm grows back only a little, and with a constant learning rate
# most of the way. Only a little is not nothing: small weights have large gradients (notebook 02), so what is left of the
# learning rate moves them further than it would move long ones.
# [06 · Data grow the weights](06_data_grow_the_weights.ipynb) has the rule.

# %% [markdown]
# ## The same through the library
#
# `Match` is the line you wrote. `Match(effective_lr=...)` copies the effective learning rate of the run that has another
# decay and is otherwise the same; `Match(norm=...)` rescales every hidden layer after each step to the norm of that run.
# Both leave the network's function alone at the moment they act. They only change how far *later* steps turn it.

# %%
base = replace(network(scale), decay=Decay(0.01, NEVER))
early = Decay(0.01, EARLY)
ARMS = {
    "never": base,
    "early": replace(base, decay=early),
    "copies early's effective lr": replace(base, match=Match(effective_lr=early)),
    "copies early's norm": replace(base, match=Match(norm=early)),
    "copies the norm, at never's effective lr": replace(base, match=Match(norm=early, effective_lr=base.decay)),
    "keeps its first norm": replace(base, match=Match(norm="start")),
    "keeps its first norm, at never's effective lr": replace(base, match=Match("start", base.decay)),
}
NAMES = {(run.decay, run.match): name for name, run in ARMS.items()}
seeds = range(seed_offset, seed_offset + CLAIMS["small-norm-is-enough"].levels[scale].seeds)
arms = sweep([replace(run, seed=s) for s in seeds for run in ARMS.values()], device=device)


def only(*names):
    """Return the results of some arms."""
    return Results(tuple(h for h in arms.histories if NAMES[h.run.decay, h.run.match] in names))


shown = ("weight_norm", "rotation", "test_error")
figures.curves(only(*list(ARMS)[:4]), shown, lambda run: NAMES[run.decay, run.match])

# %% [markdown]
# In the middle: the angle by which one step turns the hidden layers. Decay acted in the first quarter only; from there on
# *early* and *never* see the same batches at the same learning rate. The runs that copy go along with *early* there,
# whatever their norm. (The last layer is not copied, so where a run copies *early*'s norm, the whole norm differs a little.)

# %% [markdown]
# ## Turn it yourself
#
# This run decayed for a quarter of its steps, then was forked: both branches go on from the same state, one with decay,
# one without. Make your own: press **Run**, **Pause** it where you like, choose *never* or another λ, press **Fork**, then
# **Go on**. When does it still matter that decay goes on? Then choose a *constant* learning rate, run, and fork at the
# same place. (**Decay now** switches a run without forking it.)

# %%
lab = Lab(
    show=("timing", "weight_decay", "schedule"),
    steps=40 if scale == "ci" else task.steps,
    seed=seed_offset,
    device=device,
    curves=("weight_norm", "effective_lr", "test_error"),
)
lab.run(timing="always", until=0.25)
lab.wait()
lab.fork(timing="never")  # a copy of the run, to the last bit: only its decay is off from here on
lab.resume()
lab

# %% [markdown]
# ## The measurement
#
# ### Small to the end
#
# A claim is *supported* when the whole 95% interval of its effect over paired seeds lies beyond the smallest effect of
# interest, which was fixed before. Its control is a place where it must not hold: here a learning rate that never falls.


# %%
def check(name, **more):
    return CLAIMS[name].check(scale=scale, seed_offset=seed_offset, device=device, **more)


norm = check("early-norm-stays-small")
norm

# %%
saved = norm.effect
answer = BELOW[0 if saved < 0.25 else 1 if saved < 0.5 else 2]
predictions.reveal("norm", answer, f"It ended {saved:.0%} below never's.")

# %% [markdown]
# Small weights are one thing, larger updates another. This is the angle of the steps after decay has ended, measured and
# not computed from the norm, as log2 of its ratio to never's: 1 is twice as far, 2 is four times.

# %%
turns = check("steps-turn-further")
turns

# %% [markdown]
# ### Which of the two pays?
#
# Norm and turning move together, so a correlation cannot tell them apart. Runs that copy can. Each dot is one seed; the
# text at the right is the share of early decay's gain that the arm recovers; its interval is by Fieller's method, which stays
# honest where the gain it divides by is small.


# %%
def gain(name):
    """Return the gain in accuracy of an arm over never, seed by seed; refused if they differ in a second thing."""
    factor = ("decay.timing", EARLY, NEVER) if name == "early" else ("match", ARMS[name].match, base.match)
    return paired(only(name, "never"), *factor).values


gained = {name: gain(name) for name in ARMS if name != "never"}
figures.gains(gained, whole="early")

# %% [markdown]
# Compare two pairs. *Copies early's norm* and *copies the norm, at never's effective lr* have the same small weights and
# turn them differently. *Copies early's effective lr* and *copies early's norm* turn them alike and have very different
# norms. Which pair ends together?

# %%
copied_lr = check("effective-lr-is-enough")
copied_lr

# %%
copied_norm = check("small-norm-is-enough")
copied_norm


# %%
def place(name):
    found = share(gained[name], gained["early"])
    return SHARES[0 if found.mean < 1 / 3 else 1 if found.mean < 2 / 3 else 2], f"Measured: {say_share(found)}."


if interval(gained["early"]).low > 0:
    display(predictions.reveal("lr", *place("copies early's effective lr")))
    display(predictions.reveal("alone", *place("keeps its first norm, at never's effective lr")))
else:
    display(Markdown("On these seeds *early* did not clearly beat *never*, so there is no gain to share out."))

# %% [markdown]
# ### A dissent, and what comes of it here
#
# Liu and co-authors (2021, arXiv 2102.03497) report that rescaling weights gives VGG16 on CIFAR-10 about the test accuracy
# that decay gives, although it does not raise the effective learning rate, and call that explanation insufficient. The
# arm *keeps its first norm* is weight rescaling in its plainest form. Compare it with *never* in the figure. Where it
# gains, does its effective learning rate not rise? Against decay it may not; against *never* it does, since never's norm
# grows.

# %%
ends = arms.table.assign(arm=[NAMES[run.decay, run.match] for run in arms.runs])
ratio = ends.groupby("arm", sort=False)["effective_lr"].mean()
rows = [f"| {name} | {value / ratio['never']:.2f} |" for name, value in ratio.items()]
display(Markdown("\n".join(["| arm | effective lr at the end, in units of never's |", "|---|---|", *rows])))

# %% [markdown]
# So hold the norm, and take the rise away: the same rescaling at the effective learning rate of *never*. For plain SGD
# nothing could remain, by the algebra of exercise 1: what turns alike at every step ends alike, whatever its length. With
# momentum the buffer holds gradients that were taken at other lengths, and `Match` leaves it as it is (exercise 4 says what
# it would need). So there it is a question for measurement.

# %%
alone = check("small-norm-alone-gains-little")
alone

# %% [markdown]
# That is our small MLP and not VGG16, and the question is narrower than the dissent: whether *here* rescaling earns what it
# earns through the turning. *Supported* says yes, to within a point; *inconclusive* says that these seeds cannot tell
# whether more than a point remains. Its control, the same weights free to turn, shows what there was to lose.

# %% [markdown]
# ## Falsification: a learning rate that never falls
#
# The whole argument leans on a falling learning rate. With a constant one the norm has the time to grow back, and the
# turning falls back with it. Then early decay should gain less. The gain at a constant rate is tried on the MLP only.

# %%
few = range(seed_offset, seed_offset + min(5, len(seeds)))
flat = sweep(
    [
        replace(base, seed=s, schedule=CONSTANT, decay=Decay(0.01, timing))
        for s in few
        for timing in (NEVER, EARLY, Timing.always())
    ],
    device=device,
)
figures.curves(flat, shown)

# %%
flat_gain = paired(flat, "decay.timing", EARLY, NEVER)
lost = interval([a - b for a, b in zip(gained["early"], flat_gain.values, strict=False)])  # the same seeds, in order
display(
    Markdown(
        f"Gain of early decay at a constant rate: **{flat_gain.mean:+.3f}** (95% interval {flat_gain.low:+.3f} to "
        f"{flat_gain.high:+.3f}). On the same {len(few)} seeds that is less than with the falling rate by "
        f"**{lost.mean:+.3f}** ({lost.low:+.3f} to {lost.high:+.3f})."
    )
)

# %% [markdown]
# An interval that holds 0 decides nothing. And be careful with what this shows: look at *always* in the figure. At a
# rate that never falls this lambda may be too strong, and where decay does harm, early decay has less to gain for that
# reason alone. Norm and angle test the argument more cleanly than the gain. In their claims above the control
# *vanishes* when the effect lies below the bar; that is less, and not nothing.

# %% [markdown]
# ## Other networks, other data, other seeds
#
# The same claims for a 1-D ResNet on the same signals and for a 2-D ResNet on Fashion-MNIST. Convolutions take longer than you
# want to wait, so this is **not measured here**: it is what came out when `wdlab reproduce --record` tried every claim of the
# chapter, whatever came out, on seeds that nobody had looked at when the claim was fixed. (The test examples are the same for
# all seeds, and all seeds draw their images from one pool of Fashion-MNIST.) The last three columns say when it was tried, what
# has changed since, and what the same seeds gave in an earlier trial, if there was one. (Convolutions repeat to the last digit
# only where processor, threads and batches of runs are the same, and training magnifies the rest; the last column says where a
# verdict turned.) `check("steps-turn-further-signals")` measures one of them on your machine, on the seeds of this notebook;
# with ResNets that takes minutes.

# %%
elsewhere = recorded("04")
elsewhere

# %% [markdown]
# A claim carries over where it is supported *and* its control vanishes. *Inconclusive* is no support, and *not supported* says
# that the effect lies below the bar. *Undefined* says that a run of one seed diverged, so that its seed has no number and the
# claim no verdict but *inconclusive*. (A trial that came out *supported* on the same seeds, in the last column, had no such
# run.) Read the claims about arms together with what early decay gains on the same network (the claims of [03 · Early weight
# decay](03_early_weight_decay.ipynb), tried in the same way, stand in the next table): where it gains nothing there is nothing
# to recover; where it loses, a copy that does nothing would recover "over half"; and where a small norm gains nothing in any
# case, *small-norm-alone-gains-little* passes, and only its control says that there was nothing to lose. The angle of a step
# depends on the norm and also on the gradient, so on how closely each network fits its training set by then, and there seeds
# may differ. Where the control at a constant rate does not vanish, it stays open whether such a rate takes the larger angle, or
# the small norm, away on that network.

# %%
recorded("03", "early-beats-never", "early-beats-never-signals", "early-beats-never-images")

# %% [markdown]
# Everything on one page: how small, how far (log2 of a ratio), then the arms, first the MLP as measured here, then the ResNets
# on record. Blue: the claim, which should lie right of the orange bar. Grey: its control, which should lie left of it.


# %%
def on_record(*beginnings):
    resnets = (verdict for verdict in elsewhere.verdicts if verdict.id.endswith(("-signals", "-images")))
    return [verdict for verdict in resnets if verdict.id.startswith(beginnings)]


figures.forest([norm, *on_record("norm")])

# %%
figures.forest([turns, *on_record("steps")])

# %%
figures.forest([copied_lr, copied_norm, alone, *on_record("effective", "small")])

# %% tags=["nbval-check-output"]
for verdict in (norm, turns, copied_lr, copied_norm, alone):
    print(f"{verdict.id}: {verdict.verdict}; control {verdict.control}")

# %% [markdown]
# ## Exercises
#
# Fill in each function and run the cell below it. The checker compares you with a reference, shows the smallest case in
# which you differ, and names the likely slip. It never stops the notebook.
#
# ### 1. Copy the effective learning rate
# difficulty 2 of 5 · importance 5 of 5 · 5 minutes
#
# A tensor of norm `norm` is to be turned as `lr` turns the leader's, whose norm is `leader_norm`. Return the learning rate
# it needs, for `optimizer` "sgd" and "adam".
#
# <details><summary>A hint</summary>The effective learning rate is lr / norm² under SGD and lr / norm under Adam. Set the two
# runs' equal, and solve.</details>


# %% tags=["exercise"]
def copied_rate(lr, norm, leader_norm, optimizer):
    """Return the lr that gives this tensor the leader's effective learning rate."""
    ...


# %% tags=["solution"]
def copied_rate(lr, norm, leader_norm, optimizer):
    power = 2 if optimizer == "sgd" else 1
    return lr * (norm / leader_norm) ** power


# %%
chapter04.check_copied_lr(copied_rate)

# %% [markdown]
# ### 2. Rescale
# difficulty 2 of 5 · importance 3 of 5 · 5 minutes
#
# Return `w` with the norm of `leader`, pointing where it pointed.
#
# <details><summary>A hint</summary>First make it a tensor of norm 1.</details>


# %% tags=["exercise"]
def rescale(w, leader):
    """Return w with the leader's norm."""
    ...


# %% tags=["solution"]
def rescale(w, leader):
    return w / w.norm() * leader.norm()


# %%
chapter04.check_rescale(rescale)

# %% [markdown]
# ### 3. The share of a gain
# difficulty 2 of 5 · importance 4 of 5 · 5 minutes
#
# `arm`, `never` and `early` hold one accuracy a seed. Return the share of early's gain over never that the arm recovers.
#
# <details><summary>A hint</summary>On one seed early may gain next to nothing. What would a ratio on that seed be worth?
# </details>


# %% tags=["exercise"]
def recovered(arm, never, early):
    """Return the share of early's gain that the arm recovers."""
    ...


# %% tags=["solution"]
def recovered(arm, never, early):
    return (arm.mean() - never.mean()) / (early.mean() - never.mean())


# %%
chapter04.check_share(recovered)

# %% [markdown]
# ### 4. The same path at another scale
# difficulty 4 of 5 · importance 5 of 5 · 15 minutes
#
# SGD with momentum is at weights `w` with the buffer `buffer` (a sum of past gradients) and the learning rate `lr`; w ← w −
# lr · buffer. Somebody multiplies w by `c`. Return weights, buffer and learning rate with which training goes on as if
# nothing had happened: the same directions of w at every later step.
#
# <details><summary>A hint</summary>Gradients at c w are those at w, divided by c. What must the buffer be, if it had been
# collected there?</details>
# <details><summary>Another</summary>The step must be c times as long as it was, and the buffer is c times smaller.</details>


# %% tags=["exercise"]
def same_state(w, buffer, lr, c):
    """Return (weights, buffer, lr) at c w that go the same way."""
    ...


# %% tags=["solution"]
def same_state(w, buffer, lr, c):
    return c * w, buffer / c, c**2 * lr


# %%
chapter04.check_same_state(same_state)

# %% [markdown]
# ## What would change our mind
#
# * **The controls.** Had a run recovered half of the gain by copying *late* decay's effective learning rate, then copying as
#   such would help, and not what is copied. Had it by early's norm at never's effective learning rate, then the norm would
#   help without the turning. (Where a control vanishes, it recovered less than half; that is less, and not nothing.)
# * **The constant rate.** Had the norm stayed as small there too, the schedule would not be the reason that it stays.
# * **One learning rate.** All runs start at lr 0.1, chosen for decay. *Never* might do better at a rate of its own, and then
#   part of decay's gain would be due to a badly chosen rate. The cell below tries one. It is no test of a larger *effective*
#   learning rate: without decay a larger lr also makes the weights longer (‖W‖⁴ grows with lr², notebook 06 has the rule), and
#   that takes much of it back. The cell says what is left at the end; what *early* has stands in a table above.
# * **What a copy cannot copy.** The head and the BatchNorm parameters have a scale that matters. They are never copied, so
#   whatever decay of the head does is missing from every arm; a share below 100% may lie there.
# * **What the paper does that we do not.** Bjorck, Weinberger and Gomes train ResNet-18 on CIFAR-10, ResNet-50 on CIFAR-100
#   and DenseNet-121 on tiny-ImageNet. We could not read whether they ran arms like ours.
# * **Mechanisms we do not test.** Zhang and co-authors (2019) name two more, for other optimizers.

# %%
rates = [replace(base, seed=s, optimizer=replace(base.optimizer, lr=rate)) for s in few for rate in (0.1, 0.3)]
tried = sweep(rates, device=device)
faster = paired(tried, "optimizer.lr", 0.3, 0.1)
slow, fast = (tried.table["effective_lr"][place::2].mean() for place in (0, 1))
display(
    Markdown(
        f"Gain of *never* at lr 0.3 over *never* at lr 0.1: **{faster.mean:+.3f}** (95% interval {faster.low:+.3f} to "
        f"{faster.high:+.3f}, {len(few)} seeds). At the end its effective learning rate is **{fast / slow:.2f}** times that "
        "at lr 0.1."
    )
)

# %% [markdown]
# ## Your score

# %%
predictions.score()

# %% [markdown]
# **In three sentences.** A learning rate that falls leaves little time to grow back what early decay has shrunk, so the norm
# is smaller to the end and, in the MLP, every step turns the weights further; a constant rate leaves more time, and the
# controls above say what is left of both there. Runs that copy the turning without decay, and runs that copy the norm, show
# how much of the gain goes with each; the shares above say how far that holds for the MLP on your seeds, the record whether a
# copy recovers over half of it elsewhere, and a verdict of few seeds may be another on other seeds. A small norm that is not
# allowed to turn further is the test of the norm itself.
#
# **Next:** [05 · What sharpness forgets](05_what_sharpness_forgets.ipynb) asks what a small norm does to measures of flatness;
# [06 · Data grow the weights](06_data_grow_the_weights.ipynb) asks why a norm grows at all. Or go back to
# [03 · Early weight decay](03_early_weight_decay.ipynb) with other eyes.
#
# ### References
#
# * J. Bjorck, K. Weinberger, C. Gomes. *Understanding Decoupled and Early Weight Decay.* AAAI 2021.
# * E. Fieller. *Some Problems in Interval Estimation.* Journal of the Royal Statistical Society B, 1954.
# * Z. Liu and co-authors. arXiv 2102.03497, 2021 (read in parts only).
# * T. van Laarhoven. *L2 Regularization versus Batch and Weight Normalization.* 2017.
# * G. Zhang, C. Wang, B. Xu, R. Grosse. *Three Mechanisms of Weight Decay Regularization.* ICLR 2019.
