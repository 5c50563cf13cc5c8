"""Backward functions of operators that take several numbers of operands.

They name what they hand to operators: one that is called with `*` would be in a graph of its own, which MindSpore does
not take for a part of the backward pass, and `recompute` would keep what it reads.
"""

from collections.abc import Callable
from typing import Any

from mindspore import Tensor, ops


def of_operands(backward: Callable, number: int) -> Callable:
    """`backward(operands, out, dout)` for an operator of so many operands: graphs must see each of them by name."""

    def of_2(a: Any, b: Any, out: Any, dout: Any) -> Any:
        return backward((a, b), out, dout)

    def of_3(a: Any, b: Any, c: Any, out: Any, dout: Any) -> Any:
        return backward((a, b, c), out, dout)

    def of_4(a: Any, b: Any, c: Any, d: Any, out: Any, dout: Any) -> Any:
        return backward((a, b, c, d), out, dout)

    def of_5(a: Any, b: Any, c: Any, d: Any, e: Any, out: Any, dout: Any) -> Any:
        return backward((a, b, c, d, e), out, dout)

    def of_6(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, out: Any, dout: Any) -> Any:
        return backward((a, b, c, d, e, f), out, dout)

    def of_7(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, out: Any, dout: Any) -> Any:
        return backward((a, b, c, d, e, f, g), out, dout)

    def of_8(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, out: Any, dout: Any) -> Any:
        return backward((a, b, c, d, e, f, g, h), out, dout)

    def of_9(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any, out: Any, dout: Any) -> Any:
        return backward((a, b, c, d, e, f, g, h, i), out, dout)

    by_number: dict[int, Callable] = {2: of_2, 3: of_3, 4: of_4, 5: of_5, 6: of_6, 7: of_7, 8: of_8, 9: of_9}
    return by_number[number]


def zero_gradients(number: int) -> Callable:
    """The backward function of an operator of so many operands through which no gradient flows."""

    def backward(operands: tuple[Tensor, ...], _out: Any, _dout: Any) -> tuple[Tensor, ...]:
        zeros: tuple[Tensor, ...] = ()
        for operand in operands:
            zeros = zeros + (ops.zeros_like(operand),)
        return zeros

    return of_operands(backward, number)
