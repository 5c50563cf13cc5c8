"""Class-wise non-maximum suppression in the graph, greedy or soft, for exported networks."""

from mindspore import Tensor, nn, ops

from src.blocks.post_processing.selections import DenseSelection, MultiBoxSelection, RoISelection


class MulticlassNMS(nn.Cell):
    """Picks the best remaining candidate `max_per_img` times and drops those of its class that overlap it.

    Or, where the selection says so, it lowers their scores (see `src.ops.nms.soft_nms`).

    It works on all images at once and gives exactly what suppression on the host gives. The steps are unrolled: a
    fixed number of plain operators is what export formats can hold.

    Args:
        selection: thresholds, the kind of suppression, and rows M of the result.
    """

    def __init__(self, selection: DenseSelection | MultiBoxSelection | RoISelection) -> None:
        super().__init__()
        self.kind = selection.suppression
        self.iou_threshold = selection.iou_threshold
        self.sigma = selection.soft_sigma
        self.least = 0.0 if self.kind == "greedy" else selection.score_thr
        self.max_per_img = selection.max_per_img

    def construct(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Suppress.

        Args:
            boxes: float32 [B,C,4], x1 y1 x2 y2.
            scores: float32 [B,C]; 0 or less for rows that are no candidates.
            labels: int32 [B,C].

        Returns:
            boxes [B,M,4], scores [B,M], labels [B,M] and valid [B,M]; rows that are not valid are 0.
        """
        count = boxes.shape[1]
        areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        positions = ops.arange(count).astype("int32").expand_dims(0)
        label = labels.astype("float32")
        rows = ops.concat((boxes, label.expand_dims(2)), 2)
        picked: tuple[Tensor, ...] = ()
        picked_scores: tuple[Tensor, ...] = ()
        for _ in range(self.max_per_img):
            best = ops.argmax(scores, 1).astype("int32").expand_dims(1)
            here = (positions == best).astype("float32")
            row = ops.matmul(here.expand_dims(1), rows)  # [B,1,5]; a product gathers alike in every export format
            score = scores.max(axis=1, keepdims=True)
            alive = (score > self.least).astype("float32")
            picked = picked + (row * alive.expand_dims(2),)
            picked_scores = picked_scores + (score * alive,)
            sides_x = ops.relu(ops.minimum(boxes[..., 2], row[..., 2]) - ops.maximum(boxes[..., 0], row[..., 0]))
            sides_y = ops.relu(ops.minimum(boxes[..., 3], row[..., 3]) - ops.maximum(boxes[..., 1], row[..., 1]))
            intersection = sides_x * sides_y
            area = (row[..., 2] - row[..., 0]) * (row[..., 3] - row[..., 1])
            lost = self._lost(intersection, areas + area - intersection) * (label == row[..., 4]).astype("float32")
            scores = scores * (1 - ops.maximum(lost, here))
        kept, kept_scores = ops.concat(picked, 1), ops.concat(picked_scores, 1)
        return kept[..., :4], kept_scores, kept[..., 4].astype("int32"), kept_scores > 0

    def _lost(self, intersection: Tensor, union: Tensor) -> Tensor:
        """The share of its score that a candidate loses by its overlap with a better one."""
        if self.kind == "greedy":
            return (intersection > self.iou_threshold * union).astype("float32")
        iou = intersection / ops.maximum(union, 1e-12)
        if self.kind == "soft_linear":
            return iou * (iou >= self.iou_threshold).astype("float32")
        return 1 - ops.exp(-iou * iou / self.sigma)
