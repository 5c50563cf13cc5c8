import mindspore as ms
import numpy as np

from src.blocks.assigners_samplers import hard_negatives


def chosen(losses, candidates, counts) -> np.ndarray:
    found = hard_negatives(
        ms.Tensor(np.float32(losses)), ms.Tensor(np.array(candidates, bool)), ms.Tensor(np.float32(counts)[:, None])
    )
    return found.asnumpy().astype(int)


def test_those_of_greatest_loss_image_by_image(mode):
    losses = [[0.5, 3.0, 2.0, 1.0], [0.1, 0.2, 0.3, 0.4]]
    candidates = [[1, 0, 1, 1], [1, 1, 1, 1]]
    np.testing.assert_array_equal(chosen(losses, candidates, [2, 1]), [[0, 0, 1, 1], [0, 0, 0, 1]])


def test_of_equal_losses_the_first(mode):
    losses = np.tile([1.0, 2.0, 1.0, 1.0, 0.0, 0.0], (3, 1))
    candidates = [[1] * 6, [0, 1, 1, 1, 1, 1], [1] * 6]
    expected = [[1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]]
    np.testing.assert_array_equal(chosen(losses, candidates, [3, 2, 5]), expected)


def test_none_and_more_than_there_are(mode):
    losses, candidates = [[1.0, 2.0, 3.0]] * 3, [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(chosen(losses, candidates, [0, 9, 2]), [[0, 0, 0], [1, 1, 0], [0, 0, 0]])
