import math

import pytest
import torch
from torch import Tensor

from wdlab.decay import COUPLINGS, MASKS, SCALINGS, Decay, Mask, Timing, check_scaling, is_decayed, scale


@pytest.mark.parametrize(
    ("mask", "decayed"),
    [
        (None, [True, True, True]),
        ("everything", [True, True, True]),
        ("weights", [False, False, True]),
        (lambda name, tensor: name == "1", [False, True, False]),
        (lambda name, tensor: tensor.ndim == 0, [True, False, False]),
    ],
)
def test_a_mask_chooses_tensors(mask: Mask, decayed: list[bool]) -> None:
    tensors = [torch.ones(shape) for shape in [(), (3,), (2, 3)]]
    assert [is_decayed(mask, str(i), tensor) for i, tensor in enumerate(tensors)] == decayed


def test_the_member_axis_does_not_count() -> None:
    bias, matrix = torch.ones(4, 3), torch.ones(4, 2, 3)
    assert is_decayed("weights", "bias", bias)
    assert not is_decayed("weights", "bias", bias, member_axis=True)
    assert is_decayed("weights", "matrix", matrix, member_axis=True)


@pytest.mark.parametrize("wrap", [float, torch.tensor, lambda value: torch.tensor([value, value])])
@pytest.mark.parametrize(
    ("scaling", "k"), [("lr", 1.0), ("lr/lr0", 1 / 0.5), ("none", 1 / 0.25), ("gradient_norm", 1 / 4.0)]
)
def test_scale_is_what_lambda_is_multiplied_by(scaling: str, k: float, wrap: type[float]) -> None:
    found = scale(scaling, lr=wrap(0.25), lr0=wrap(0.5), mean_square=wrap(16.0))  # type: ignore[arg-type]
    assert torch.as_tensor(found).unique().tolist() == [k]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("scaling", ["none", "gradient_norm"])
def test_without_lr_or_gradient_there_is_no_decay(scaling: str) -> None:
    """Rather than lambda/0, which would stay in the optimizer's buffers."""
    assert scale(scaling, 0.0, 0.1, 0.0) == 0  # type: ignore[arg-type]
    mixed = torch.tensor([0.0, 4.0, math.nan])
    found = scale(scaling, mixed, 0.1, mixed)
    assert isinstance(found, Tensor) and found[0] == 0 and 0 < found[1] < 1 and found[2].isnan()


def test_gradient_norm_wants_the_norm() -> None:
    with pytest.raises(ValueError, match=r"^mean_square=None is not allowed with scaling='gradient_norm'"):
        scale("gradient_norm", 0.1, 0.1)


@pytest.mark.parametrize("name", COUPLINGS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_gradient_norm_is_refused_where_lambda_enters_v(scaling: str, name: str) -> None:
    if scaling == "gradient_norm" and name in ("l2", "second_moment"):
        with pytest.raises(ValueError, match=rf"not allowed with coupling='{name}'.* such as 'decoupled'"):
            check_scaling(scaling, name)
    else:
        check_scaling(scaling, name)


def test_decay_without_arguments_is_none_at_all() -> None:
    assert Decay() == Decay(0.0, Timing.always(), "l2", "lr", "weights")
    assert "weights" in MASKS and hash(Decay()) == hash(Decay())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1}, r"^weight_decay=-1 is not allowed; give a finite number of at least 0\.$"),
        ({"strength": math.nan}, r"^weight_decay=nan is not allowed"),
        ({"strength": math.inf}, r"^weight_decay=inf is not allowed"),
        ({"coupling": "decuopled"}, r"^coupling='decuopled' is unknown; did you mean 'decoupled'\?"),
        ({"scaling": "lr*lr0"}, r"^scaling='lr\*lr0' is unknown; did you mean 'lr/lr0'\?"),
        ({"mask": "weight"}, r"^mask='weight' is unknown; did you mean 'weights'\?"),
        ({"scaling": "gradient_norm"}, r"^scaling='gradient_norm' is not allowed with coupling='l2'"),
    ],
)
def test_a_decay_that_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decay(**options)  # type: ignore[arg-type]
