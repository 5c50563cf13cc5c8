"""Program of test_recompute.py: the gradients of two blocks of two convolutions, compiled.

python -m tests.blocks.recompute_program batch|stored|frozen|none plain|marked

The first word is what normalizes, the second whether blocks are computed again.
"""

import sys

import src  # noqa: F401  before any import of mindspore

import mindspore as ms  # isort: skip
import numpy as np
from mindspore import nn

from src.blocks.backbones.recompute import keep_batch_statistics
from src.blocks.layers import conv2d
from src.blocks.layers.conv_norm_act import ConvNormAct
from src.ops.batch_norm import BatchNorm2d

NORMS = {
    "batch": lambda: BatchNorm2d(16),
    "stored": lambda: BatchNorm2d(16, use_batch_statistics=False),
    "frozen": lambda: BatchNorm2d(16, use_batch_statistics=False, frozen=True),
    "none": lambda: None,
}


class Step(nn.Cell):
    """What a network gives, and its gradients."""

    def __init__(self, net: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        self.grad = ms.value_and_grad(net, None, net.trainable_params())

    def construct(self, images):
        return self.grad(images)


def main() -> None:
    norm, marked = sys.argv[1:]
    ms.set_context(mode=ms.GRAPH_MODE)
    layers = [ConvNormAct(conv2d(16, 16, 3, has_bias=norm == "none"), NORMS[norm](), nn.ReLU()) for _ in range(4)]
    blocks = nn.SequentialCell(nn.SequentialCell(layers[:2]), nn.SequentialCell(layers[2:]))
    if marked == "marked":
        for block in blocks:
            block.recompute()
        keep_batch_statistics(blocks)
    Step(blocks.set_train(True))(ms.Tensor(np.ones((1, 16, 16, 16), np.float32)))


if __name__ == "__main__":
    main()
