"""The kernel of the sigmoid focal loss (cpu/focal_loss.cc) as an operator."""

from functools import cache

import mindspore as ms
from mindspore import ops

from src.ops.cpu_kernels import cpu_library
from src.ops.named_operands import zero_gradients

TARGET = "CPU focal loss"


def focal_loss() -> ops.Custom | None:
    """(settings, logits, labels) -> (loss, slope), without a gradient of its own; None: MindSpore's operators must do.

    settings is float32 [2]: gamma and alpha. Of logits float32 [M,C,S] and labels int32 [M,S], the class 0..C-1 of a
    positive and anything else for a negative, the loss summed over the classes [M,S] and its derivative by the logits.
    """
    path = cpu_library(TARGET)
    return path and _operator(path)


@cache
def _operator(path: str) -> ops.Custom:
    def shapes(_settings: list[int], logits: list[int], labels: list[int]) -> tuple[list[int], list[int]]:
        return labels, logits

    return ops.Custom(f"{path}:FocalLoss", shapes, lambda *_: (ms.float32, ms.float32), "aot", zero_gradients(3))
