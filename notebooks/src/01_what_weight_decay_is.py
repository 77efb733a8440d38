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
# # 01 · What weight decay is
#
# **Under plain SGD, weight decay and an l2 penalty are one and the same thing. Under momentum they differ, and under Adam too.**
#
# {{badges}} · {{minutes}} on two CPU cores, exercises not counted · no GPU needed
#
# You will rebuild a picture and a curve. The picture shows the paths of both over a loss in two weights, under three
# optimizers. The curve shows what early weight decay leaves behind in ridge regression.

# %% [markdown]
# ## What you will be able to do
#
# * write weight decay as one line of an update, in two ways, and say when the two agree;
# * say what the product lr × λ decides, and what λ decides alone;
# * turn the λ of the AdamW paper into the `weight_decay` of torch;
# * explain why a convex problem with one minimum, trained to its end, cannot remember when decay acted.
#
# **Before this:** [00 · Start here](00_start_here.ipynb). **After this:**
# [02 · Scale does not matter, step size does](02_scale_does_not_matter.ipynb);
# [03 · Early weight decay](03_early_weight_decay.ipynb) uses the last section as its control.
#
# **Whose finding.** That the two are equal under plain SGD once λ is rescaled, and that no rescaling makes them equal
# under an optimizer that divides each weight's gradient by a number of its own, was shown by Loshchilov and Hutter (2019,
# Propositions 1 and 2). Why the difference matters is one of the two questions of Bjorck, Weinberger and Gomes (2021).
# Golatkar, Achille and Soatto (2019) contrast deep networks with convex problems, where the path to the end does not
# matter. The problems, measures and thresholds below are our operationalization, and so is what we say about momentum
# and about where AdamW comes to rest.

# %%
import os

import torch
from IPython.display import Markdown, display

from wdlab import COUPLINGS, Decay, Schedule, Timing
from wdlab.claims import CLAIMS
from wdlab.exercises import chapter01
from wdlab.figures import convex as draw
from wdlab.lab import Lab, Predictions, Trajectory
from wdlab.tasks import convex
from wdlab.tasks.convex import Quadratic, descend, rest

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)  # the problems are tiny, and "equal" shall mean equal

# %% tags=["parameters"]
scale = os.environ.get("WDLAB_SCALE", "demo")  # "ci" proves that it runs, "demo" is for you, "gpu" has more seeds
seed_offset = 0  # the first seed; take your own
device = "auto"

# %% [markdown]
# ## Commit to a guess
#
# There are two ways to write weight decay of strength λ. Add the penalty (λ/2)‖w‖² to the loss, whose gradient is λw: that is
# **l2**. Or leave the loss alone and multiply the weights by 1 − lr λ at every step: that is **decoupled**. Both start from the
# same weights, with the same learning rate and the same λ, and train for a long time. Commit before you run on, and then run on
# with *Run Selected Cell and All Below*: *Run All* asks anew, forgets your answers and goes straight to the results.

# %%
predictions = Predictions()
PLACES = ["at the same point, by the same path", "at the same point, by different paths", "at different points"]
ENDS = ["where it ends without decay", "somewhere between", "where it ends with decay throughout"]
display(
    predictions.ask("sgd", "Plain SGD: where do l2 and decoupled decay end?", PLACES),
    predictions.ask("momentum", "SGD with momentum 0.9: where do they end?", PLACES),
    predictions.ask("adam", "Adam: where do they end?", PLACES),
    predictions.ask(
        "ridge", "Linear regression until nothing moves, decay in the first half only: where does it end?", ENDS
    ),
)

# %% [markdown]
# ## By hand
#
# A loss in two weights is a bowl; `best` is its lowest point. Here is gradient descent on it, with both ways of
# decaying. Each is one line, and both lines are marked.

# %%
curvature = torch.tensor([[0.8, 0.3], [0.3, 0.5]])
best, start = torch.tensor([2.0, 1.0]), torch.tensor([-1.5, 2.5])
lr, weight_decay, steps = 0.1, 0.3, 300


def train_by_hand(coupling, momentum=0.0):
    w, buffer, path = start, torch.zeros(2), [start]
    for _ in range(steps):
        g = curvature @ (w - best)  # the gradient of the loss
        if coupling == "l2":
            g = g + weight_decay * w  # <- l2: the penalty's gradient joins that of the loss
        buffer = momentum * buffer + g
        if coupling == "decoupled":
            w = (1 - lr * weight_decay) * w  # <- decoupled: the weights shrink, and the buffer never hears of it
        w = w - lr * buffer
        path.append(w)
    return torch.stack(path)


# %%
problem = Quadratic(curvature, curvature @ best)  # the same bowl for wdlab, which draws it
marks = {"the minimum of the loss": best, "the minimum of loss + penalty": rest(problem, weight_decay)}
by_hand = {coupling: train_by_hand(coupling) for coupling in ("l2", "decoupled")}
draw.trajectories(problem, by_hand, marks, "Plain SGD, by hand")

# %% [markdown]
# The thin line lies on the thick one from start to end. It has to, for the two updates are the same expression:
#
# $$w - \mathrm{lr}\,(g + \lambda w) \;=\; (1 - \mathrm{lr}\,\lambda)\,w - \mathrm{lr}\,g .$$
#
# That is Proposition 1 of Loshchilov and Hutter. They write the decay without the learning rate, so there the two agree
# when the penalty's λ is their λ divided by the learning rate. Keep that in mind for the exercises.
#
# Both come to rest where the pull of the loss and the pull of decay cancel, g + λw = 0: at the minimum of loss plus
# penalty, short of the minimum of the loss, on the side of the origin.
#
# ### Now with momentum
#
# Nothing changes but one argument.

# %%
with_momentum = {coupling: train_by_hand(coupling, momentum=0.9) for coupling in ("l2", "decoupled")}
draw.trajectories(problem, with_momentum, marks, "SGD with momentum, by hand")

# %% [markdown]
# Now they part, and they do not meet again. The buffer is the reason. It adds up what it is given, so that a constant
# push ends up 1/(1 − momentum) times as strong. An l2 penalty goes through the buffer together with the loss, and both
# grow alike. Decoupled decay stays outside: the loss grows stronger and decay does not. So it rests where
# g/(1 − momentum) + λw = 0, much closer to the minimum of the loss.

# %% [markdown]
# ## What lr × λ decides, and what λ decides alone
#
# At each step decay multiplies the weights by 1 − lr λ. Only the product counts for that. Here are three pairs with one
# product: on the left without any gradient, on the right on the bowl.

# %%
pairs = [(0.1, 0.1), (0.02, 0.5), (0.5, 0.02)]
flat = Quadratic(torch.zeros(2, 2), torch.zeros(2))


def norms(loss):
    paths = {f"lr {a:g}, λ {b:g}": descend(loss, Decay(b), 1000, lr=a, start=start) for a, b in pairs}
    return {label: path.norm(dim=1) for label, path in paths.items()}


draw.lines({"no gradient": norms(flat), "on the bowl": norms(problem)}, "weight norm")

# %% [markdown]
# On the left the three lines are one. On the right they start at one point and end apart, because the place of rest,
# g + λw = 0, knows λ and nothing of the learning rate. So *lr × λ is how fast decay acts; λ is how far it goes.* (With
# BatchNorm this changes again: a network in which the scale of the weights does not matter has no such place of rest.)
#
# **Which weights?** Here all of them decay. In networks this course decays matrices and kernels, and leaves biases and
# the scales and shifts of BatchNorm alone. torch's optimizers decay everything they are given; the choice is yours to make.

# %% [markdown]
# ## The same through the library
#
# In `wdlab` a coupling is five numbers, which say where d = λw enters the update: into the first moment *m* (the buffer),
# into the second moment *v*, into a buffer of its own, divided by √v, or straight onto the weights. (*m* gathers gradients:
# it is SGD's buffer, and in Adam their running mean. *v*, which only Adam has, is the running mean of their squares, and Adam
# divides each step by √v.)

# %%
rows = [f"| `{name}` | " + " | ".join(f"{n:g}" for n in COUPLINGS[name].numbers) + " |" for name in ("l2", "decoupled")]
display(Markdown("\n".join(["| coupling | m | v | own | adapt | post |", "|---|---|---|---|---|---|", *rows])))


def through_wdlab(**optimizer):
    decays = {coupling: Decay(weight_decay, coupling=coupling) for coupling in ("l2", "decoupled")}
    return {name: descend(problem, decay, steps, lr=lr, start=start, **optimizer) for name, decay in decays.items()}


again = through_wdlab(momentum=0.9)
difference = max((again[name] - with_momentum[name]).abs().max().item() for name in again)
display(Markdown(f"Largest difference between these paths and those by hand: {difference:.1g}."))
draw.trajectories(problem, again, marks, "SGD with momentum, through wdlab")

# %% [markdown]
# The same plot again. And now the optimizer that most large networks are trained with:

# %%
adam = through_wdlab(optimizer="adam", betas=(0.9, 0.95))
draw.trajectories(problem, adam, marks, "Adam, through wdlab")

# %% [markdown]
# Adam divides each weight's step by the recent size of that weight's gradient. An l2 penalty is part of the gradient, so
# it is divided like the rest, and the path ends at the minimum of loss plus penalty as before. Decoupled decay is *not*
# divided. A steady gradient, however small, gives a step of about lr; decay answers with lr λ|w|. The two balance only
# where λ|w| = 1. Inside this fence at 1/λ the loss wins, and the path ends at the minimum of the loss itself.
#
# Real gradients come from small batches and are noisy, and noise changes the picture. The step of a weight with a noisy
# gradient is divided by a large number: the loss pulls the weight less, and decay holds it more.

# %% [markdown]
# ## Turn it yourself
#
# 1. With **SGD**, try to part the two lines. Which dials can do it?
# 2. **SGD with momentum**: is there a λ, strong or weak, that brings the two ends together? (Other than one so weak that
#    neither moves the end.)
# 3. **Adam** without noise: raise λ until AdamW's resting point leaves the minimum of the loss. Where is the fence?
# 4. **Adam** with **equal** noise of size 1, then with **unequal** noise. Which of the two brings l2 and AdamW together?
# 5. Any optimizer, decay in the **first half** only. Where does the path end, and why there?

# %%
Trajectory(optimizer="Adam", noise="unequal", lr=0.05)

# %% [markdown]
# ### And in a network?
#
# Here is the **Lab** of notebook 00 with dials for optimizer and coupling in place of that for timing. It has trained a
# network under *plain SGD*, once with l2 and once with decoupled decay. The thin line is the first run and the bold one
# the second; where you see only one, the thin one lies beneath it. Where they part a little, rounding does it: a
# network, unlike a bowl, lets a difference in the last digit grow.
#
# Now choose **SGD**, which here means with momentum 0.9 (in the picture above it meant without), and press **Run** under
# both couplings at the same λ; then **Adam**. Look at the weight norms: which λ of decoupled decay ends where l2 ends?

# %%
lab = Lab(
    show=("optimizer", "coupling", "weight_decay", "lr"),
    steps=40 if scale == "ci" else 600,
    seed=seed_offset,
    device=device,
    curves=("weight_norm", "test_error"),
)
lab.run(optimizer="plain_sgd", coupling="l2")
lab.wait()  # the Lab makes one run at a time
lab.run(coupling="decoupled")
lab

# %% [markdown]
# ## The measurement
#
# One bowl is an example. The claims below try many bowls in ten weights, each drawn at random from its seed, and say
# beforehand what would count. A *gap* is the distance between the two ends (for plain SGD the largest on the whole way;
# for Adam, which hovers, an end is the mean over the second half), measured by how far l2 decay moves the place of rest: a
# gap of 1 means that the difference between the couplings is as large as all that decay does. Each claim has a *control*,
# the same measurement where the claim must fail.


# %%
def check(name):
    return CLAIMS[name].check(scale=scale, seed_offset=seed_offset, device=device)


sgd = check("sgd-l2-is-decay")
sgd

# %%
momentum = check("momentum-parts-them")
momentum

# %% [markdown]
# For Adam the gradients carry noise, as those of small batches do, and its size differs from weight to weight. The
# control gives the noise of every weight the size 1. Adam then divides by about 1, and the two couplings must meet.

# %%
adam_claim = check("adam-parts-them")
adam_claim

# %%
same, apart = PLACES[0], PLACES[2]
display(
    predictions.reveal("sgd", same if sgd.holds else apart, f"The largest gap on the way was {-sgd.effect:.1g}."),
    predictions.reveal("momentum", apart if momentum.holds else same, f"The mean gap is {momentum.effect:.2f}."),
    predictions.reveal("adam", apart if adam_claim.holds else same, f"The mean gap is {adam_claim.effect:.2f}."),
)

# %% [markdown]
# Where, then, does AdamW rest? Proposition 3 of Loshchilov and Hutter gives a hint: if Adam divides the gradient of
# weight i by a constant sᵢ, decoupled decay is a penalty after all, (λ/2) Σ sᵢ wᵢ². Take the size of the noise for sᵢ
# and look:

# %%
seeds = list(sgd.seeds)
bowls, sizes = convex.quadratics(seeds), convex.gradient_sizes()
noise = convex.gradient_noise(seeds, convex.ADAM_STEPS, sizes)
guesses = {"λ/2 Σ wᵢ²": rest(bowls, convex.LAMBDA), "λ/2 Σ sᵢ wᵢ²": rest(bowls, convex.LAMBDA * sizes)}
unit = (guesses["λ/2 Σ wᵢ²"] - rest(bowls)).norm(dim=1)
lines = ["| distance to the minimum of the loss plus | from l2's end | from AdamW's end |", "|---|---|---|"]
ends = [convex.adam_end(bowls, coupling, noise) for coupling in ("l2", "decoupled")]
for label, guess in guesses.items():
    gaps = [((end - guess).norm(dim=1) / unit).mean() for end in ends]
    lines.append(f"| {label} | {gaps[0]:.3f} | {gaps[1]:.3f} |")
display(Markdown("\n".join(lines)))

# %% [markdown]
# Each coupling ends close to its own formula, in units of what l2 decay does, and far from the other's. AdamW penalizes
# weights with noisy gradients more; l2 under Adam penalizes all alike.

# %% [markdown]
# ## The convex case: no memory
#
# Linear regression with an l2 penalty is called ridge regression, and its answer has a closed form:
# w = (XᵀX/n + λI)⁻¹ Xᵀy/n. Gradient descent with decay must find it. What if decay acts in the first half only?

# %%
data = convex.regressions(seeds)  # one random regression a seed: 40 examples, 20 weights
x, y, count = data.inputs, data.targets.unsqueeze(-1), data.inputs.shape[1]
closed_form = torch.linalg.solve(x.mT @ x / count + 0.1 * torch.eye(20), x.mT @ y / count).squeeze(-1)
timings = [Timing.never(), Timing.always(), Timing.first(0.5)]
paths = {str(timing): descend(data.problem, Decay(0.1, timing), 1000, lr=1.0) for timing in timings}
far = (paths["always"][-1] - closed_form).abs().max().item()
display(Markdown(f"Largest difference between gradient descent with decay and the closed form: {far:.1g}."))
away = {label: (path - rest(data.problem)).norm(dim=-1).mean(1) for label, path in paths.items()}
draw.lines({"Distance from the minimum of the loss": away}, "distance")

# %% [markdown]
# While decay acts, *first 0.5* goes where *always* goes. When decay ends it turns around and walks to the minimum of the
# loss, the only place where it can rest. Along a direction of curvature h, each step multiplies what is left of decay's
# effect by 1 − lr h: the flattest direction remembers longest, and none remembers for ever. (Were there fewer examples than
# weights, the loss would be flat along some directions, and there 1 − lr h would be 1: what decay took along them would never
# come back.) So, once a run is long enough for decay to do its work, the longer it is, the less remains:

# %%
lengths = [20, 50, 100, 200, 500, 1000, 2000]
draw.traces({"distance from the end of never": {n: convex.trace_of_early_decay(seeds, n) for n in lengths}})

# %%
ridge = check("ridge-keeps-no-trace")
ridge

# %% tags=["nbval-check-output"]
for verdict in (sgd, momentum, adam_claim, ridge):
    print(f"{verdict.id}: {verdict.verdict}; control {verdict.control}")

# %% [markdown]
# The test loss tells the same story. λ was chosen so that decay throughout helps on average; decay that has ended leaves
# the test loss of *never*.

# %%
losses = {str(t): data.test_loss(convex.descent_end(data, t, 4000)).mean().item() for t in timings}
rows = [f"| {timing} | {loss:.4f} |" for timing, loss in losses.items()]
display(Markdown("\n".join(["| decay acts | mean test loss |", "|---|---|", *rows])))
left = -ridge.effect
answer = ENDS[0] if left < 0.01 else ENDS[1] if left < 0.99 else ENDS[2]
predictions.reveal("ridge", answer, f"Of what decay throughout does, {left:.1g} is left.")

# %% [markdown]
# ## Exercises
#
# ### 1. Two numbers
# difficulty 1 of 5 · importance 5 of 5 · 5 minutes
#
# **(a)** With lr 0.1 and λ 0.05 weights shrink by a certain factor at each step. At
# lr 0.02, which λ shrinks them by the same factor? **(b)** SGD with momentum 0.9 and an l2 penalty of λ 0.05 comes to rest
# somewhere. Which *decoupled* λ comes to rest at the same point?
#
# <details><summary>Hint for (a)</summary>What has to stay the same is 1 − lr λ.</details>
#
# <details><summary>Hint for (b)</summary>l2 rests where g + λw = 0, decoupled decay where g/(1 − momentum) + λ′w = 0. Solve
# both for g.</details>

# %% tags=["exercise"]
shrinks_alike = None  # (a) a number
rests_alike = None  # (b) a number

# %% tags=["solution"]
shrinks_alike = 0.1 * 0.05 / 0.02  # the product lr x lambda stays
rests_alike = 0.05 / (1 - 0.9)  # as much stronger as momentum makes the loss

# %%
display(chapter01.check_same_shrink(shrinks_alike), chapter01.check_same_rest(rests_alike))

# %% [markdown]
# ### 2. A step of SGD
# difficulty 1 of 5 · importance 5 of 5 · 5 minutes
#
# Write one step of plain SGD with weight decay. `w` and `g` are tensors.
#
# <details><summary>Hint</summary>Both parts of the step use the weights from before the step, and each has lr once.</details>


# %% tags=["exercise"]
def sgd_step(w, g, lr, weight_decay):
    """Return the weights after one step; g is the gradient of the loss alone."""


# %% tags=["solution"]
def sgd_step(w, g, lr, weight_decay):
    """Return the weights after one step; g is the gradient of the loss alone."""
    return (1 - lr * weight_decay) * w - lr * g


# %%
chapter01.check_sgd_step(sgd_step)

# %% [markdown]
# ### 3. Momentum, decoupled
# difficulty 3 of 5 · importance 5 of 5 · 10 minutes
#
# Now with momentum and **decoupled** decay. As in torch, the new buffer is
# momentum × buffer + gradient, and the step is lr times the new buffer.
#
# <details><summary>Hint 1</summary>Which of the two marked lines of <code>train_by_hand</code> do you need?</details>
#
# <details><summary>Hint 2</summary>Decay must leave no trace in the buffer. Return both: first w, then the buffer.</details>


# %% tags=["exercise"]
def momentum_step(w, g, buffer, lr, momentum, weight_decay):
    """Return the new weights and the new buffer."""


# %% tags=["solution"]
def momentum_step(w, g, buffer, lr, momentum, weight_decay):
    """Return the new weights and the new buffer."""
    buffer = momentum * buffer + g
    return (1 - lr * weight_decay) * w - lr * buffer, buffer


# %%
chapter01.check_momentum_step(momentum_step)

# %% [markdown]
# ### 4. Reading λ in a paper
# difficulty 1 of 5 · importance 3 of 5 · 5 minutes
#
# At a constant learning rate, a step of the AdamW paper takes away λw, and a step of torch's
# `AdamW` takes away lr × `weight_decay` × w. You read λ in the paper. What do you give to torch?
#
# <details><summary>Hint</summary>Both must take away the same.</details>


# %% tags=["exercise"]
def torch_weight_decay(lambda_paper, lr):
    """Return torch's weight_decay for the paper's lambda at learning rate lr."""


# %% tags=["solution"]
def torch_weight_decay(lambda_paper, lr):
    """Return torch's weight_decay for the paper's lambda at learning rate lr."""
    return lambda_paper / lr


# %%
chapter01.check_torch_lambda(torch_weight_decay)

# %% [markdown]
# ## What would change our mind
#
# * **The controls.** Had the gap under momentum been as large without momentum, or the gap under Adam as large with equal
#   noise, our reasons would be wrong even if the sentence at the top were right.
# * **"Converged" carries the weight.** A falling learning rate can end a run before it has forgotten. Here is the same
#   ridge regression, of the longest run above, with the learning rate schedule of notebook 03:

# %%
falling = Schedule("exponential").table(4000)
never, always, first = (convex.descent_end(data, timing, 4000, lr=falling) for timing in timings)
kept = ((first - never).norm(dim=1) / (always - never).norm(dim=1)).mean()
display(Markdown(f"Under a falling learning rate early decay keeps a trace of **{kept:.2f}** of full decay's effect."))

# %% [markdown]
# * So a trace of early decay is no proof that a loss is not convex; it may also be a run that stopped moving. Notebook 03
#   therefore trains its convex control to convergence, and asks what happens to networks when the learning rate stays up.
# * **Bowls are not networks.** In a bowl the curvature is the same everywhere and there is one minimum. Where Adam rests
#   depends on its noise, here normal and of constant size; in training it changes as training goes on.
# * **What the papers do that this notebook does not.** They compare the couplings on real tasks: image classification
#   (Loshchilov and Hutter), translation and games (Bjorck, Weinberger and Gomes); notebooks 08 and 09 come back to it,
#   on small ones. Equal λ, as here, shows that two methods differ, not which of them is better.

# %% [markdown]
# ## Your score

# %%
predictions.score()

# %% [markdown]
# **In three sentences.** Weight decay is one line, and under plain SGD it does not matter whether you write it as a
# penalty or as a shrinking of the weights. As soon as the optimizer treats the gradient, by adding it up or by dividing
# it, it matters whether decay is treated along with it. In a convex problem with one minimum, trained to its end, only the
# decay that still acts at the end counts, so if early decay matters in networks, the reason lies on their path.
#
# **Next:** [02 · Scale does not matter, step size does](02_scale_does_not_matter.ipynb), on what the length of weights does
# in a network. Then [03 · Early weight decay](03_early_weight_decay.ipynb), where the path does matter. Or back to
# [00 · Start here](00_start_here.ipynb) to play.
#
# ### References
#
# * I. Loshchilov, F. Hutter. *Decoupled Weight Decay Regularization.* ICLR 2019.
# * J. Bjorck, K. Weinberger, C. Gomes. *Understanding Decoupled and Early Weight Decay.* AAAI 2021.
# * A. Golatkar, A. Achille, S. Soatto. *Time Matters in Regularizing Deep Networks.* NeurIPS 2019.
