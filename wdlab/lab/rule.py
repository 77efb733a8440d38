"""The update rule as a learner reads it: every place at which decay can enter, those of one coupling marked."""

from __future__ import annotations

from html import escape

from wdlab.decay import COUPLINGS
from wdlab.lab.controls import PALE, unseen
from wdlab.lab.dials import SPOKEN, idle

# {m} {v} {own} {adapt} {post} stand for the places of d, in the order of the five numbers.
ADAM = (
    "m ← EMA(g {m})",
    "v ← EMA((g {v})²)",
    "w ← w − lr · ( m̂/(√v̂+ε) {own} {adapt} {post} )",
)
SGD = ("b ← μ·b + g {inside}", "w ← w − lr · ( b {outside} )")
PLAIN = ("w ← w − lr · ( g {inside} {outside} )",)
RULES = {"adam": ADAM, "sgd": SGD, "plain_sgd": PLAIN}
TERMS = {"own": "+ ŝ/(√û+ε)", "adapt": "+ d/(√v̂+ε)"}  # the others are "+ d"
PLACES = ("m", "v", "own", "adapt", "post")
SPOKEN_PLACES = {
    "m": "the first moment m", "v": "the second moment v", "own": "two buffers of its own, s and u",
    "adapt": "the step, divided by the root of v", "post": "the step itself", "inside": "the momentum buffer b",
    "outside": "the step itself",
}  # fmt: skip
SAME = {"first_moment": "l2", "own_buffers": "l2", "adaptive": "decoupled"}  # under SGD, which has no second moment
HERE = {
    "l2": "λw joins the gradient in the momentum buffer b",
    "decoupled": "weights shrink by lr λ at every step, past the momentum buffer b",
}

ADVICE = {
    "adaptive": " Where v is tiny that is a huge decay: if the run diverges, lower λ.",
    "decoupled": " Next to the others it needs a large λ here, near 1.",
}


def places(optimizer: str, coupling: str) -> dict[str, bool]:
    """Return every place of the rule of `optimizer` at which decay can enter, and whether it does.

    >>> places("sgd", "decoupled")
    {'inside': False, 'outside': True}
    """
    active = dict(zip(PLACES, map(bool, COUPLINGS[coupling].numbers), strict=True))
    if optimizer == "adam":
        return active
    return {"inside": active["m"] or active["own"], "outside": active["adapt"] or active["post"]}


def rule(optimizer: str, coupling: str) -> str:
    """Return the update rule as HTML; active terms are bold, framed and named for a screen reader, the others pale."""
    found = places(optimizer, coupling)
    terms = {place: _term(TERMS.get(place, "+ d"), active) for place, active in found.items()}
    hanging = "padding-left:2em; text-indent:-2em"  # in a narrow place a line goes on below, between two terms
    rows = "".join(f'<div style="{hanging}">{row.format(**terms)}</div>' for row in RULES[optimizer])
    also = "d = λ·w when decay acts, else 0"
    also += "; s, u: EMA of d, d²" if found.get("own") else ""
    where = [SPOKEN_PLACES[place] for place, active in found.items() if active]
    where = ["the step itself, beside the gradient"] if optimizer == "plain_sgd" else where
    spoken = unseen(f"Decay enters {' and '.join(where)}.")
    style = "font-family:var(--jp-code-font-family, monospace); font-size:12px; line-height:1.7"
    return f'<div style="{style}">{spoken}{rows}<div style="opacity:.8">{escape(also)}</div></div>'


def _term(text: str, active: bool) -> str:
    if active:
        box = "border:1px solid currentColor; border-radius:3px; padding:0 3px; white-space:nowrap"
        return f'<strong title="decay enters here" style="{box}">{escape(text)}</strong>'
    return f'<span style="opacity:{PALE}; white-space:nowrap">{escape(text)}</span>'


def note(optimizer: str, coupling: str) -> str:
    """Return the coupling's sentence, which speaks of Adam, and what another `optimizer` makes of it."""
    says = COUPLINGS[coupling].says
    if optimizer == "adam":
        return says + ADVICE.get(coupling, "")
    said = f"Under Adam: {says} {_here(optimizer, coupling)}"
    for name in idle(optimizer):
        said += f" ({name} needs Adam: {SPOKEN[optimizer]} has no second moment, so it would do nothing here.)"
    return said


def _here(optimizer: str, coupling: str) -> str:
    """What is left of a coupling that does something where there is no second moment."""
    if optimizer == "plain_sgd":
        return (
            "Without momentum there is no buffer here: weights shrink by lr λ, and all couplings are one and the same."
        )
    if coupling in SAME:
        return f"The same as {SAME[coupling]} here, for SGD divides by no sqrt(v): {HERE[SAME[coupling]]}."
    return f"Here {HERE[coupling]}."
