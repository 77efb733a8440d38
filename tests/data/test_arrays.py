import pytest
import torch

from wdlab.data import Arrays
from wdlab.data.arrays import from_records, standardize_


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.int64), "inputs has dtype"),
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.int32), "labels has dtype torch.int32"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), r"shape \[3\].* 2 inputs"),
        (torch.zeros(2, 3), torch.tensor([0, 2]), r"labels go from 0 to 2; with classes=2"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), r"labels go from -1 to 0"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(inputs, labels, message):
    with pytest.raises(ValueError, match=message):
        Arrays(inputs, labels, classes=2)


def test_arrays_may_be_empty():
    assert len(Arrays(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), classes=2)) == 0


@pytest.mark.parametrize("size", [0, 4, 6, 11])
def test_a_part_of_a_record_is_refused(size):
    with pytest.raises(ValueError, match=f"{size} bytes; give a whole number of records of 5 bytes"):
        from_records(bytes(size), 1, (1, 2, 2))


def test_of_two_label_bytes_the_last_is_the_class():
    images, labels = from_records(bytes([9, 1, 5, 6, 9, 2, 7, 8]), 2, (1, 1, 2))
    assert labels.tolist() == [1, 2]
    assert images.tolist() == [[[[5, 6]]], [[[7, 8]]]]


def test_standardize_by_channel_and_like_another_set():
    train = torch.rand(50, 3, 4, 4) * torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1, 1) + 7
    test = train[:20] + 1
    expected = (test - train.mean((0, 2, 3), keepdim=True)) / train.std((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(standardize_(test, like=train), expected, rtol=1e-4, atol=1e-4)
    standardize_(train)
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(train.std((0, 2, 3), correction=0), torch.ones(3))


def test_a_constant_channel_stays_finite():
    assert torch.equal(standardize_(torch.full((4, 1, 2, 2), 9.0)), torch.zeros(4, 1, 2, 2))
