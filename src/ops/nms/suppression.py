"""Greedy non-maximum suppression within a graph: by the kernel (cpu/nms.cc), elsewhere by MindSpore's operator."""

from functools import cache

import numpy as np
from mindspore import Tensor, nn, ops

from src.ops.cpu_kernels import cpu_library
from src.ops.named_operands import zero_gradients


class Suppression(nn.Cell):
    """Drops boxes that a better kept box overlaps by more than a threshold.

    Args:
        iou_threshold: a box of greater IoU is dropped.
    """

    def __init__(self, iou_threshold: float) -> None:
        super().__init__()
        self.standard = ops.NMSWithMask(iou_threshold)
        path = cpu_library("CPU suppression")
        self.kernel: ops.Custom | None = _operator(path) if path else None
        self.threshold = Tensor(np.array([iou_threshold], np.float32))

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operator from now on."""
        self.kernel = None

    def construct(self, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Suppress candidates float32 [M,5], x1 y1 x2 y2 score, best first.

        Returns:
            candidates: float32 [M,5], where scores are equal perhaps in another order.
            kept: float32 [M], 1 or 0.
        """
        if self.kernel is not None:
            return candidates, self.kernel(self.threshold, candidates[:, :4])
        rows, _, kept = self.standard(candidates)  # sorted anew, so the index would not help
        return rows, kept.astype("float32")


@cache
def _operator(path: str) -> ops.Custom:
    return ops.Custom(f"{path}:Suppress", lambda _, boxes: boxes[:1], lambda _, boxes: boxes, "aot", zero_gradients(2))
