"""What drawn cases are made of stays within what answers can bear."""

from __future__ import annotations

import pytest
import torch

from wdlab.exercises.draws import between, dials, distinct, pick, row, tensors, tenths, whole, window
from wdlab.tasks import generator


@pytest.fixture
def draw() -> torch.Generator:
    return generator(0, "draws")


def test_tenths_have_one_decimal_and_both_signs_and_are_never_zero(draw: torch.Generator) -> None:
    found = tenths(draw, 40, 50)
    torch.testing.assert_close(found, (10 * found).round() / 10, rtol=0, atol=0)
    assert found.dtype == torch.float64
    assert set((10 * found.abs()).round().int().flatten().tolist()) == set(range(1, 31))
    assert (found < 0).any() and (found > 0).any()


def test_tensors_of_one_case_have_one_shape_and_numbers_of_their_own(draw: torch.Generator) -> None:
    cases = [tensors(draw, "w", "g") for _ in range(100)]
    assert {tuple(case) for case in cases} == {("w", "g")}
    assert {(case["w"].shape, case["g"].shape) for case in cases} == {((2,), (2,)), ((3,), (3,)), ((2, 3), (2, 3))}
    assert not any(torch.equal(case["w"], case["g"]) for case in cases)


def test_a_row_is_a_vector_of_double_precision() -> None:
    torch.testing.assert_close(row(0.1, 2), torch.tensor([0.1, 2.0], dtype=torch.float64), rtol=0, atol=0)


def test_distinct_numbers_are_so(draw: torch.Generator) -> None:
    found = distinct(draw, 30, of=30)
    assert sorted((100 * found).round().int().tolist()) == list(range(30))
    assert found.tolist() != sorted(found.tolist())


def test_numbers_reach_from_end_to_end(draw: torch.Generator) -> None:
    assert {whole(draw, 2, 4) for _ in range(100)} == {2, 3, 4}
    assert {between(draw, 0.1, 0.3, 1) for _ in range(100)} == {0.1, 0.2, 0.3}
    assert {pick(draw, "sgd", "adam") for _ in range(100)} == {"sgd", "adam"}
    assert all(0.05 <= value <= 0.9 for _ in range(100) for value in dials(draw, "lr", "momentum").values())


def test_the_ends_of_a_window_are_whole_steps_exactly(draw: torch.Generator) -> None:
    for _ in range(200):
        step, steps, start, stop = window(draw)
        assert 0 <= step < steps
        assert 0 <= start <= stop <= 1
        for end in (start, stop):
            assert (end * steps).is_integer()
            assert (step < end * steps) == (step / steps < end)
