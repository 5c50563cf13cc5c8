"""What every detector's `predict` begins and ends with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn


@contextmanager
def evaluating(net: nn.Cell) -> Iterator[None]:
    """The network computes as in evaluation within, and is left in the mode it was in."""
    training = net.training
    net.set_train(False)
    try:
        yield
    finally:
        net.set_train(training)


def as_tensor(images: np.ndarray | Tensor) -> Tensor:
    """float32 array or Tensor -> Tensor."""
    return images if isinstance(images, Tensor) else Tensor(images, ms.float32)


def as_array(image_info: np.ndarray | Tensor) -> np.ndarray:
    """Array or Tensor -> float32 array."""
    return image_info.asnumpy() if isinstance(image_info, Tensor) else np.asarray(image_info, np.float32)


class Compiled(nn.Cell):
    """A method of a network as a cell of its own, which compiles once a shape and apart from training.

    Its arguments should be tensors: a tuple of them is a constant to the compiler, which would compile anew for each.
    """

    def __init__(self, method: Callable) -> None:
        super().__init__(auto_prefix=False)
        self.method = method

    def construct(self, *tensors):
        return self.method(*tensors)
