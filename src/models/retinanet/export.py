"""The raw form of exported RetinaNets: decoded boxes and scores of all anchors."""

from mindspore import Tensor, nn, ops

from src.blocks.dense_heads import anchor_rows
from src.models.retinanet.detector import RetinaNet


class RetinaNetDecoded(nn.Cell):
    """Boxes and scores of all anchors of a RetinaNet.

    Attributes:
        level_sizes: number of anchors of each level; their sum is N.
        input_names: what `construct` takes.
    """

    input_names = ("image",)

    def __init__(self, net: RetinaNet) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        self.anchors = net.targets.anchors
        self.num_anchors = net.targets.num_anchors
        self.coder = net.targets.coder
        self.level_sizes = [len(level) for level in net.targets.level_anchors]

    def construct(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B,N,4], x1 y1 x2 y2 in network pixels, not clipped, and scores [B,N,K] of image float32 [B,3,H,W].

        N runs over levels, rows, columns and anchors.
        """
        logits, deltas = self.net.dense_outputs(image)
        logits = anchor_rows(logits, logits[0].shape[1] // self.num_anchors)
        return self.coder.decode(self.anchors, anchor_rows(deltas, 4)), ops.sigmoid(logits)
