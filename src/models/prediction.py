"""What the detectors' `predict` share: the network in compiled graphs, selection on the host."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from src.blocks.detections import Detections
from src.model_utils.cached_graph import CachedGraph


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


class Compiled(CachedGraph):
    """A method of a network as a cell of its own, which compiles once per shape and apart from training.

    Its arguments should be tensors: a tuple of them is a constant to the compiler, which would compile anew for each.
    """

    def __init__(self, method: Callable) -> None:
        super().__init__()
        self.method = method

    @property
    def label(self) -> str:
        """See `CachedGraph`."""
        return getattr(self.method, "__qualname__", type(self.method).__qualname__)

    def parameters_dict(self, recurse: bool = True) -> dict[str, Parameter]:
        """Those of the method's network, to which no cell leads from here: the network has this cell among its own."""
        owner = getattr(self.method, "__self__", None)
        return owner.parameters_dict(recurse) if isinstance(owner, nn.Cell) else super().parameters_dict(recurse)

    def construct(self, *tensors: Tensor) -> Any:
        """The method's result."""
        return self.method(*tensors)


def predict(
    net: nn.Cell,
    outputs: Compiled,
    select: Callable,
    images: np.ndarray | Tensor,
    image_info: np.ndarray | Tensor,
) -> Detections:
    """`Detector.predict` of a network whose raw outputs come from one graph.

    Args:
        net: the detector.
        outputs: images -> tuple of raw outputs, tensors or tuples of them.
        select: the same as arrays and lists of them, and image_info -> fields of `Detections`.
        images: float32 [B,3,H,W], normalized.
        image_info: float32 [B,6], see `src.blocks.image_info`.
    """
    with evaluating(net):
        raw = outputs(as_tensor(images))
    return Detections(*select(*_arrays(raw), as_array(image_info)))


def _arrays(outputs: tuple) -> list:
    return [_arrays(output) if isinstance(output, tuple) else output.asnumpy() for output in outputs]
