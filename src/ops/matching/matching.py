"""The kernels that match priors and objects (cpu/matching.cc) as operators; none has a gradient."""

from collections.abc import Callable
from functools import cache
from typing import Any

import mindspore as ms
from mindspore import ops

from src.ops.cpu_kernels import cpu_library
from src.ops.named_operands import zero_gradients

TARGET = "CPU matching"


def match_pairs() -> ops.Custom | None:
    """(settings, boxes, valid, priors, usable) -> (iou, gt, best_of) as of a `PairwiseMatcher`; None: there is none.

    settings is float32 [2]: the least IoU of an object's best priors, and 1 where all that tie are its best, 0 where
    only the first is. valid [B,N] and usable [B,P] are float32, 1 or 0.
    """
    path = cpu_library(TARGET)
    return path and _operator(f"{path}:MatchPairs", 5, _shapes_of_priors, (ms.float32, ms.int32, ms.int32))


def largest_products() -> ops.Custom | None:
    """(heights, widths) -> (largest, index); None: MindSpore's operators must do.

    Of heights float32 [B,R,A,N] and widths [B,C,A,N], none below zero, the largest of heights[b,r,a] * widths[b,c,a]
    and the first place where it is: float32 and int32 [B,R*C*A].
    """
    path = cpu_library(TARGET)
    return path and _operator(f"{path}:LargestProducts", 2, _shapes_of_products, (ms.float32, ms.int32))


def _shapes_of_priors(*shapes: list[int]) -> tuple[list[int], ...]:
    return (shapes[3][:2],) * 3


def _shapes_of_products(heights: list[int], widths: list[int]) -> tuple[list[int], ...]:
    return ([heights[0], heights[1] * widths[1] * heights[2]],) * 2


@cache
def _operator(function: str, number: int, shapes: Callable, types: tuple[Any, ...]) -> ops.Custom:
    """A function of the library with so many operands."""
    return ops.Custom(function, shapes, lambda *_: types, "aot", zero_gradients(number))
