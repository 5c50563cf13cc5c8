"""Activations that the backward pass computes again, instead of keeping them from the forward pass.

MindSpore marks cells for it; the gradients are the same but for rounding where a block has several readers (Chen et al.
2016, arXiv:1604.06174).
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from mindspore import Tensor, nn

from src.blocks.backbones.residual import BasicBlock, Bottleneck
from src.ops.batch_norm import BatchNorm2d


@runtime_checkable
class RecomputesBlocks(Protocol):
    """A backbone that knows its blocks."""

    def recompute_blocks(self) -> None:
        """Have the backward pass of compiled graphs compute the blocks' activations again; once per network."""


def recompute_residual_blocks(net: nn.Cell, further: Iterable[nn.Cell] = ()) -> None:
    """Mark all residual blocks of a network.

    Args:
        net: the network.
        further: cells outside the residual blocks that are marked as well.
    """
    blocks = [cell for _, cell in net.cells_and_names() if isinstance(cell, BasicBlock | Bottleneck)]
    for block in (*blocks, *further):
        block.recompute()
    keep_batch_statistics(net)


class Chain(nn.Cell):
    """Layers in a row that have their names from elsewhere."""

    def __init__(self, layers: Sequence[nn.Cell]) -> None:
        super().__init__(auto_prefix=False)
        for index, layer in enumerate(layers):
            self.insert_child_to_cell(str(index), layer)
        self.layers = tuple(layers)

    def construct(self, x: Tensor) -> Tensor:
        """What the last layer gives."""
        for layer in self.layers:
            x = layer(x)
        return x


def recomputed_chain(layers: Sequence[nn.Cell]) -> Chain:
    """Layers of a network, which keep their parameters' names, as one block that is marked."""
    chain = Chain(layers)
    chain.recompute()
    keep_batch_statistics(chain)
    return chain


def keep_batch_statistics(net: nn.Cell) -> None:
    """Have the running statistics updated once, though normalizations by the batch's are computed twice.

    MindSpore's own operator is excluded, and its output kept.
    """
    for _, cell in net.cells_and_names():
        if isinstance(cell, BatchNorm2d):
            cell.let_run_twice()
