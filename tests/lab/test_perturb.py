"""The Perturb: its dials, its numbers, its words, its picture, and what a cell keeps of it."""

from __future__ import annotations

import base64
import time
from dataclasses import asdict, replace
from typing import Any

import pandas as pd
import pytest
import torch

from wdlab import Decay, Model, Run, Timing, sweep
from wdlab.lab import Perturb
from wdlab.lab.perturb import (
    ALL,
    EXAMPLES,
    KINDS,
    PAIRS,
    RANGES,
    REACH,
    SIZES,
    STILL,
    Setting,
    _loaded,
    _told,
    default_networks,
)
from wdlab.measures.complexity import rescale_
from wdlab.measures.sharpness import NOISES, noise_sharpness
from wdlab.tasks import Batches
from wdlab.train import History

NEVER = Run(model=Model(width=16), decay=Decay(0.05, Timing.never()), seed=10_000, steps=400, evaluations=1)
ALWAYS = replace(NEVER, decay=Decay(0.05))
RELATIVE = [kind for kind in KINDS if kind != "absolute"]


@pytest.fixture(scope="module")
def nets() -> dict[str, History]:
    return dict(zip(("never", "always"), sweep([NEVER, ALWAYS], networks=True).histories, strict=True))


@pytest.fixture(scope="module")
def made(nets: dict[str, History]) -> Perturb:
    return Perturb(nets)


@pytest.fixture
def widget(made: Perturb) -> Perturb:
    made.turn(**asdict(Setting()))
    return made


def column(widget: Perturb, name: str) -> dict[str, float]:
    return dict(zip(widget.data["network"], widget.data[name], strict=True))


# What the dials do


TURNS: list[tuple[dict[str, Any], str, object]] = [
    ({}, "size", 0.1),
    ({}, "noise", "layer"),
    ({"noise": "layer"}, "noise", "filter"),
    ({"noise": "layer"}, "noise", "element"),
    ({}, "c", 4.0),
    ({"c": 4.0}, "to", "always"),
]


@pytest.mark.parametrize(("first", "dial", "value"), TURNS)
def test_a_turned_dial_changes_the_picture_the_data_and_the_words(
    widget: Perturb, first: dict[str, Any], dial: str, value: object
) -> None:
    widget.turn(**first)
    before = widget.image.value, widget.data.copy(), widget.alt
    widget.dials[dial].value = value
    assert getattr(widget.setting, dial) == pytest.approx(value)
    assert widget.image.value != before[0]
    assert not widget.data.equals(before[1])
    assert widget.alt != before[2]
    assert widget.alt in widget.words.value.replace("&#x27;", "'")


@pytest.mark.parametrize("noise", RELATIVE)
@pytest.mark.parametrize("c", [0.5, 5.0, 16.0])
def test_relative_noise_is_blind_to_c_at_every_size(widget: Perturb, noise: str, c: float) -> None:
    widget.turn(noise=noise, size=0.05)
    widget.dials["c"].value = c
    assert widget.data["times"].tolist() == pytest.approx([1, 1], abs=STILL)
    assert widget.curves["rise"].tolist() == pytest.approx(widget.curves["before"].tolist(), rel=STILL, abs=2e-5)
    assert "never's rise stayed" in widget.told and "always's rise stayed" in widget.told
    assert "flatter (" not in widget.told and "sharper (" not in widget.told


def test_absolute_noise_is_not(widget: Perturb) -> None:
    widget.dials["c"].value = 4.0
    assert (widget.data["times"] < 1 / 4).all()  # towards 1/16; the last layer, which c leaves alone, adds its share
    assert widget.told.count("times flatter") == 2
    widget.dials["c"].value = 0.5
    assert (widget.data["times"] > 2).all()
    assert widget.told.count("times sharper") == 2


def test_c_makes_either_network_the_flatter_one(widget: Perturb) -> None:
    for label in ("never", "always"):
        widget.turn(c=16.0, to=label)
        rises = column(widget, "rise")
        assert min(rises, key=rises.__getitem__) == label
        assert f"The lowest rise is that of {label}" in widget.told or f"are both those of {label}" in widget.told
    assert column(widget, "times")["never"] == 1.0  # the other one is not touched


def test_the_network_stays_what_it_is_and_its_norm_does_not(widget: Perturb) -> None:
    norms, losses, errors = (column(widget, name) for name in ("norm", "loss", "error"))
    widget.turn(c=10.0)
    assert column(widget, "loss") == pytest.approx(losses, rel=STILL)
    assert column(widget, "error") == pytest.approx(errors, abs=0.002)
    assert all(column(widget, "norm")[label] > 5 * norms[label] for label in norms)
    assert "left what the networks compute as it was" in widget.told


def test_each_kind_has_its_sentence(widget: Perturb) -> None:
    assert tuple(KINDS) == tuple(NOISES)
    for noise, sentence in KINDS.items():
        widget.dials["noise"].value = noise
        assert sentence in widget.sentence.value


# What the numbers are


@pytest.mark.parametrize("noise", KINDS)
def test_the_numbers_are_those_of_the_library(nets: dict[str, History], noise: str) -> None:
    widget = Perturb(nets, noise=noise, c=3.0, size=0.02, to="always")
    for label, factor in (("never", 1.0), ("always", 3.0)):
        subject, *_ = _loaded(nets[label])
        rescale_(subject.model, factor)
        found = noise_sharpness(subject, subject.generator(), 0.02, noise, PAIRS)
        assert column(widget, "rise")[label] == pytest.approx(float(found), rel=1e-6)
        assert f"{column(widget, 'rise')[label]:.3g} nats" in widget.alt


def test_norm_and_test_error_are_those_of_the_run(nets: dict[str, History], widget: Perturb) -> None:
    for label, history in nets.items():
        assert column(widget, "norm")[label] == pytest.approx(history.curves["weight_norm"][-1], rel=1e-5)
        assert column(widget, "error")[label] == pytest.approx(history.curves["test_error"][-1], abs=0.002)
        assert f"weight norm {history.curves['weight_norm'][-1]:.3g}" in widget.alt


def test_the_examples_are_those_the_network_learnt_from(nets: dict[str, History]) -> None:
    subject, _, labels = _loaded(nets["never"])
    task = NEVER.task
    arrays = task.arrays()
    learnt = Batches(task, [NEVER.seed], len(arrays.labels)).sets[0][:EXAMPLES]
    assert torch.equal(subject.inputs[0], arrays.inputs[learnt].double())
    assert torch.equal(subject.labels[0], arrays.labels[learnt])
    assert len(labels) == task.test_size
    noisy = replace(NEVER, task=replace(task, label_noise=0.5))
    assert not torch.equal(_loaded(replace(nets["never"], run=noisy))[0].labels, subject.labels)


def test_a_rise_that_changes_sign_is_no_factor(widget: Perturb) -> None:
    data = widget.data.assign(rise=[-0.1, 0.2], times=[-2.0, 4.0], before=0.05)
    told = _told(data, replace(widget.setting, c=2.0))
    assert "never's rise changed (0.05 became -0.1), always looks 4 times sharper (0.05 became 0.2)" in told


def test_more_noise_raises_the_loss_more(widget: Perturb) -> None:
    for noise in KINDS:
        widget.turn(noise=noise)
        for _, curve in widget.curves.groupby("network"):
            assert curve["size"].tolist() == list(SIZES)
            assert curve["rise"].is_monotonic_increasing


def test_a_size_that_the_curve_has_is_on_the_curve(widget: Perturb) -> None:
    widget.turn(size=0.1)
    on = widget.curves[widget.curves["size"] == 0.1].set_index("network")["rise"]
    assert column(widget, "rise") == on.to_dict()


def test_the_networks_are_left_as_they_are(nets: dict[str, History]) -> None:
    before = {name: tensor.clone() for name, tensor in nets["always"].network.items()}
    Perturb(nets, c=10.0, noise="filter")
    assert all(torch.equal(tensor, nets["always"].network[name]) for name, tensor in before.items())


def test_the_networks_of_chapter_03_are_ranked_the_wrong_way_round_by_absolute_noise_alone() -> None:
    widget = Perturb()
    never, always = widget.labels
    assert [history.run.seed for history in default_networks().values()] == [10_000, 10_000]
    assert column(widget, "error")[always] < column(widget, "error")[never]
    assert column(widget, "rise")[always] > 2 * column(widget, "rise")[never]
    assert f"that of {never}, the lowest test error that of {always}: flatter is not better" in widget.told
    for noise in RELATIVE:
        widget.dials["noise"].value = noise
        assert column(widget, "rise")[always] < column(widget, "rise")[never]
        assert f"are both those of {always}" in widget.told


# Networks of one's own


def test_networks_are_runs_or_histories(nets: dict[str, History]) -> None:
    mixed = Perturb({"never": NEVER, "always": nets["always"]})
    assert mixed.data.equals(Perturb(nets).data)
    assert mixed.labels == ("never", "always")


def test_of_several_networks_pairs_are_counted(nets: dict[str, History], widget: Perturb) -> None:
    data = pd.concat([widget.data, widget.data[:1]], ignore_index=True)
    told = _told(data.assign(rise=[0.3, 0.1, 0.2], error=[0.25, 0.5, 0.125]), widget.setting)
    assert "In 1 of 3 pairs of networks the one with the lower rise has the lower test error" in told
    several = Perturb({**nets, "late": replace(NEVER, decay=Decay(0.05, Timing.after(0.5)))})
    assert len(several.data) == 3 and "of 3 pairs" in several.told


def test_a_single_network(nets: dict[str, History]) -> None:
    widget = Perturb({"mine": nets["never"]}, c=2.0)
    assert len(widget.data) == 1 and "mine looks" in widget.told and "lowest" not in widget.told
    assert widget.dials["to"].options == ((ALL, ALL), ("mine", "mine"))


def test_a_convolutional_network(nets: dict[str, History]) -> None:
    run = Run(model=Model("resnet", width=2, depth=1), seed=10_000, steps=10, evaluations=1)
    widget = Perturb({"kernels": run, "matrices": nets["never"]}, noise="filter", size=0.1, c=3.0)
    assert widget.data["times"].tolist() == pytest.approx([1, 1], abs=STILL)


def test_networks_that_cannot_be_shown_are_refused_in_words(nets: dict[str, History]) -> None:
    never = nets["never"]
    plain = replace(NEVER, model=Model(width=4, norm=False), steps=5)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, r"networks=\[\] is not allowed; give 1 to 4"),
        ({"all": never}, "none called 'all'"),
        ({str(n): never for n in range(5)}, "give 1 to 4 by label"),
        ({"a": replace(never, network=None)}, r"networks\['a'\] is not allowed: give a Run, or a History from sweep"),
        ({"a": "never"}, "give a Run, or a History"),
        ({"a": replace(never, diverged_at=7)}, "not finite at step 7"),
        ({"a": plain}, "give one with BatchNorm"),
    ]
    for networks, said in wrong:
        with pytest.raises(ValueError, match=said):
            Perturb(networks)


# The widgets


def test_the_dials_offer_what_there_is(widget: Perturb) -> None:
    dials = widget.dials
    assert [value for _, value in dials["noise"].options] == list(KINDS)
    assert [value for _, value in dials["to"].options] == [ALL, "never", "always"]
    for dial in RANGES:
        assert not dials[dial].continuous_update and dials[dial].readout


@pytest.mark.parametrize("dial", RANGES)
def test_every_stop_of_the_sliders_is_allowed(widget: Perturb, dial: str) -> None:
    low, high = RANGES[dial]
    slider = widget.dials[dial]
    for stop in (slider.min, slider.max, slider.min + slider.step):
        slider.value = 10**stop
        assert low <= getattr(widget.setting, dial) <= high
        assert slider.value == getattr(widget.setting, dial)
    assert 10**slider.min < low and high <= 10**slider.max
    for stop in (0.0, -2.0) if dial == "size" else (0.0, 1.0):  # round numbers are among the stops
        assert (stop - slider.min) / slider.step == pytest.approx(round((stop - slider.min) / slider.step))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"size": 0.0}, "size=0.0 is not allowed"),
    ({"size": 2}, "size=2 is not allowed"),
    ({"size": float("nan")}, "size=nan is not allowed"),
    ({"c": 0.4}, "c=0.4 is not allowed"),
    ({"c": 17}, "c=17 is not allowed"),
    ({"noise": "filters"}, "did you mean 'filter'"),
    ({"to": "allways"}, "did you mean 'always'"),
    ({"kind": "layer"}, "dial='kind' is unknown"),
]


@pytest.mark.parametrize(("dials", "said"), BAD)
def test_what_is_not_allowed_is_refused_in_words(
    nets: dict[str, History], widget: Perturb, dials: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Perturb(nets, **dials)
    before = widget.setting, widget.image.value
    with pytest.raises(ValueError, match=said):
        widget.turn(**dials)
    assert said.replace("'", "&#x27;") in widget.status.value
    assert (widget.setting, widget.image.value) == before


def test_turning_from_code_moves_the_dials(widget: Perturb) -> None:
    widget.turn(size=0.3, noise="element", c=0.5, to="never")
    values = {name: dial.value for name, dial in widget.dials.items()}
    assert values == {"size": pytest.approx(0.3), "noise": "element", "c": pytest.approx(0.5), "to": "never"}
    assert KINDS["element"] in widget.sentence.value


def test_the_picture_shows_the_curves_the_size_and_where_they_were(widget: Perturb) -> None:
    drawn = widget._picture
    assert not any(one.before.get_visible() for one in drawn.artists) and not drawn.note.get_visible()
    widget.turn(c=4.0, to="always", size=0.05)
    assert [one.before.get_visible() for one in drawn.artists] == [False, True]
    assert drawn.note.get_visible()
    for (_, curve), one in zip(widget.curves.groupby("network", sort=False), drawn.artists, strict=True):
        assert list(one.curve.get_ydata()) == curve["rise"].tolist()
        assert list(one.before.get_ydata()) == curve["before"].tolist()
    assert [one.point.get_ydata()[0] for one in drawn.artists] == widget.data["rise"].tolist()
    assert list(drawn.size.get_xdata()) == [0.05, 0.05]


def test_what_lies_beyond_the_picture_is_drawn_at_its_edge(widget: Perturb) -> None:
    beyond = widget.data.assign(rise=[-1.0, 1e9])
    widget._picture.draw(beyond, widget.curves, widget.setting)
    low, high = (one.point.get_ydata()[0] for one in widget._picture.artists)
    assert REACH[0] < low < 2 * REACH[0] and REACH[1] / 2 < high < REACH[1]


def test_a_cell_shows_the_widget_and_keeps_the_picture(widget: Perturb, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append((bundle, raw)))
    widget._ipython_display_()
    ((bundle, raw),) = shown
    assert raw
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == widget._root.model_id
    assert base64.b64decode(bundle["image/png"]) == widget.image.value
    assert bundle["text/plain"] == widget.alt


def test_pictures_repeat_themselves_and_come_at_once(nets: dict[str, History]) -> None:
    first, second = Perturb(nets, c=3.0), Perturb(nets, c=0.6)
    second.dials["c"].value = 3.0
    assert first.image.value == second.image.value
    start = time.process_time()
    first.dials["c"].value = 1.5
    assert time.process_time() - start < 1.0  # 0.2 s of work, where nothing else is to be done


def test_torch_keeps_its_threads(nets: dict[str, History]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Perturb(nets)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_close_takes_the_widgets_away(nets: dict[str, History]) -> None:
    widget = Perturb(nets)
    widget.close()
    assert widget._root.comm is None
