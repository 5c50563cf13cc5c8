"""From the outputs of a region proposal network to proposals (Ren et al. 2015, section 3.3), in the graph."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.image_info import resized_hw
from src.blocks.original_pixels import width_height
from src.ops.nms import Suppression


class ProposalGenerator(nn.Cell):
    """Selects, decodes and suppresses level by level, then keeps the best of all levels (as mmdetection's RPNHead).

    Args:
        level_anchors: float32 [P_l,4] of each level, ordered by y, x, anchor.
        num_anchors: anchors A per position.
        coder: decodes deltas.
        nms_pre: best anchors per level that are decoded.
        max_per_img: rows M of the result.
        iou_threshold: of the suppression within a level.
        min_bbox_size: boxes with a side of at most this many network pixels are dropped; negative: none is.
    """

    def __init__(
        self,
        level_anchors: Sequence[np.ndarray],
        num_anchors: int,
        coder: DeltaXYWHBBoxCoder,
        nms_pre: int,
        max_per_img: int,
        iou_threshold: float,
        min_bbox_size: float = 0.0,
    ) -> None:
        super().__init__()
        # The head's outputs are searched in their own order, anchor before position, which saves transposing them.
        self.anchors = [
            Tensor(level.reshape(-1, num_anchors, 4).transpose(1, 0, 2).reshape(-1, 4)) for level in level_anchors
        ]
        self.coder = coder
        self.nms_pre = nms_pre
        self.max_per_img = max_per_img
        self.min_bbox_size = min_bbox_size
        self.suppress = Suppression(iou_threshold)

    def construct(
        self, logits: tuple[Tensor, ...], deltas: tuple[Tensor, ...], image_info: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals of a batch, without gradient.

        Args:
            logits: float32 [B,A,H,W] of each level.
            deltas: float32 [B,A*4,H,W] of each level.
            image_info: float32 [B,6], see `src.blocks.image_info`.

        Returns:
            boxes: float32 [B,M,4], x1 y1 x2 y2 in network pixels, inside the resized image.
            scores: float32 [B,M], falling.
            valid: bool [B,M]; rows that are not valid are 0 and come last.
        """
        size = width_height(resized_hw(image_info)).expand_dims(1)
        levels: tuple[Tensor, ...] = ()
        for i in range(len(self.anchors)):
            levels = levels + (self._candidates(logits[i], deltas[i], self.anchors[i], size),)
        images: tuple[Tensor, ...] = ()
        for b in range(image_info.shape[0]):
            images = images + (self._image(levels, b),)
        rows = ops.stop_gradient(ops.stack(images))
        scores = rows[..., 4]
        valid = scores >= 0
        used = valid.astype("float32")
        return rows[..., :4] * used.expand_dims(2), scores * used, valid

    def _candidates(self, logits: Tensor, deltas: Tensor, anchors: Tensor, size: Tensor) -> Tensor:
        """The best anchors of a level, decoded: float32 [B,C,5], x1 y1 x2 y2 score; too small boxes are all 0."""
        batch, _, height, width = logits.shape
        area = height * width
        best, index = ops.topk(logits.reshape(batch, -1), min(self.nms_pre, anchors.shape[0]))
        index = index.astype("int32")
        anchor = index // area
        # Where delta 0 of the anchor lies among all B*A*4*H*W.
        first = anchor * (4 * area) + (index - anchor * area)
        image = (ops.arange(batch) * deltas[0].size).astype("int32").reshape(batch, 1, 1)
        places = first.expand_dims(2) + (ops.arange(4) * area).astype("int32") + image
        chosen = ops.gather(deltas.reshape(-1), places, 0)
        boxes = self.coder.decode(ops.gather(anchors, index, 0), chosen, size)
        if self.min_bbox_size >= 0:
            # A box without area overlaps with nothing: it is dropped later and suppresses none until then.
            boxes = boxes * self._large(boxes).expand_dims(2)
        return ops.concat((boxes, ops.sigmoid(best).expand_dims(2)), 2)

    def _large(self, boxes: Tensor) -> Tensor:
        """float32 [...], 1 where both sides of boxes [...,4] are long enough."""
        return ((boxes[..., 2:] - boxes[..., :2]).min(axis=-1) > self.min_bbox_size).astype("float32")

    def _image(self, levels: tuple[Tensor, ...], image: int) -> Tensor:
        """The best proposals of one image: float32 [M,5]; unused rows have the score -1."""
        rows: tuple[Tensor, ...] = ()
        ranks: tuple[Tensor, ...] = ()
        for level in levels:
            candidates, kept = self.suppress(level[image])
            if self.min_bbox_size >= 0:
                kept = kept * self._large(candidates[:, :4])
            rows = rows + (candidates[:, :4],)
            ranks = ranks + (candidates[:, 4] * kept + (kept - 1),)
        ranking = ops.concat(ranks)
        count = min(self.max_per_img, ranking.shape[0])
        scores, index = ops.topk(ranking, count)
        best = ops.concat((ops.gather(ops.concat(rows), index, 0), scores.expand_dims(1)), 1)
        if count < self.max_per_img:
            best = ops.concat((best, ops.full((self.max_per_img - count, 5), -1.0, dtype=best.dtype)))
        return best
