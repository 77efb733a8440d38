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
# # 00 · Start here
#
# **Weight decay is one line of code, and it matters at which time that line runs.**
#
# {{badges}} · {{minutes}} on two CPU cores · no GPU, no account, no cost

# %% [markdown]
# In this course you turn two dials, **when** weight decay acts and **how** it is coupled to the optimizer, and watch
# what each does to a network while it trains. You rebuild, with your own measurements, the findings of
# *Understanding Decoupled and Early Weight Decay* (Bjorck, Weinberger and Gomes, AAAI 2021). By the end you will be
# able to say, and to show, what weight decay does and what it does not do.
#
# **You need** to know PyTorch's training loop: batch, loss, gradient, step. You need not have read an optimizer.
#
# This first notebook checks that everything is in place and gives you the dial for *when*. It is meant to be played with;
# nothing here can break.

# %% [markdown]
# ## Is everything there?

# %%
import os

import torch
from IPython.display import Markdown, display

import wdlab
from wdlab.claims import versions
from wdlab.exercises import chapter00
from wdlab.lab import Lab, Predictions
from wdlab.train import pick_device

torch.set_num_threads(1)  # these networks are so small that two threads would mostly wait for each other

# %% tags=["parameters"]
scale = os.environ.get("WDLAB_SCALE", "demo")  # "ci" proves that it runs, "demo" is for you
seed_offset = 0  # another number, another network and another training set
device = "auto"  # "auto" takes a GPU when there is one

# %%
task = wdlab.TASKS["mnist1d"]
examples = task.arrays()  # made on first use, which takes some seconds, then kept
where = pick_device(device)
display(
    Markdown(
        f"All there: **wdlab {versions()['wdlab']}** with torch {versions()['torch']} on **{where}**. "
        f"MNIST-1D: {len(examples.labels):,} signals of {examples.inputs.shape[1]} numbers, {examples.classes} classes; "
        f"{task.train_size:,} to train on, {task.test_size:,} to test on."
    )
)

# %% [markdown]
# ## First, commit to a guess
#
# A guess you have written down teaches you more than one you only had. Nobody sees it but you (unless your teacher gathers
# answers, without names; the question then says so). Commit before you run on, and then run on with *Run Selected Cell and All
# Below*: *Run All* asks anew, forgets your answers and goes straight to the results.
#
# The network below trains for a fixed number of steps. Weight decay, left on all the time, usually lowers its test error.
# Suppose you switch decay on **only for the first quarter** of the training and then never again.

# %%
predictions = Predictions()
predictions.ask(
    "early",
    "Decay acts in the first quarter of training only. Where will the test error end?",
    ["near the run that never decays", "about half-way between", "near the run that always decays"],
)

# %% [markdown]
# ## Turn the dial
#
# This is the **Lab**, as it comes. One run has started by itself: decay acts all the time. Now it is your turn:
#
# 1. Choose **never** and press **Run**. Which moves apart sooner, the test error or the two curves below it?
# 2. Choose **early**, then **late**. The shaded part of each panel shows when decay acts.
# 3. Move the two handles to any window of your own. **Stop** stops within one step. (A closed tab does not: the kernel
#    goes on until you shut it down.)
#
# The weight norm is the length of all weight matrices taken as one long vector. The *effective learning rate* is lr/‖W‖²
# for a layer with weights W, averaged over the layers that are followed by BatchNorm. For these the scale of W changes
# nothing, and a step at lr turns W just as a step at lr/‖W‖² would turn the same weights scaled to norm 1. (Momentum
# lengthens all steps alike and is left out.)

# %%
steps = 40 if scale == "ci" else task.steps
lab = Lab(steps=steps, seed=seed_offset, device=device)
lab.run()
lab

# %% [markdown]
# The dial can be turned from code too. This cell clears the picture, puts λ and lr back, and makes the four runs that the
# guess is about, one after another, in the same Lab. When it has ended, compare the four lines.

# %%
lab.wait()
lab.clear()
errors = {}
for timing in ("never", "always", "early", "late"):
    lab.run(timing=timing, weight_decay=0.01, lr=0.1, seed=seed_offset)
    lab.wait()  # the Lab makes one run at a time
    errors[timing] = lab.histories[-1].curves["test_error"][-1]
rows = [f"| {timing} | {error:.3f} |" for timing, error in errors.items()]
display(Markdown("\n".join(["| decay acts | test error at the end |", "|---|---|", *rows])))

# %% [markdown]
# ## Was your guess right?
#
# The answer is read off the runs above: the gain of *early* over *never*, as a share of the gain of *always* over
# *never*.

# %%
gain = errors["never"] - errors["always"]
share = (errors["never"] - errors["early"]) / gain if gain > 0 else 0.0
answer = "near the run that always decays" if share > 2 / 3 else "about half-way between"
answer = answer if share > 1 / 3 else "near the run that never decays"
if gain > 0.005:
    display(predictions.reveal("early", answer, f"Here early decay had {share:z.0%} of the gain of always."))
else:
    display(Markdown("On this seed *always* gained next to nothing over *never*, so the guess is not scored."))

# %% [markdown]
# One network and one seed show a picture, not a finding: the next seed may tell it a little differently. Change
# `seed_offset` above, run all cells again, and see what stays. How to tell what stays from what was luck is the business
# of notebook 03, which measures the same over many seeds, with an interval and a control.

# %% [markdown]
# ## The other dial
#
# *When* decay acts is one dial. *How* it is coupled to the optimizer is the other. Adam divides every gradient by its own
# size, so it matters whether λw goes through that division (*l2*, a penalty in the loss) or around it (*decoupled*, as in
# AdamW). Both runs below use Adam; each coupling has a λ of its own, for one and the same λ would be far too little for the
# second. The rule beside the buttons shows where λw enters.
#
# 1. Choose another coupling and press **Run**. Does it need another λ to do as well?
# 2. Press **Run** again and then **Pause**, turn **Decay now** off, and go on. Where does the norm bend?
# 3. The lowest panel splits each step in two: the part that comes from the loss, and the part that comes from decay.

# %%
other = Lab(
    show=("optimizer", "coupling", "timing", "weight_decay"),
    steps=steps,
    seed=seed_offset,
    device=device,
    curves=("test_error", "weight_norm", "step_parts"),
)
other.run(optimizer="adam", coupling="l2", lr=0.01, weight_decay=0.01)
other.wait()
other.run(coupling="decoupled", weight_decay=1.0)
other

# %% [markdown]
# ## Exercises
#
# Fill in each stub and run the cell below it. The checker compares you with a reference, shows the smallest case in which
# you differ, and names the likely slip. It never stops the notebook.
#
# ### 1. How many steps?
# difficulty 1 of 5 · importance 3 of 5 · 2 minutes
#
# A run takes 1,200 steps, and its window of decay reaches from 10% to 25%. Change the number: in how many steps does decay
# act?
#
# <details><summary>A hint</summary>How long is the window, as a share of the run?</details>

# %% tags=["exercise"]
decayed_steps = None  # a number

# %% tags=["solution"]
decayed_steps = (0.25 - 0.10) * 1200

# %%
chapter00.check_decayed_steps(decayed_steps)

# %% [markdown]
# ### 2. The line itself
# difficulty 1 of 5 · importance 5 of 5 · 5 minutes
#
# At every step weight decay takes lr × λ × w away from each weight w. Write the line. `w` is a tensor, and here nothing but
# decay acts on it.
#
# <details><summary>A hint</summary>What is left of w is w − lr × λ × w. In which direction does a negative weight
# go?</details>


# %% tags=["exercise"]
def decayed(w, lr, weight_decay):
    """Return the weights after one step of decay alone."""


# %% tags=["solution"]
def decayed(w, lr, weight_decay):
    """Return the weights after one step of decay alone."""
    return w - lr * weight_decay * w  # every weight shrinks by the same share


# %%
chapter00.check_one_line(decayed)

# %% [markdown]
# ### 3. The timing, as a number
# difficulty 2 of 5 · importance 4 of 5 · 5 minutes
#
# wdlab turns every timing into one number a step, by which λ is multiplied: 1 where decay acts, 0 where it does not. Write
# it for a window from the share `start` of the run up to, and without, the share `stop`. Steps count from 0.
#
# <details><summary>Hint 1</summary><code>step</code> counts steps, and <code>start</code> is a share. At which step does the window
# start?</details>
#
# <details><summary>Hint 2</summary>The window from 0 to 0.5 of four steps holds the steps 0 and 1.</details>


# %% tags=["exercise"]
def multiplier(step, steps, start, stop):
    """Return 1 where decay acts and 0 where it does not."""


# %% tags=["solution"]
def multiplier(step, steps, start, stop):
    """Return 1 where decay acts and 0 where it does not."""
    return 1 if start * steps <= step < stop * steps else 0


# %%
chapter00.check_multiplier(multiplier)

# %% [markdown]
# ### 4. One thing at a time
# difficulty 2 of 5 · importance 5 of 5 · 5 minutes
#
# The Lab makes its runs from a `wdlab.Run`, and so will you from notebook 03 on. Here is one that decays in its first
# quarter. Make one that decays in its **last** quarter and differs in nothing else: where two things differ, nobody can
# say which of them mattered.
#
# <details><summary>Hint 1</summary><code>wdlab.Timing.after(0.5)</code> acts once half of the run is over.</details>
#
# <details><summary>Hint 2</summary>Copy the line and change the timing, or read up on <code>dataclasses.replace</code>.</details>

# %%
first_quarter = wdlab.Run(decay=wdlab.Decay(0.01, wdlab.Timing.first(0.25)), seed=1)

# %% tags=["exercise"]
last_quarter = None  # a wdlab.Run

# %% tags=["solution"]
last_quarter = wdlab.Run(decay=wdlab.Decay(0.01, wdlab.Timing.after(0.75)), seed=1)

# %%
chapter00.check_last_quarter(last_quarter)

# %% [markdown]
# ## Your score

# %%
predictions.score()

# %% [markdown]
# ## Where to go from here
#
# | notebook | what you will be able to say |
# |---|---|
# | [01 · What weight decay is](01_what_weight_decay_is.ipynb) | when an l2 penalty and weight decay are the same thing, and when not |
# | [02 · Scale does not matter, step size does](02_scale_does_not_matter.ipynb) | what the length of weights can change in a network with BatchNorm, and what it cannot |
# | [03 · Early weight decay](03_early_weight_decay.ipynb) | whether the first part of training is the one that counts, and how sure you can be |
# | [04 · The norm stays small](04_the_norm_stays_small.ipynb) | what is left of early decay at the end, and which part of it pays |
# | [05 · What sharpness forgets](05_what_sharpness_forgets.ipynb) | why a flat network need not be a good one, and what to measure instead |
# | [06 · Data grow the weights](06_data_grow_the_weights.ipynb) | how the data decide how fast weights grow |
# | [07 · Inside Adam](07_inside_adam.ipynb) | where λw enters Adam, and which weights pay for it |
# | [08 · Decoupled decay in translation](08_decoupled_decay_in_translation.ipynb) | how to compare couplings fairly, over a whole grid |
# | [09 · Decoupled decay in reinforcement learning](09_decoupled_decay_in_rl.ipynb) | what a grid made in the same way says of an agent, which plays for the data it learns from |
# | [10 · Easier to tune](10_easier_to_tune.ipynb) | what a few random trials reach, and which way the best λ moves with the learning rate |
#
# Teachers: every notebook opens with a question to commit to, ends with its score, and has exercises that check
# themselves. Each runs from a clean start with *Run All*. Where the environment variable `WDLAB_CLASS` names a file, scored
# answers are added to it without names, and `wdlab.lab.class_totals` reads them back as a table and a picture.
#
# **In three sentences.** Weight decay shrinks the weights a little at every step. A layer followed by BatchNorm computes
# the same whatever the scale of its weights, but the scale decides how far a gradient step turns them. Bjorck, Weinberger
# and Gomes report that a small norm regularizes because updates become larger relative to the weights; later notebooks put
# it to the test.
