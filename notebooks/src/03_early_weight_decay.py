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
# # 03 · Early weight decay
#
# **When does weight decay matter: in the first part of training, in the last, or all the time? And is it the time, or how
# much decay falls into it?**
#
# {{badges}} · {{minutes}} on two CPU cores · no GPU needed
#
# You will rebuild two figures: where networks end under six timings of weight decay, and the *critical period*, the gain
# against the moment at which decay is switched off or on.

# %% [markdown]
# ## What you will be able to do
#
# * switch weight decay on and off inside a training loop, and say what that does to accuracy and weight norm;
# * tell a difference between two arms (groups of runs that differ in one thing) from luck, with paired seeds and an interval;
# * name what the finding rests on (a learning rate that falls), and show where it breaks;
# * say how large the dose of a timing is (how much decay it gives in all), and what arms of equal dose can and cannot show.
#
# **Before this:** [00 · Start here](00_start_here.ipynb); [01 · What weight decay is](01_what_weight_decay_is.ipynb)
# explains the update rule and the convex case used here as a control;
# [02 · Scale does not matter, step size does](02_scale_does_not_matter.ipynb) explains the effective learning rate.
#
# **Whose finding.** That decay matters mostly at the start of training was reported by Golatkar, Achille and Soatto
# (2019) for vision networks. Bjorck, Weinberger and Gomes (2021) ask *why*, and report that early decay leaves the norm
# small for the whole of training. The networks, data sizes, thresholds and measures below are our operationalization,
# and so are the controls, except that the contrast with convex problems is Golatkar's.

# %%
import math
import os
from dataclasses import replace

import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

from wdlab import TASKS, Decay, Model, Schedule, Timing, figures, sweep
from wdlab.claims import CLAIMS, at_equal_dose, half_dose, linear_accuracy, network, recorded
from wdlab.exercises import chapter03
from wdlab.lab import CriticalPeriod, Explorer, Lab, Predictions
from wdlab.stats import paired
from wdlab.tasks import Batches

torch.set_num_threads(1)  # small networks: the sweeps below use one process a core instead

# %% tags=["parameters"]
scale = os.environ.get("WDLAB_SCALE", "demo")  # "ci" proves that it runs, "demo" is for you, "gpu" has more seeds
seed_offset = 0  # the first seed; settings were chosen on seeds from 10,000 on, with the same test examples
device = "auto"

# %% [markdown]
# ## Commit to a guess
#
# Four questions about the measurements to come, and one curve to draw. Your answers stay in this notebook's memory (unless your
# teacher gathers them, without names; the questions then say so), and the last cell scores them. (Cut the way from *never* to
# *always* into three equal parts: *near never*, *about half-way*, *near always*.) Commit before you run on, and then run on
# with *Run Selected Cell and All Below*: *Run All* asks anew, forgets your answers and goes straight to the results.

# %%
predictions = Predictions()
PLACES = ["near never", "about half-way", "near always"]
predictions.ask(
    "early", "Decay in the first quarter only. Where does test accuracy end, between never and always?", PLACES
)

# %%
predictions.ask("late", "Decay in the second half only. Where does test accuracy end?", PLACES)

# %%
predictions.ask(
    "dose",
    "Decay in the second half only, with a λ so much larger that its sum of learning rate × λ over all steps is the same "
    "as that of decay with λ = 0.01 in the first quarter. Where does test accuracy end?",
    PLACES,
)

# %%
predictions.ask(
    "constant",
    "Decay in the first quarter, and a learning rate that never falls. Where does the weight norm end?",
    ["below three quarters of never's", "above three quarters of never's"],
)

# %% [markdown]
# Now a curve. Here is the weight norm of one run without decay, trained while you read. A second run starts from the same
# weights and sees the same batches, with decay in its first quarter only. Draw its norm: one slider for each moment.

# %%
undecayed = sweep([replace(network(scale), seed=seed_offset, decay=Decay(0.01, Timing.never()))], device=device)
free = undecayed.histories[0]
shares, free_norm = [step / free.steps[-1] for step in free.steps], free.curves["weight_norm"]
predictions.ask_curve(
    "curve",
    "Decay in the first quarter only: how does the weight norm go?",
    moments=[0, 0.2, 0.4, 0.6, 0.8, 1],
    low=0,
    high=round(1.2 * max(free_norm)),
    x="share of training",
    y="weight norm",
    beside={"never": (shares, free_norm)},
)

# %% [markdown]
# ## By hand
#
# A BatchNorm network in plain PyTorch, and the training loop you know. One line is new, and it is the subject of this
# notebook: `on` is 1 while decay acts and 0 otherwise.

# %%
task = TASKS["mnist1d"]
data = task.arrays()
test_x, test_y = data.inputs[: task.test_size], data.labels[: task.test_size]
steps, lr, weight_decay = network(scale).steps // 2, 0.1, 0.01


def network_by_hand(width=64):
    layers = []
    for inputs in (40, width, width):
        layers += [torch.nn.Linear(inputs, width, bias=False), torch.nn.BatchNorm1d(width), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 10))


def train_by_hand(start, stop, seed=seed_offset):
    torch.manual_seed(seed)
    net, batches = network_by_hand(), Batches(task, [seed], len(data.labels))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    norms = []
    for step in range(steps):
        batch = batches.indices(step)[0]
        F.cross_entropy(net(data.inputs[batch]), data.labels[batch]).backward()
        on = float(start <= step / steps < stop)
        for p in net.parameters():
            if p.ndim > 1:
                p.grad += weight_decay * on * p.data  # <- the line that makes the difference
        optimizer.param_groups[0]["lr"] = lr * 0.002 ** (step / steps)
        optimizer.step()
        optimizer.zero_grad()
        norms.append(sum(p.detach().square().sum() for p in net.parameters() if p.ndim > 1).sqrt().item())
    accuracy = (net.eval()(test_x).argmax(1) == test_y).float().mean().item()
    return accuracy, norms


# %%
by_hand = {"never": train_by_hand(0, 0), "always": train_by_hand(0, 1), "first 0.25": train_by_hand(0, 0.25)}
lines = [f"| {name} | {accuracy:.3f} | {norms[-1]:.2f} |" for name, (accuracy, norms) in by_hand.items()]
display(Markdown("\n".join(["| decay acts | test accuracy | weight norm at the end |", "|---|---|---|", *lines])))
figures.lines({name: norms for name, (_, norms) in by_hand.items()}, "Weight norm, by hand", "step", "weight norm")

# %% [markdown]
# Read the norms first. Without decay they climb. With decay they stay down. And in the third run, where decay ends after
# a quarter of the steps, the norm rises a little and then stays low. How much pushing is left by then? Where weights do
# not matter in scale, a step of plain SGD can only lengthen them: their squared length grows by lr² times the squared
# gradient. (Momentum adds up such steps; take lr² as the measure of how much is left.)

# %%
rates = Schedule().table(steps).square()
left = (rates[steps // 4 :].sum() / rates.sum()).item()
display(Markdown(f"Of the sum of lr² over the run, **{left:.1%}** is left after the first quarter."))

# %% [markdown]
# ## The same through the library
#
# `Timing` is the line you just wrote; `Decay` adds the other four axes of weight decay (strength, coupling, scaling,
# mask); a `Run` says everything about one training; `sweep` trains many runs side by side and keeps what it finished.
#
# | axis | question | here |
# |---|---|---|
# | strength | how much? | `Decay(0.01)` |
# | **timing** | **when?** | `Timing.never()`, `.always()`, `.first(0.25)`, `.after(0.5)`, `.window(a, b)` |
# | coupling | where does it enter? | `"l2"`: into the gradient, as by hand |
# | scaling | times what? | `"lr"`: as torch does it |
# | mask | on which tensors? | `"weights"`: matrices, not biases or BatchNorm |

# %%
timings = [Timing.never(), Timing.always(), Timing.first(0.1), Timing.first(0.25), Timing.first(0.5), Timing.after(0.5)]
base = network(scale)
first_seeds = range(seed_offset, seed_offset + 3)
runs = [replace(base, seed=s, decay=Decay(0.01, timing)) for s in first_seeds for timing in timings]
results = sweep(runs, device=device)
figures.curves(results)

# %%
drawn = results.histories[timings.index(Timing.first(0.25))]  # the same seed as the run you were shown
told = f"Where never ended at {free_norm[-1]:.1f}, it ended at {drawn.curves['weight_norm'][-1]:.1f}."
predictions.reveal("curve", (shares, drawn.curves["weight_norm"]), told)

# %% [markdown]
# The middle panel of the figure is your plot again, now for six timings. The right one shows the price of a large norm:
# a step of the same learning rate turns the weights less, so the *effective* learning rate, lr/‖W‖², is smaller. Follow
# *first 0.25* and *never*: in the last three quarters they see the same batches at the same learning rate, and neither
# decays. What still differs is where decay has left them: other weights, and with their length another effective learning
# rate. Which of the two matters this figure cannot say; notebook 04 asks.

# %% [markdown]
# ## Turn it yourself
#
# Find the shortest window that still gives you most of what *always* gives. Then try the same window at the end.

# %%
lab_steps = 40 if scale == "ci" else task.steps
lab = Lab(task="mnist1d", show=("timing", "weight_decay", "lr"), steps=lab_steps, seed=seed_offset, device=device)
lab.run(timing="early")
lab

# %% [markdown]
# ## The measurement
#
# ### Where networks end
#
# Each grey line is one seed: one training set, one set of initial weights and one order of batches, shared by all timings. So
# differences within a line are due to timing and what it brings with it (more on that below), and to nothing else. Black dots
# are means with 95% intervals. Compare timings along the grey lines: the intervals are for each timing by itself, and may
# overlap although every line falls.
#
# What an interval covers: how far another training run on these data would differ. All runs are tested on the same
# examples, so it does not say how another test set would.

# %%
level = CLAIMS["early-beats-never"].levels[scale]
seeds = range(seed_offset, seed_offset + level.seeds)
main = sweep([replace(base, seed=s, decay=Decay(0.01, t)) for s in seeds for t in timings], device=device)
figures.ends(main)

# %% [markdown]
# ### Three claims, fixed before the result
#
# A claim says beforehand what is compared, in which direction, and the smallest effect that would matter. It is *supported*
# when the whole 95% interval of the paired differences lies beyond that smallest effect, *not supported* when the whole
# interval falls short of it, and *inconclusive* otherwise. Two of the claims say that nothing is lost: their smallest effect is
# negative, the largest loss we are willing to call none. Each claim has a control, the same measurement where it must **not**
# hold: if it held there too, the measurement would not show what the claim says. We call the smallest effect the *bar*. A
# control *vanishes* when its whole interval lies below the bar; it need not be zero.


# %%
def check(name, **more):
    return CLAIMS[name].check(scale=scale, seed_offset=seed_offset, device=device, **more)


early = check("early-beats-never")
early

# %% [markdown]
# The control is a *convex* model with the same timings: a linear classifier, trained to convergence. It has one best set
# of weights and forgets how it got there, so decay that has ended leaves no trace (notebook 01 shows why). It differs
# from the networks in more than one thing: its loss has one minimum, and its learning rate does not fall before it gets
# there. Notebook 01 shows that a convex problem under a falling learning rate does keep a trace. And the control says
# something only because decay that lasts does help this classifier; here is by how much.

# %%
without, first_only, throughout = (
    linear_accuracy(early.seeds, t).mean().item() for t in (timings[0], timings[3], timings[1])
)
display(
    Markdown(
        f"Linear classifier, gain over never: always **{throughout - without:+.3f}**, first 0.25 {first_only - without:+.3f}."
    )
)

# %%
match = check("early-matches-always")
match

# %%
late = check("late-matches-never")
late

# %% tags=["nbval-check-output"]
for verdict in (early, match, late):
    print(f"{verdict.id}: {verdict.verdict}; control {verdict.control}")


# %%
def over_never(results, timing):
    """Return the gain in test accuracy of `timing` over never, over paired seeds."""
    return paired(results, "decay.timing", timing, Timing.never())


def place(gained, whole):
    """Return where an arm that gained so much of the `whole` ends between never and always, as one of the three places."""
    share = gained / whole
    return PLACES[0 if share < 1 / 3 else 1 if share < 2 / 3 else 2], f"It had {share:z.0%} of the gain of always."


nothing_between = Markdown("On these seeds *always* did not clearly beat *never*, so there is nothing to be between.")
whole = over_never(main, Timing.always())
if whole.low > 0:
    first_quarter, second_half = (over_never(main, t).mean for t in (Timing.first(0.25), Timing.after(0.5)))
    display(predictions.reveal("early", *place(first_quarter, whole.mean)))
    display(predictions.reveal("late", *place(second_half, whole.mean)))
else:
    display(nothing_between)

# %% [markdown]
# ### Timing or dose?
#
# All these timings have the same λ. At each step decay adds λw to the gradient, and lr × λ is the share of w that this takes
# away in one step. (With momentum 0.9 it takes about ten times as much, spread over later steps: the same factor for every
# timing.) The learning rate falls. So a timing also decides how much decay there is in all: its *dose*, the sum of lr × λ over
# the steps in which decay acts. Without gradients, decay alone would multiply the weights by about e^(−dose), with momentum 0.9
# by about e^(−10 × dose).


# %%
def share_of_dose(timing):
    """Return the dose of `timing` as a share of that of decay throughout."""
    falling = base.schedule.table(base.steps)
    return ((falling * timing.table(base.steps)).sum() / falling.sum()).item()


rows = [f"| {t} | {t.table(base.steps).mean():.0%} | {share_of_dose(t):.0%} |" for t in timings]
display(Markdown("\n".join(["| decay acts | share of the steps | share of the dose |", "|---|---|---|", *rows])))
total = base.optimizer.lr * 0.01 * base.schedule.table(base.steps).sum().item()
display(
    Markdown(
        f"Decay throughout has a dose of {total:.2f}. Alone it would multiply the weights by about {math.exp(-total):.2f}, "
        f"with momentum 0.9 by about {math.exp(-10 * total):.2f}."
    )
)

# %% [markdown]
# Under this learning rate late decay is also *weak* decay. Timing and dose move together wherever decay is multiplied by a
# learning rate that falls and λ stays, so none of the claims above can tell them apart: if late decay does little, so small a
# dose may be why. It takes arms of equal dose, and there are two ways to make them.
#
# **One λ, two windows.** The first ends, and the second begins, where half of the dose is given. (This claim was fixed after a
# look at networks of seeds from 0 on and from 1000 on: neither here nor on record is it a test on seeds that are new in every
# way. *The record* tells more.)

# %%
half = half_dose(base)
halves = Timing.first(half), Timing.after(half)
told = ", ".join(
    f"*{t}* has {share_of_dose(t):.0%} of the dose in {t.table(base.steps).mean():.0%} of the steps" for t in halves
)
early_part = (share_of_dose(Timing.first(0.5)) - share_of_dose(halves[0])) / share_of_dose(halves[1])
display(Markdown(f"{told}. But of the dose of *{halves[1]}*, {early_part:.0%} is given before half-way."))

# %%
late_half = check("late-half-of-the-dose-matches")
late_half

# %% [markdown]
# **One dose, two λ.** Decay in the first quarter against decay from half-way on, which needs a larger λ for as large a dose.
# Here the control is a second question rather than a test of the measurement: what does that dose gain over *never* when it is
# given late?

# %%
early_then, late_then = Timing.first(0.25), Timing.after(0.5)
as_much = at_equal_dose(base, late_then, like=early_then).strength
print(f"For as large a dose as {early_then} has, {late_then} needs a λ of {as_much:.3g}, not 0.01.")
print('One such run in the Lab above, from a new cell: lab.run(timing="late", weight_decay=as_much)')

# %%
even = check("early-beats-late-at-equal-dose")
even

# %% tags=["nbval-check-output"]
for verdict in (late_half, even):
    print(f"{verdict.id}: {verdict.verdict}; control {verdict.control}")

# %%
rivals = {str(t): Decay(0.01, t) for t in (Timing.never(), *halves, early_then, Timing.always(), late_then)}
rivals[f"{late_then}, dose of {early_then}"] = Decay(as_much, late_then)
equal = sweep([replace(base, seed=s, decay=d) for s in even.seeds for d in rivals.values()], device=device)
means = equal.table.assign(arm=[*rivals] * len(even.seeds)).groupby("arm", sort=False).mean(numeric_only=True)
heads = (
    "decay acts",
    "λ",
    "test accuracy",
    "training loss",
    "angle of the last step (radians)",
    "weight norm at the end",
)
rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
for arm, end in means.iterrows():
    strength = "–" if arm == "never" else f"{rivals[arm].strength:.3g}"
    cells = (strength, f"{end['test_accuracy']:.3f}", f"{end['train_loss']:.2f}")
    rows.append(f"| {' | '.join((arm, *cells, f'{end.rotation:.1e}', f'{end.weight_norm:.1f}'))} |")
display(Markdown("\n".join(rows)))

# %%
whole = paired(equal, "decay", Decay(0.01, Timing.always()), Decay(0.01, Timing.never()))
late_gain = paired(equal, "decay", Decay(as_much, late_then), Decay(0.01, Timing.never()))
answer = predictions.reveal("dose", *place(late_gain.mean, whole.mean)) if whole.low > 0 else nothing_between
answer

# %% [markdown]
# How to read them. *late-half-of-the-dose-matches*, if it is supported and its control vanishes, says that at one λ the window
# that leaves out the first steps ends less than a point below the window that has only these steps. Each has half of the dose.
# It does not say that the first steps can be left out for nothing: compare both windows with *always* in the table. Nor does it
# say that time does not matter, for most of the dose of the later window, too, is given before half-way. And the control is later
# *and* smaller in dose, so it cannot say which of the two makes it worse.
#
# *early-beats-late-at-equal-dose*, if it is supported, says that from half-way on as large a dose, with the λ it takes, was worth
# less. Read the interval of its control, late decay minus never:
#
# * it holds 0 and ends below the bar: a gain of a point was excluded, any gain at all was not shown;
# * wholly between 0 and the bar: late decay helps, by less than a point;
# * wholly below 0: late decay harms, and part of the difference is this harm;
# * wholly above the bar: late decay helps, too, and early decay more.
#
# Equal means one thing here: without gradients both arms would make the weights about equally much shorter. In the second
# comparison λ is not equal. Late decay needs many times as much, so against the same gradient of the loss it pulls many times
# as hard, on the last layer too, which no BatchNorm follows. Compare training loss and the angle of the last step with the other
# rows. Where both are much larger, the late run was still moving when training ended, and part of the difference may be that it
# was not finished. Whether the time makes the difference, or the λ that the time calls for, this comparison cannot say. In the
# first comparison both windows have the same λ, but neither of them is late.
#
# Look at test accuracy and the weight norm, too. (Looked at afterwards: no claim was fixed about them.) Has the arm with the
# shortest weights the best accuracy? If not, a small norm at the end is not enough. Short weights make a step turn further,
# late in the run too, and nothing here says why accuracy rises with it in some rows and not in others. Notebook 04 sets norm
# and effective learning rate by hand, over the whole run.

# %% [markdown]
# ### The critical period
#
# Two families of runs. In one, decay acts *until* t0 and is then switched off. In the other it is off and acts *from* t0
# on. If the start is what matters, the first curve climbs at once and stays, and the second falls at once and stays down.
# The same is to be seen if dose is what matters, for most of it lies at the start.

# %%
moments = [0.0, 0.05, 0.1, 0.25, 0.5, 1.0]
arms = {"until": lambda t0: Timing.window(0, t0), "since": lambda t0: Timing.window(t0, 1)}
period = {
    side: sweep([replace(base, seed=s, decay=Decay(0.01, arm(t))) for s in seeds for t in moments], device=device)
    for side, arm in arms.items()
}
gains = figures.critical_period(period["until"], period["since"])
gains

# %% [markdown]
# So here is the dose beside the gain. In the row t0 = 0.1 the two doses are close to each other: are the gains? Then compare
# two rows: *until* 0.05 and *from* 0.25 have doses close to each other, too. Are the gains of these two close? (These are
# numbers of the figure, looked at afterwards. No claim was fixed about them.)

# %%
rows = ["| t0 | dose until t0 | gain | dose from t0 | gain |", "|---|---|---|---|---|"]
found = {side: list(part["gain"]) for side, part in gains.data.groupby("side", sort=False)}
for t0, until, since in zip(moments, *found.values(), strict=True):
    shares = [share_of_dose(arm(t0)) for arm in arms.values()]
    rows.append(f"| {t0:g} | {shares[0]:.0%} | {until:+z.3f} | {shares[1]:.0%} | {since:+z.3f} |")
display(Markdown("\n".join(rows)))

# %% [markdown]
# The same runs under a slider: move t0 along both curves, and see at the right what the networks behind the two points did.
# Nothing is trained anew.

# %%
Explorer(CriticalPeriod(period["until"], period["since"]), t0=0.25)

# %% [markdown]
# Where does each curve cross half of the full gain? The two crossings need not be at the same t0: early decay can be
# enough, and decay that starts a little late can still be of some use.

# %% [markdown]
# ## Falsification: a learning rate that never falls
#
# Bjorck, Weinberger and Gomes report that early decay leaves the norm small for the whole of training. If it stays small
# because the learning rate falls, then under a constant rate the norm must grow back. Here is that run, with *always*
# beside it. Look at *always*, too: where even decay throughout does not help, the schedule matters to decay as such, and
# the accuracies say nothing about the norm.

# %%
constant = Schedule("constant")
two = [Timing.never(), Timing.always(), Timing.first(0.25)]
flat = sweep(
    [replace(base, seed=s, schedule=constant, decay=Decay(0.01, t)) for s in first_seeds for t in two], device=device
)
figures.curves(flat)

# %% [markdown]
# So the claim is about the norm itself, and its control is the constant rate.

# %%
norm = check("early-norm-stays-small")
norm

# %%
kept = norm.control_outcome.effect
answer = "above three quarters of never's" if kept < 0.25 else "below three quarters of never's"
predictions.reveal("constant", answer, f"At a constant rate it ended {kept:.0%} below never's norm.")

# %% [markdown]
# ## Other networks, other data
#
# So far this is one small network. First the width, then another architecture
# on the same signals, then real images: Fashion-MNIST at 14 × 14 pixels with a small ResNet. (The control on images
# is late decay at the *same* λ, so with a small share of the dose: it shows that decay as such is not enough, and does not tell
# timing from dose.)

# %%
widths = (16, 64) if scale == "ci" else (50, 200)
rows = []
for width in widths:
    arm = [Timing.first(0.25), Timing.never()]
    wide = sweep(
        [replace(base, seed=s, model=Model(width=width), decay=Decay(0.01, t)) for s in seeds[:5] for t in arm],
        device=device,
    )
    wider = paired(wide, "decay.timing", *arm)
    rows.append(f"| {width} | {wider.mean:+.3f} | {wider.low:+.3f} to {wider.high:+.3f} |")
display(
    Markdown("\n".join(["| width | gain of first 0.25 over never | 95% interval (5 seeds) |", "|---|---|---|", *rows]))
)

# %%
few = {"seeds": 2} if scale == "ci" else {}  # convolutions are slow: at ci scale two seeds prove the path, no more
signals = check("early-beats-never-signals", **few)
signals

# %%
images = check("early-beats-never-images", **few)
images

# %% [markdown]
# Everything on one page: first the claims on test accuracy, then the one on the norm, whose numbers are shares of it. Blue: the
# claim, which should lie right of the orange bar. Grey: its control, which should lie left of it.

# %%
figures.forest([early, match, late, late_half, even, signals, images])

# %%
figures.forest([norm])

# %% tags=["nbval-check-output"]
for verdict in (norm, signals, images):
    print(f"{verdict.id}: {verdict.verdict}; control {verdict.control}")

# %% [markdown]
# ### The record
#
# Above are the seeds of this notebook, which those who wrote it have seen as well. The table is **not measured here**: it holds
# what came out when `wdlab reproduce --record` tried every claim of this chapter, whatever came out, on seeds that nobody had
# looked at when the claim was fixed. (The test examples are the same for all seeds, and all seeds draw their images from one
# pool of Fashion-MNIST.) The last three columns say when it was tried, what has changed since, and what the same seeds gave in
# an earlier trial, if there was one.
#
# Of the two claims on equal doses this is not the whole story. *early-beats-late-at-equal-dose* was first tried on seeds 1000
# to 1019, with the same arms, bar and control in other words. The words were changed after that, and the seeds below are its
# second trial; `CLAIMS["early-beats-late-at-equal-dose"].check(seed_offset=1000)` shows what came out in the first.
# *late-half-of-the-dose-matches* was fixed after that look at seeds 1000 to 1019: its two windows were new there, its seeds
# were not.

# %%
recorded("03")

# %% [markdown]
# ## Exercises

# %% [markdown]
# Fill in each function and run the cell below it. The checker compares you with a reference, shows the smallest case in
# which you differ, and names the likely slip. It never stops the notebook.
#
# ### 1. The same dose, earlier
# difficulty 1 of 5 · importance 3 of 5 · 3 minutes
#
# At a constant learning rate, λ = 0.01 acts throughout a run. Another run decays in its first quarter only. Change the
# number: which λ makes lr × λ, summed over all steps, the same for both?
#
# <details><summary>A hint</summary>How many steps are there to add up, compared with the whole run?</details>

# %% tags=["exercise"]
early_lambda = None  # a number

# %% tags=["solution"]
early_lambda = 0.01 / 0.25

# %%
chapter03.check_same_dose(early_lambda)

# %% [markdown]
# The runs above gave early decay no such bonus: all timings have the same λ, and *first 0.25* gets by with a quarter of the
# steps. With a falling learning rate these steps are the long ones, so its share of the sum is far more than a quarter, and
# that of late decay far less than its share of the steps: the table under *Timing or dose?* has both.
#
# ### 2. Two dials, one switch
# difficulty 1 of 5 · importance 4 of 5 · 5 minutes
#
# Return the learning rate and the lambda to use at `step`, when decay acts in the first `fraction` of the run.
#
# <details><summary>A hint</summary>Steps count from 0. With 8 steps and a fraction of 1/4, decay acts at steps 0 and 1.
# </details>
# <details><summary>Another</summary>Which of the two dials does the switch belong to? The other one is returned as it came.
# </details>


# %% tags=["exercise"]
def dials(step, steps, fraction, lr, weight_decay):
    """Return (lr, lambda) at `step` of `steps`, decay acting in the first `fraction` of the run."""
    ...


# %% tags=["solution"]
def dials(step, steps, fraction, lr, weight_decay):
    on = step < fraction * steps
    return lr, weight_decay if on else 0.0


# %%
chapter03.check_early_dials(dials)

# %% [markdown]
# ### 3. What decays?
# difficulty 2 of 5 · importance 3 of 5 · 5 minutes
#
# In this course matrices and kernels decay; biases and BatchNorm's scales and shifts do not. Return whether a parameter
# decays, from its name and the tensor itself.
#
# <details><summary>A hint</summary>How many axes does a bias have? And a kernel?</details>


# %% tags=["exercise"]
def mask(name, tensor):
    """Return True if weight decay acts on this parameter."""
    ...


# %% tags=["solution"]
def mask(name, tensor):
    return tensor.ndim >= 2


# %%
chapter03.check_mask(mask)

# %% [markdown]
# ### 4. Luck or effect?
# difficulty 3 of 5 · importance 5 of 5 · 10 minutes
#
# `a[i]` and `b[i]` are the accuracies of two arms on the same seed. Return the mean of the differences and the two ends
# of its 95% interval (Student's t).
#
# <details><summary>A hint</summary>First take the differences, then forget that there were two arms.</details>
# <details><summary>Another</summary>The interval is mean ± t · s/√n, with s the standard deviation of the differences
# (divided by n − 1) and t from <code>scipy.stats.t.ppf(0.975, n - 1)</code>.</details>


# %% tags=["exercise"]
def effect(a, b):
    """Return (mean, low, high) of a - b over paired seeds."""
    ...


# %% tags=["solution"]
def effect(a, b):
    from scipy import stats

    differences = [x - y for x, y in zip(a, b, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    s = (sum((d - mean) ** 2 for d in differences) / (n - 1)) ** 0.5
    reach = stats.t.ppf(0.975, n - 1) * s / n**0.5
    return mean, mean - reach, mean + reach


# %%
chapter03.check_paired_effect(effect)

# %% [markdown]
# ### 5. The whole step
# difficulty 3 of 5 · importance 4 of 5 · 10 minutes
#
# One step of SGD with momentum and an l2 penalty that acts in the first `fraction` of the run: return the new weights
# and the new buffer. `t` is the step, from 0.
#
# As in torch, the new buffer is momentum × buffer + gradient, and the step is lr times the new buffer.
#
# <details><summary>A hint</summary>The penalty's gradient is λw, and l2 means that it joins g <i>before</i> the buffer is
# updated. The order: penalty, buffer, weights.</details>


# %% tags=["exercise"]
def step_with_toggle(w, g, buffer, t, steps, fraction, lr, momentum, weight_decay):
    """Return (new w, new buffer) after one step of SGD with momentum; decay acts early only."""
    ...


# %% tags=["solution"]
def step_with_toggle(w, g, buffer, t, steps, fraction, lr, momentum, weight_decay):
    on = t < fraction * steps
    buffer = momentum * buffer + g + weight_decay * on * w
    return w - lr * buffer, buffer


# %%
chapter03.check_training_step(step_with_toggle)

# %% [markdown]
# ## What would change our mind
#
# * **The controls.** Had the convex model kept the same gain from early decay, a model with no path to remember would show
#   it too; had *late* done as well as *early*, the story would be about decay as such. The grey rows above are where to look.
# * **Dose.** Had decay from half-way on done as well at an equal dose, the story would be about dose alone; had the later half
#   of the dose done worse at one λ, the first steps would count for more than their dose. Where the control of the second claim
#   *vanishes*, late decay gained less than the bar, not nothing: read its interval. One network was tried. Bars and
#   numbers of seeds of both claims were fixed after a look at seeds from 10,000 on; *The record* says which seeds were new.
# * **The schedule.** Under a constant learning rate decay as such does something else. Other schedules you can try:
#   `Schedule("cosine")` in the cell with `constant`. Look at the norm before you look at the accuracy.
# * **Size.** These networks are small and the data are simple. On compositional toy tasks the reverse has been reported,
#   late decay helping more than early (a volunteer-computing project, axiom.heliex.net, experiment
#   `wd_timing_extended_width`; it gives no numbers). If your task does that, the sentence at the top is not about it.
# * **What the papers did that we do not.** Golatkar, Achille and Soatto train ResNet-18 and All-CNN on CIFAR-10, CIFAR-100,
#   SVHN and ImageNet, and also time augmentation and mixup. Bjorck, Weinberger and Gomes train ResNet-18 on CIFAR-10,
#   ResNet-50 on CIFAR-100 and DenseNet-121 on tiny-ImageNet. Our settings, margins and numbers of seeds are our own.
# * **What this notebook does not show.** That the small norm is the *cause*. Curves that move together are not a cause;
#   an experiment that sets the norm by hand is, and it belongs to a later notebook. The explanation is disputed: Liu et al.
#   (2021, arXiv 2102.03497) report that rescaling weights gives similar accuracy although it does not raise the effective
#   learning rate.

# %% [markdown]
# ## Your score

# %%
predictions.score()

# %% [markdown]
# **In three sentences.** Where the verdicts above say *supported*, decay in the first quarter keeps most of what decay
# throughout gives in the MLP, and decay from half-way on gives little, with one λ and with as large a dose; two windows that
# share the dose of one λ evenly do about equally well, though most of the later one is early, too: half of the dose gains about
# as much from either window, and as large a dose from half-way on gains little. In the two ResNets only early decay against
# none was tried, and the record says where that stood. Early decay leaves the norm lower when the learning rate falls, which
# this notebook does not show to be the reason; a convex model trained to convergence at a constant learning rate keeps no trace
# of decay that has ended.
#
# **Next:** [04 · The norm stays small](04_the_norm_stays_small.ipynb) asks whether the small norm is the cause;
# [05 · What sharpness forgets](05_what_sharpness_forgets.ipynb) measures these networks. Or play with what you now know in
# [00 · Start here](00_start_here.ipynb).
#
# ### References
#
# * J. Bjorck, K. Weinberger, C. Gomes. *Understanding Decoupled and Early Weight Decay.* AAAI 2021.
# * A. Golatkar, A. Achille, S. Soatto. *Time Matters in Regularizing Deep Networks.* NeurIPS 2019.
# * S. Greydanus, D. Kobak. *Scaling Down Deep Learning with MNIST-1D.* ICML 2024.
# * H. Xiao, K. Rasul, R. Vollgraf. *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms.* 2017.
