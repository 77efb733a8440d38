"""The setting as text: what goes out comes back, and nothing else gets in."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wdlab
from wdlab.lab import Dials, Lab
from wdlab.lab.dials import MOST_SEEDS, SCHEDULES, TIMINGS
from wdlab.lab.link import LONGEST, Setting, pack, unpack
from wdlab.lab.panel import EVERY
from wdlab.lab.quantities import PANELS, QUANTITIES
from wdlab.lab.usual import NAMED, usual
from wdlab.tasks import DQN, Translation

SMALL = wdlab.Model(width=4, depth=1)


def small(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, exclude_min=True)


DIALS = st.builds(
    Dials,
    timing=st.sampled_from(TIMINGS),
    window=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda ends: tuple(sorted(ends))),
    weight_decay=small(0, 100),
    lr=small(0, 100),
    seed=st.integers(0, 2**62),
    schedule=st.sampled_from(list(SCHEDULES)),
    label_noise=st.none() | st.floats(0, 1),
    train_size=st.none() | st.integers(128, 4000),
    augment=st.none() | st.just(False),
    optimizer=st.sampled_from(["sgd", "plain_sgd", "adam"]),
    coupling=st.sampled_from([name for name in wdlab.COUPLINGS if name != "second_moment"]),
    seeds=st.integers(1, MOST_SEEDS),
    task=st.none() | st.sampled_from(["mnist1d", "fashion"]),
)
NAME = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
TRANSLATION = st.builds(Translation, name=NAME, train_size=st.integers(50, 400), epochs=st.integers(1, 99))
GAME = st.builds(
    DQN,
    name=NAME,
    environment=st.sampled_from(["cartpole", "breakout"]),
    gamma=st.floats(0, 1),
    double=st.booleans(),
    n_step=st.integers(1, 5),
)
VISION = st.builds(
    wdlab.Vision,
    name=NAME,
    train_size=st.integers(200, 4000),
    label_noise=st.floats(0, 1),
    augment=st.sampled_from([(), ("shift",), ("shift", "noise")]),
    classes=st.none() | st.integers(2, 10),
)
TASK = st.sampled_from(list(NAMED)) | VISION | TRANSLATION | GAME
SETTINGS = st.builds(
    Setting,
    task=TASK,
    model=st.builds(wdlab.Model, width=st.integers(1, 300), depth=st.integers(1, 9), norm=st.booleans()),
    steps=st.none() | st.integers(1, 5000),
    show=st.lists(st.sampled_from(EVERY), unique=True).map(tuple),
    curves=st.lists(st.sampled_from(list(QUANTITIES)), unique=True, min_size=1).map(tuple),
    dials=DIALS,
)


@given(SETTINGS)
def test_what_is_packed_is_unpacked(setting: Setting) -> None:
    link = pack(setting)
    found = unpack(link)
    same = NAMED[found.task] if isinstance(found.task, str) else found.task
    asked = NAMED[setting.task] if isinstance(setting.task, str) else setting.task
    assert same == asked and replace(found, task=setting.task) == setting
    assert pack(found) == link and len(link) <= LONGEST and link.isascii()


@settings(max_examples=5, deadline=None)
@given(
    SETTINGS.filter(lambda setting: setting.task in ("mnist1d", "fashion") or isinstance(setting.task, wdlab.Vision))
)
def test_a_lab_opened_from_a_link_stands_exactly_there(setting: Setting) -> None:
    lab = Lab.from_link(pack(setting), device="cpu")
    again = Lab.from_link(lab.link(), device="cpu")
    try:
        assert lab.dials == again.dials == setting.dials
        assert again.link() == lab.link() == pack(setting)
        assert again.panel.controls["timing"].value == setting.dials.timing
        assert again.desk.link.value == lab.link()
    finally:
        lab.close()
        again.close()


def test_the_link_follows_the_dials_and_a_run_from_it_is_the_same_run() -> None:
    lab = Lab(model=SMALL, steps=4, device="cpu", block=True)
    lab.panel.controls["timing"].value = "late"
    lab.panel.controls["lr"].value = 0.1**1.5
    link = lab.desk.link.value
    assert link == lab.link() and json.loads(link)["dials"]["timing"] == "late"
    lab.run()
    other = Lab.from_link(link, device="cpu", block=True)
    other.run()
    assert [h.run for h in other.histories] == [h.run for h in lab.histories]
    other.reset()
    assert other.link() == link, "Reset goes back to where the link was"
    lab.close()
    other.close()


GOOD = json.loads(pack(Setting("mnist1d", SMALL, 4, ("timing",), PANELS, Dials())))


def changed(path: str, value: object) -> str:
    copy = json.loads(json.dumps(GOOD))
    *outer, last = path.split(".")
    place = copy
    for key in outer:
        place = place[key]
    place[last] = value
    return json.dumps(copy)


def said(task: object) -> dict[str, object]:
    return {"kind": type(task).__name__, **asdict(task)}


BAD = {
    "": "is not a setting of the Lab, which is JSON",
    "lab": "which is JSON",
    "[]": r"^link=\[\] is not allowed; give an object with",
    "null": "give an object with",
    "{}": "^link lacks wdlab_lab",
    "[" * 3000: "nested too deeply",
    "{" * 3000: "nested too deeply",
    " " * 10**6: "1,000,000 characters is not allowed",
    '{"wdlab_lab":1,"wdlab_lab":1}': "a key comes twice",
    "__import__('os').system('true')": "which is JSON",
    '{"__class__":"os.system"}': "key of link='__class__' is unknown",
    changed("wdlab_lab", 0): "^wdlab_lab=0 is not allowed",
    changed("wdlab_lab", 3): "^wdlab_lab=3 is not allowed",
    changed("wdlab_lab", "1"): "^wdlab_lab='1' is not allowed",
    changed("wdlab_lab", 1).replace('"mnist1d"', "3"): "^task=3 is not allowed",
    changed("wdlab_lab", 1).replace('"mnist1d"', json.dumps(said(DQN()))): "^key of task=",
    changed("extra", 1): "key of link='extra' is unknown",
    changed("dials.extra", 1): "key of dials='extra' is unknown",
    changed("dials.lr", "0.1"): "^lr='0.1' is not allowed",
    changed("dials.lr", float("nan")): "NaN is not a number",
    changed("dials.lr", float("inf")): "Infinity is not a number",
    changed("dials.lr", -1): "^lr=-1 is not allowed",
    changed("dials.lr", True): "^lr=True is not allowed",
    changed("dials.lr", [0.1]): "^lr=.* is not allowed",
    changed("dials.lr", {"a": 1}): "^lr=.* is not allowed; give a plain value",
    changed("dials.window", [0.1]): r"give two fractions|takes|is not allowed",
    changed("dials.window", "ab"): r"is not allowed",
    changed("dials.window", None): r"is not allowed",
    changed("dials.seeds", 10**9): "^seeds=1000000000 is not allowed",
    changed("dials.seed", 10**300): "^seed=",
    changed("dials.train_size", 10**12): "^train_size=",
    changed("dials.timing", "<script>"): "^timing='<script>' is unknown",
    changed("dials.task", "../../etc/passwd"): "^task=.* is unknown",
    changed("dials.augment", 1): "^augment=1 is not allowed",
    changed("dials", []): r"^dials=\[\] is not allowed; give an object",
    changed("model.width", 10**8): "^width=100000000 is not allowed",
    changed("model.width", 4.0): "^width=4.0 is not allowed",
    changed("model.norm", 1): "^norm=1 is not allowed; give true or false",
    changed("model.name", None): "^model=None is unknown",
    changed("steps", 10**9): "^steps=1000000000 is not allowed",
    changed("steps", "4"): "^steps='4' is not allowed",
    changed("task", "imagenet"): "^task='imagenet' is unknown",
    changed("task", "iwslt"): "^task='iwslt' is unknown",
    changed("task", 3): "^task=3 is not allowed; give a name, or an object with a kind",
    changed("task", {"name": "x"}): "^task={'name': 'x'} is not allowed; give a name, or an object with a kind",
    changed("task", {"kind": "Vision", "name": "x"}): "^task lacks",
    changed("task", {"kind": "os.system"}): "^kind='os.system' is unknown",
    changed("task", {"kind": ["Vision"]}): "an object with a kind",
    changed("task", said(wdlab.Vision()) | {"name": "=cmd()"}): "^name='=cmd\\(\\)' is not allowed",
    changed("task", said(wdlab.Vision()) | {"test_size": 10**9}): "^test_size=",
    changed("task", said(wdlab.Vision()) | {"augment": None}): "^augment=None is not allowed",
    changed("task", said(DQN()) | {"environment": "atari/Breakout"}): "^environment='atari/Breakout' is unknown",
    changed("task", said(DQN()) | {"environment": "../x"}): "^environment=",
    changed("task", said(DQN()) | {"environment": None}): "^environment=",
    changed("task", said(DQN()) | {"replay": 10**12}): "^replay=",
    changed("task", said(DQN()) | {"replay": 150_000}): "^replay=150000 is not allowed",
    changed("task", said(DQN()) | {"test_size": 50_000}): "^test_size=50000 is not allowed",
    changed("task", said(DQN()) | {"test_size": 201}): "^test_size=201 is not allowed",
    changed("task", said(DQN()) | {"warmup": 20_001}): "^warmup=20001 is not allowed",
    changed("task", said(DQN()) | {"train_every": 101}): "^train_every=101 is not allowed",
    changed("task", said(DQN()) | {"frames": 10**7}): "^frames=10000000 is not allowed",
    changed("task", said(DQN()) | {"batch_size": 50_000}): "^batch_size=50000 is not allowed",
    changed("task", said(DQN()) | {"n_step": 1000}): "^n_step=1000 is not allowed",
    changed("task", said(DQN()) | {"double": "yes"}): "^double='yes' is not allowed; give true or false",
    changed("task", said(DQN()) | {"gamma": "1"}): "^gamma='1' is not allowed",
    changed("task", said(DQN()) | {"name": "<b>"}): "^name='<b>' is not allowed",
    changed("task", said(Translation()) | {"train_size": 10**9}): "^train_size=",
    changed("show", "timing"): "^show='timing' is not allowed; give a list of names",
    changed("show", [1]): "^show=.* is not allowed",
    changed("curves", {}): "^curves=.* is not allowed",
}


@pytest.mark.parametrize("link", BAD, ids=range(len(BAD)))
def test_anything_else_is_refused_in_words(link: str) -> None:
    with pytest.raises(ValueError, match=BAD[link]) as caught:
        unpack(link)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("show", ["colour"], "^show='colour' is unknown"),
        ("curves", [], r"^curves=\(\) is not allowed"),
        ("curves", ["loss"], "^curves='loss' is unknown"),
        ("dials.weight_decay", 0, "^weight_decay=0 is not allowed in the Lab"),
        ("dials.coupling", "second_moment", "^coupling='second_moment' does nothing under SGD"),
    ],
)
def test_what_no_lab_can_be_is_refused_when_it_is_opened(path: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Lab.from_link(changed(path, value), device="cpu")


def test_a_game_is_held_tighter_than_images_are_and_no_tighter() -> None:
    most = DQN(name="own", frames=10**6, warmup=20_000, replay=100_000, train_every=100, test_size=200)
    assert unpack(changed("task", said(most))).task == most
    images = wdlab.Vision("own", test_size=10_000)
    assert unpack(changed("task", said(images))).task == images


FIRST = (
    '{"wdlab_lab":1,"task":{"name":"own","source":"mnist1d","train_size":500,"test_size":2000,"batch_size":128,'
    '"image_size":14,"epochs":40,"augment":[],"label_noise":0.2,"classes":null},"model":{"name":"mlp","width":4,'
    '"depth":1,"norm":true,"blocks":1},"steps":4,"show":["timing"],"curves":["test_error"],"dials":{"timing":"late",'
    '"window":[0.25,0.75],"weight_decay":0.01,"lr":0.1,"seed":0,"schedule":"falls to 0.2%","label_noise":null,'
    '"train_size":null,"augment":null,"optimizer":"sgd","coupling":"l2","seeds":1,"task":null}}'
)
"""As a Lab of version 1 made it."""


def test_a_link_of_the_first_version_opens_what_it_said_then() -> None:
    task = wdlab.Vision("own", train_size=500, label_noise=0.2)
    setting = Setting(task, SMALL, 4, ("timing",), ("test_error",), Dials("late"))
    assert unpack(FIRST) == setting
    assert unpack(changed("wdlab_lab", 1)) == unpack(json.dumps(GOOD)), "a task by its name, too"
    lab = Lab.from_link(FIRST, device="cpu")
    assert lab.link() == pack(setting) and json.loads(lab.link())["wdlab_lab"] == 2
    lab.close()


@pytest.mark.parametrize("link", [None, 3, b"{}", ["{}"]])
def test_only_text_is_a_link(link: object) -> None:
    with pytest.raises(ValueError, match="give the string that"):
        unpack(link)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.text(max_size=200) | JSON.map(json.dumps))
def test_no_text_does_anything_but_raise_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        unpack(text)


@settings(deadline=None)
@given(st.sampled_from(["cartpole", "translation"]), st.sampled_from(sorted(asdict(DQN()))), JSON)
def test_any_value_in_any_field_of_a_task_is_taken_or_refused_in_words(name: str, key: str, value: object) -> None:
    task = said(replace(NAMED[name], name="own"))
    if key not in task:
        key = "batch_size"
    try:
        found = unpack(changed("task", task | {key: value}))
    except ValueError:
        return
    assert unpack(pack(found)) == found and usual(found.task)


PLACES = [f"{part}.{key}" for part in ("dials", "model") for key in GOOD[part]] + list(GOOD)


@settings(deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_any_value_in_any_place_is_taken_or_refused_in_words(path: str, value: object) -> None:
    try:
        found = unpack(changed(path, value))
    except ValueError:
        return
    assert unpack(pack(found)) == found
