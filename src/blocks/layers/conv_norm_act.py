"""Convolution, normalization, a shortcut's sum, activation: what nearly all blocks consist of."""

from typing import Any

from mindspore import Tensor, nn, ops

from src.ops.batch_norm import BatchNorm2d
from src.ops.compile_time import compile_time
from src.ops.convolution import Conv2d, Epilogue


class ConvNormAct(nn.Cell):
    """act(bn(conv(x)) + shortcut), where None stands for nothing; in one pass where the CPU's kernels can.

    They can where the normalization does not train, in prediction above all.

    Args:
        conv: the convolution.
        bn: its normalization.
        act: activation.
        auto_prefix: False: the layers have their names from elsewhere. Such cells are kept in tuples, where MindSpore
            looks for no parameters: each layer is there once.
    """

    def __init__(self, conv: nn.Cell, bn: Any, act: nn.Cell | None, auto_prefix: bool = True) -> None:
        super().__init__(auto_prefix=auto_prefix)
        self.conv, self.bn, self.act = conv, bn, act

    def construct(self, x: Tensor) -> Tensor:
        """`x` [B,C,H,W] -> [B,C',H',W']."""
        if self.kernel is None:
            if self.relu_follows_norm:
                return self.bn.with_relu(self.conv(x))
            x = self._normalized(x)
            return x if self.act is None else self.act(x)
        x = self._by(self.kernel, x)
        return x if self.further_act is None else self.further_act(x)

    def with_shortcut(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """The same with `shortcut` [B,C',H',W'] added before the activation."""
        if self.shortcut_kernel is None:
            if self.relu_follows_norm:
                return self.bn.with_shortcut_and_relu(self.conv(x), shortcut)
            x = self._normalized(x) + shortcut
            return x if self.act is None else self.act(x)
        x = self._by_with(self.shortcut_kernel, x, shortcut)
        return x if self.further_act is None else self.further_act(x)

    def of_present(self, x: Tensor, present: Tensor) -> Tensor:
        """The same of the first images; the others may be anything, and what reaches them does not count in gradients.

        Args:
            x: [B,C,H,W].
            present: int32 [1], the number of these images.
        """
        if self.present_kernel is None:
            return self.construct(x)
        x = self._by_with(self.present_kernel, x, present)
        return x if self.further_act is None else self.further_act(x)

    @compile_time
    def kernel(self) -> ops.Custom | None:
        """All of it in one pass; None: there is no such kernel."""
        return self._kernel()

    @compile_time
    def shortcut_kernel(self) -> ops.Custom | None:
        """`kernel` with a shortcut."""
        return self._kernel(shortcut=True)

    @compile_time
    def present_kernel(self) -> ops.Custom | None:
        """`kernel` of the first images."""
        return None if self.bn is not None else self._kernel(present=True)

    @compile_time
    def relu_follows_norm(self) -> bool:
        """Whether the normalization can do what follows it."""
        return isinstance(self.bn, BatchNorm2d) and isinstance(self.act, nn.ReLU)

    @compile_time
    def further_act(self) -> nn.Cell | None:
        """The activation, where the kernels do not have it."""
        return None if isinstance(self.act, nn.ReLU) else self.act

    # Operands that are unpacked by `*` would be in a graph of their own, which is not computed again with its block.
    def _by(self, kernel: Any, x: Tensor) -> Tensor:
        conv, bn = self.conv, self.bn
        if bn is None:
            return kernel(x, conv.weight, conv.bias)
        if conv.has_bias:
            return kernel(x, conv.weight, conv.bias, bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance, bn.settings)
        return kernel(x, conv.weight, bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance, bn.settings)

    def _by_with(self, kernel: Any, x: Tensor, further: Tensor) -> Tensor:
        conv, bn = self.conv, self.bn
        if bn is None:
            return kernel(x, conv.weight, conv.bias, further)
        if conv.has_bias:
            return kernel(
                x, conv.weight, conv.bias, bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance, bn.settings, further
            )
        return kernel(x, conv.weight, bn.gamma, bn.beta, bn.moving_mean, bn.moving_variance, bn.settings, further)

    def _kernel(self, **further: Any) -> ops.Custom | None:
        if not isinstance(self.conv, Conv2d) or not (self.bn is not None or self.conv.has_bias):
            return None
        if self.bn is not None and not (isinstance(self.bn, BatchNorm2d) and self.bn.is_fixed):
            return None
        relu = isinstance(self.act, nn.ReLU)
        return self.conv.epilogue_kernel(Epilogue(self.conv.has_bias, self.bn is not None, relu=relu, **further))

    def _normalized(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.bn is None else self.bn(x)
