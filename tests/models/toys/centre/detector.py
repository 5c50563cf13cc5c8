"""The network."""

import math
from itertools import pairwise

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.detections import Detections
from src.blocks.layers import ConvModule, Norm, conv2d
from src.blocks.losses import sigmoid_cross_entropy
from src.blocks.post_processing import DecodedPostProcessor
from src.models.prediction import Compiled, predict


class CentreDetector(nn.Cell):
    """Strided convolutions, then K class logits and four distances to the sides of the box for each cell.

    Args:
        num_classes: K.
        channels: of each convolution.
        stride: pixels per cell.
        input_hw: height and width of the network's input.
        selection: how boxes and scores become detections.
    """

    loss_names = ("loss_cls", "loss_bbox")
    input_names = ("image",)  # its raw form is the detector itself

    def __init__(
        self, num_classes: int, channels: int, stride: int, input_hw: tuple[int, int], selection: DecodedPostProcessor
    ) -> None:
        super().__init__()
        norm = Norm(momentum=0.1, eps=1e-5)
        sizes = [3] + [channels] * int(math.log2(stride))
        convs = [ConvModule(a, b, 3, stride=2, norm=norm) for a, b in pairwise(sizes)]
        self.backbone = nn.SequentialCell(convs)
        self.cls_conv = conv2d(channels, num_classes, 1, has_bias=True)
        self.box_conv = conv2d(channels, 4, 1, has_bias=True)
        self.stride = stride
        rows, columns = input_hw[0] // stride, input_hw[1] // stride
        y, x = np.mgrid[:rows, :columns].astype(np.float32).reshape(2, -1)
        self.centres = Tensor((np.stack([x, y], 1) + 0.5) * stride)
        self.level_sizes = [rows * columns]
        self.classes = Tensor(np.arange(num_classes), ms.int32)
        self.selection = selection
        self.compiled_rows = Compiled(self.construct)

    def extract_features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [B,3,H,W] -> one level [B,C,H/s,W/s]."""
        return (self.backbone(images),)

    def dense_outputs(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Images [B,3,H,W] -> class logits [B,K,H/s,W/s] and distances [B,4,H/s,W/s], a tuple of one level each."""
        (level,) = self.extract_features(images)
        return (self.cls_conv(level),), (self.box_conv(level),)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B,3,H,W] -> boxes [B,N,4], x1 y1 x2 y2 in network pixels, and scores [B,N,K]."""
        logits, boxes = self._rows(images)
        return boxes, ops.sigmoid(logits)

    def _rows(self, images: Tensor) -> tuple[Tensor, Tensor]:
        (logits,), (distances,) = self.dense_outputs(images)
        batch, classes = logits.shape[:2]
        logits = logits.reshape(batch, classes, -1).transpose(0, 2, 1)
        distances = ops.exp(distances.reshape(batch, 4, -1).transpose(0, 2, 1)) * self.stride
        return logits, ops.concat((self.centres - distances[..., :2], self.centres + distances[..., 2:]), 2)

    def predict(self, images: np.ndarray | Tensor, image_info: np.ndarray | Tensor) -> Detections:
        """Detections of images float32 [B,3,H,W]."""
        return predict(self, self.compiled_rows, self.selection, images, image_info)

    def _holds(self, boxes: Tensor, valid: Tensor) -> Tensor:
        """Float32 [B,P,N]: whether a cell holds the centre of an object."""
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2
        offset = ops.abs(self.centres.expand_dims(1) - middle.expand_dims(1)).max(axis=3)
        inside = ops.logical_and(offset <= self.stride / 2, valid.expand_dims(1))
        return inside.astype("float32")

    def count_positives(self, boxes: Tensor, labels: Tensor, valid: Tensor, image_info: Tensor) -> Tensor:
        """Cells that hold an object."""
        return self._holds(boxes, valid).max(axis=2).sum()

    def losses(
        self,
        images: Tensor,
        image_info: Tensor,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        masks: Tensor | None = None,
        normalizer: Tensor | None = None,
        seed: Tensor | None = None,
    ) -> dict[str, Tensor]:
        logits, found = self._rows(images)
        holds = self._holds(boxes, valid)
        positive = holds.max(axis=2)
        share = holds / ops.clamp(holds.sum(axis=2, keepdims=True), 1.0, None)
        wanted = ops.matmul(share, boxes)
        own = ops.matmul(share, (labels.expand_dims(2) == self.classes).astype("float32"))
        if normalizer is None:
            normalizer = ops.clamp(positive.sum(), 1.0, None)
        loss_cls = sigmoid_cross_entropy(logits, own)
        loss_bbox = (ops.abs(found - wanted) / self.stride).sum(axis=2) * positive
        return {"loss_cls": loss_cls.sum() / normalizer, "loss_bbox": loss_bbox.sum() / normalizer}
