import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wdlab.decay import Timing

property_test = settings(deadline=None, max_examples=80)

fractions = st.floats(0, 1)
coarse = st.integers(0, 16).map(lambda n: n / 16)
steps = st.integers(1, 300)


@st.composite
def windows(draw: st.DrawFn, fraction: st.SearchStrategy[float] = fractions) -> Timing:
    start, stop = sorted((draw(fraction), draw(fraction)))
    return Timing.window(start, stop)


@st.composite
def cyclicals(draw: st.DrawFn, peak: st.SearchStrategy[float] = fractions) -> Timing:
    low, high = sorted((draw(st.floats(0, 5)), draw(st.floats(0, 5))))
    return Timing.cyclical(low, high, draw(st.integers(1, 5)), draw(peak))


timings = st.one_of(fractions.map(Timing.first), fractions.map(Timing.after), windows(), cyclicals())


@property_test
@given(fractions, steps)
def test_first_and_after_split_every_run(fraction: float, steps: int) -> None:
    parts = Timing.first(fraction).table(steps) + Timing.after(fraction).table(steps)
    assert torch.equal(parts, torch.ones(steps, dtype=torch.float64))


@property_test
@given(fractions, steps)
def test_whole_windows_are_always_and_empty_ones_never(fraction: float, steps: int) -> None:
    always, never = Timing.always().table(steps), Timing.never().table(steps)
    assert always.eq(1).all() and never.eq(0).all()
    assert torch.equal(Timing.window(0, 1).table(steps), always)
    assert torch.equal(Timing.window(fraction, fraction).table(steps), never)
    assert Timing.window(0, 1) == Timing.always()  # labels are for people and do not count


@property_test
@given(timings, steps)
def test_a_table_has_a_multiplier_in_bounds_for_every_step(timing: Timing, steps: int) -> None:
    table = timing.table(steps)
    assert table.shape == (steps,) and table.dtype == torch.float64
    assert (table >= timing.low).all() and (table <= timing.high).all()


@property_test
@given(fractions, fractions, steps)
def test_a_window_decays_for_its_share_of_the_steps(a: float, b: float, steps: int) -> None:
    table = Timing.window(min(a, b), max(a, b)).table(steps)
    assert abs(table.sum().item() - abs(a - b) * steps) <= 1 + 1e-9
    assert table.diff().abs().sum() <= 2  # on once, off once


@pytest.mark.parametrize(("fraction", "steps", "decayed"), [(0.29, 100, 29), (0.5, 3, 2), (0.49, 3, 1), (0.1, 4, 0)])
def test_a_boundary_is_rounded_to_the_nearest_step(fraction: float, steps: int, decayed: int) -> None:
    assert Timing.first(fraction).table(steps).tolist() == [1.0] * decayed + [0.0] * (steps - decayed)


@property_test
@given(st.tuples(fractions, fractions, fractions, fractions).map(sorted), steps)
def test_a_wider_window_decays_wherever_a_narrower_one_does(ends: list[float], steps: int) -> None:
    wide, narrow = Timing.window(ends[0], ends[3]), Timing.window(ends[1], ends[2])
    assert (wide.table(steps) >= narrow.table(steps)).all()


@property_test
@given(cyclicals(st.floats(0.01, 0.99)), steps)
def test_a_cycle_starts_and_ends_low(timing: Timing, steps: int) -> None:
    table = timing.table(steps)
    assert table[0] == timing.low and (steps == 1 or table[-1] == timing.low)


def test_cyclical_is_a_triangle_with_its_peak_where_asked() -> None:
    low, high = 0.5, 2.0
    assert Timing.cyclical(low, high).table(5).tolist() == [0.5, 1.25, 2.0, 1.25, 0.5]
    assert Timing.cyclical(low, high, cycles=2).table(5).tolist() == [0.5, 2.0, 0.5, 2.0, 0.5]
    assert Timing.cyclical(low, high, peak=0.25).table(5).tolist() == [0.5, 2.0, 1.5, 1.0, 0.5]
    assert Timing.cyclical(low, high, peak=0.0).table(4).tolist() == [2.0, 1.5, 1.0, 0.5]
    assert Timing.cyclical(low, high, peak=1.0).table(4).tolist() == [0.5, 1.0, 1.5, 2.0]


@property_test
@given(st.one_of(windows(coarse), cyclicals()), steps)
def test_what_needs_no_steps_is_constant(timing: Timing, steps: int) -> None:
    if not timing.needs_steps:
        assert timing.table(steps).unique().numel() == 1


@property_test
@given(windows(coarse))
def test_what_needs_steps_is_not_constant(timing: Timing) -> None:
    assert timing.needs_steps == (timing.table(16).unique().numel() == 2)


def test_which_timings_need_steps() -> None:
    needed = [Timing.first(0.5), Timing.after(0.5), Timing.window(0.2, 0.4), Timing.cyclical()]
    free = [Timing.always(), Timing.never(), Timing.first(1), Timing.first(0), Timing.of(float)]
    assert all(t.needs_steps for t in needed) and not any(t.needs_steps for t in free)


@property_test
@given(timings, st.integers(1, 50), st.integers(0, 80))
def test_at_reads_the_table_and_holds_its_last_entry(timing: Timing, steps: int, step: int) -> None:
    assert timing.at(step, steps) == timing.table(steps)[min(step, steps - 1)]


def test_at_without_steps_serves_what_does_not_need_them() -> None:
    assert [Timing.always().at(step) for step in (0, 9)] == [1, 1]
    assert [Timing.never().at(step) for step in (0, 9)] == [0, 0]
    assert [Timing.of(lambda step: step / 2).at(step) for step in (0, 9)] == [0, 4.5]
    with pytest.raises(ValueError, match="steps=None is not allowed; give a whole number of at least 1"):
        Timing.first(0.5).at(0)


def test_a_function_is_read_at_each_step() -> None:
    timing = Timing.of(lambda step: 1 / (1 + step))
    assert timing.table(4).tolist() == [1, 1 / 2, 1 / 3, 1 / 4]
    assert timing.at(9, steps=4) == 1 / 4


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (Timing.always(), "always"),
        (Timing.never(), "never"),
        (Timing.first(0.25), "first 0.25"),
        (Timing.after(0.25), "after 0.25"),
        (Timing.window(0.1, 0.4), "0.1 to 0.4"),
        (Timing.cyclical(0, 2, 3), "cyclical x3 0..2"),
        (Timing.of(float, "mine"), "mine"),
    ],
)
def test_a_timing_says_what_it_is(timing: Timing, words: str) -> None:
    assert str(timing) == words


NOT_FRACTIONS = [-0.1, 1.1, math.nan, math.inf, -math.inf, "0.5", None, True]


@pytest.mark.parametrize("make", [Timing.first, Timing.after])
@pytest.mark.parametrize("bad", NOT_FRACTIONS)
def test_a_fraction_outside_the_run_is_refused(make: Callable[[object], Timing], bad: object) -> None:
    with pytest.raises(ValueError, match=r"^fraction=.* is not allowed; give a finite number in \[0, 1\]\.$"):
        make(bad)


@pytest.mark.parametrize("bad", NOT_FRACTIONS)
@pytest.mark.parametrize("make", [Timing.window, lambda start, stop: Timing("window", start, stop)])
def test_a_window_end_outside_the_run_is_refused(make: Callable[..., Timing], bad: object) -> None:
    with pytest.raises(ValueError, match=r"^start=.* in \[0, 1\]\.$"):
        make(bad, 1.0)
    with pytest.raises(ValueError, match=r"^stop=.* in \[0, 1\]\.$"):
        make(0.0, bad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Timing.window(0.5, 0.4), r"^stop=0.4 is before start=0.5; give start <= stop\.$"),
        (lambda: Timing.cyclical(low=None), r"^low=None is not allowed"),  # type: ignore[arg-type]
        (lambda: Timing.cyclical(low=-1), r"^low=-1 is not allowed; give a finite number of at least 0\.$"),
        (lambda: Timing.cyclical(low=1, high=0.5), r"^high=0.5 is not allowed; .* of at least 1\.$"),
        (lambda: Timing.cyclical(high=math.inf), r"^high=inf is not allowed"),
        (lambda: Timing.cyclical(peak=1.5), r"^peak=1.5 is not allowed; .* in \[0, 1\]\.$"),
        (
            lambda: Timing.cyclical(cycles=0),
            r"^cycles=0 is not allowed; give a whole number of at least 1\.$",
        ),
        (lambda: Timing.cyclical(cycles=1.5), r"^cycles=1.5 is not allowed"),  # type: ignore[arg-type]
        (lambda: Timing.of(0.5), r"^function=0.5 is not allowed; give a function"),  # type: ignore[arg-type]
        (lambda: Timing("windw"), r"^kind='windw' is unknown; did you mean 'window'\?"),
        (lambda: Timing.always().table(0), r"^steps=0 is not allowed; give a whole number of at least 1\.$"),
        (lambda: Timing.always().table(2.5), r"^steps=2.5 is not allowed"),  # type: ignore[arg-type]
        (lambda: Timing.first(0.5).at(0, 0), r"^steps=0 is not allowed"),
    ],
)
def test_other_mistakes_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, None, "1"])
def test_a_function_must_give_allowed_multipliers(bad: object) -> None:
    timing = Timing.of(lambda step: bad if step == 2 else 1.0)
    assert timing.table(2).tolist() == [1, 1]
    for read in (lambda: timing.table(3), lambda: timing.at(2), lambda: timing.at(5, steps=3)):
        with pytest.raises(ValueError, match=r"^timing at step 2=.* give a finite number of at least 0\.$"):
            read()
