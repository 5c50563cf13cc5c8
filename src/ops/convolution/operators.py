"""The convolution kernels (cpu/convolution.cc) as operators, with their gradients."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from mindspore import Tensor, ops

from src.ops.cpu_kernels import cpu_library
from src.ops.named_operands import of_operands

SWITCH = "CUSTOM_CONV"
_layer_by_layer = False


class Epilogue(NamedTuple):
    """What follows the sums of a convolution in the same pass, in this order: a bias or a normalization, and more.

    Attributes:
        bias: a bias [out].
        norm: normalization by gamma, beta, mean, variance, each [out], and [epsilon, any].
        shortcut: the sum with a map like the result.
        relu: ReLU.
        present: only the first images are computed, an int32 [1] of them: the others of the result are zero, and do not
            count in gradients. Not together with `norm`.
    """

    bias: bool
    norm: bool = False
    shortcut: bool = False
    relu: bool = False
    present: bool = False


def _kernels() -> str | None:
    """The library, where this process has a CPU that it is for; None: MindSpore's operators must do."""
    path = None if os.environ.get(SWITCH) == "0" else cpu_library("CPU convolution")
    return path if path and _supported(path) else None


@cache
def _supported(path: str) -> bool:
    """Whether this processor has what the library needs."""
    return bool(ctypes.CDLL(path).ConvolutionSupported())


def convolution(stride: int) -> ops.Custom | None:
    """(x, weight) -> out; None: MindSpore's operator must do."""
    path = _kernels()
    return path and _convolution_operator(path, stride)


def convolution_with_epilogue(stride: int, epilogue: Epilogue) -> ops.Custom | None:
    """(x, weight, [bias], [gamma, beta, mean, variance, settings], [shortcut], [present]) -> out; None as above."""
    path = None if _layer_by_layer else _kernels()
    return path and _epilogue_operator(path, stride, epilogue)


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Within, no convolution does what follows it: each layer is called, and can be watched (outside of graphs)."""
    global _layer_by_layer
    before, _layer_by_layer = _layer_by_layer, True
    try:
        yield
    finally:
        _layer_by_layer = before


def dense() -> ops.Custom | None:
    """(x, weight) -> x * weight transposed; None: MindSpore's operator must do."""
    path = _kernels()
    return path and _dense_operator(path)


# One operator serves all layers: MindSpore takes operators of equal name and attributes for one another anyway.
@cache
def _convolution_operator(path: str, stride: int) -> ops.Custom:
    """(x, weight) -> out, with its gradient."""

    def out_shape(x: list[int], weight: list[int]) -> tuple[int, ...]:
        return (x[0], weight[0], (x[2] + stride - 1) // stride, (x[3] + stride - 1) // stride)

    input_gradient = _gradient(f"{path}:Conv2dInputGradient")
    weight_gradient = _gradient(f"{path}:Conv2dWeightGradient")

    def backward(x: Tensor, weight: Tensor, _out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return input_gradient(dout, weight, x), weight_gradient(x, dout, weight)

    operator = ops.Custom(f"{path}:Conv2d", out_shape, lambda x, _weight: x, "aot", backward)
    operator.add_prim_attr("stride", stride)
    return operator


@cache
def _epilogue_operator(path: str, stride: int, epilogue: Epilogue) -> ops.Custom:
    """(x, weight, [bias], [gamma, beta, mean, variance, settings], [shortcut], [present]) -> out, with its gradient.

    The gradient of gamma, where a graph needs it, computes the convolution again.
    """
    has_bias, has_norm, has_shortcut, has_relu, has_present = epilogue
    plain = _convolution_operator(path, stride)
    input_gradient = _gradient(f"{path}:Conv2dInputGradient")
    weight_gradient = _gradient(f"{path}:Conv2dWeightGradient")

    def out_shape(x: list[int], weight: list[int], *_: Any) -> tuple[int, ...]:
        return (x[0], weight[0], (x[2] + stride - 1) // stride, (x[3] + stride - 1) // stride)

    def second(_first: Any, second: Any, *_: Any) -> Any:
        return second

    def first_and_third(first: Any, _second: Any, third: Any, *_: Any) -> tuple:
        return first, third

    relu_gradient = ops.Custom(f"{path}:ReluBiasGradient", first_and_third, first_and_third, "aot")
    bias_gradient = ops.Custom(f"{path}:BiasGradient", second, second, "aot")

    def backward(operands: tuple[Tensor, ...], out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        x, weight, *others = operands
        vector, present = others[0], others[-1]  # one value per output channel; the last operand, if there is one
        if not has_relu:
            dbeta = bias_gradient(dout, vector, present) if has_present else bias_gradient(dout, vector)
        elif has_present:
            dout, dbeta = relu_gradient(dout, out, vector, present)
        else:
            dout, dbeta = relu_gradient(dout, out, vector)
        dsum, dbias = dout, dbeta
        of_norm: tuple[Tensor, ...] = ()
        if has_norm:
            gamma, _, mean, variance, settings = others[has_bias : has_bias + 5]
            inverse = ops.rsqrt(variance + settings[0])
            scale = gamma * inverse
            dsum, dbias = dout * scale.reshape(1, -1, 1, 1), dbeta * scale
            centre = mean - others[0] if has_bias else mean
            centred = plain(x, weight) - centre.reshape(1, -1, 1, 1)
            dgamma = (dout * centred).sum((0, 2, 3)) * inverse
            of_norm = (dgamma, dbeta, ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(settings))
        if has_present:
            gradients = (input_gradient(dsum, weight, x, present), weight_gradient(x, dsum, weight, present))
        else:
            gradients = (input_gradient(dsum, weight, x), weight_gradient(x, dsum, weight))
        gradients = gradients + ((dbias,) if has_bias else ()) + of_norm + ((dout,) if has_shortcut else ())
        return gradients + ((ops.zeros_like(present),) if has_present else ())

    number = 2 + has_bias + 5 * has_norm + has_shortcut + has_present
    name = "Conv2dRelu" if has_relu else "Conv2d"
    operator = ops.Custom(f"{path}:{name}", out_shape, lambda x, *_: x, "aot", of_operands(backward, number))
    operator.add_prim_attr("stride", stride)
    operator.add_prim_attr("epilogue", "".join(str(int(part)) for part in epilogue))
    return operator


@cache
def _dense_operator(path: str) -> ops.Custom:
    """(x, weight) -> x * weight transposed, with its gradient."""

    def product(name: str, shape: Callable) -> ops.Custom:
        return ops.Custom(f"{path}:{name}", shape, lambda a, _b: a, "aot")

    input_gradient = product("DenseInputGradient", lambda dout, weight: (dout[0], weight[1]))
    weight_gradient = product("DenseWeightGradient", lambda x, dout: (dout[1], x[1]))

    def backward(x: Tensor, weight: Tensor, _out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return input_gradient(dout, weight), weight_gradient(x, dout)

    return ops.Custom(f"{path}:Dense", lambda x, weight: (x[0], weight[0]), lambda x, _weight: x, "aot", backward)


def _gradient(function: str) -> ops.Custom:
    """An operator of three arguments or more whose result is like the third."""

    def third(_first: Any, _second: Any, like: Any, *_: Any) -> Any:
        return like

    return ops.Custom(function, third, third, "aot")
