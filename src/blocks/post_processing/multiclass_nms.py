"""Greedy class-wise non-maximum suppression in the graph, for exported networks."""

from mindspore import Tensor, nn, ops


class MulticlassNMS(nn.Cell):
    """Picks the best remaining candidate `max_per_img` times and drops those of its class that overlap it.

    It works on all images at once and gives exactly what greedy suppression gives. The steps are unrolled: a fixed
    number of plain operators is what export formats can hold.

    Args:
        iou_threshold: a candidate of greater IoU with a better one of its class is dropped.
        max_per_img: rows M of the result.
    """

    def __init__(self, iou_threshold: float, max_per_img: int) -> None:
        super().__init__()
        self.iou_threshold = iou_threshold
        self.max_per_img = max_per_img

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
        rows = ops.concat((boxes, scores.expand_dims(2), labels.astype("float32").expand_dims(2)), 2)
        label = rows[..., 5]
        picked: tuple[Tensor, ...] = ()
        for _ in range(self.max_per_img):
            best = ops.argmax(scores, 1).astype("int32").expand_dims(1)
            here = (positions == best).astype("float32")
            row = ops.matmul(here.expand_dims(1), rows)  # [B,1,6]; a product gathers alike in every export format
            alive = scores.max(axis=1, keepdims=True) > 0
            picked = picked + (row * alive.astype("float32").expand_dims(2),)
            sides_x = ops.relu(ops.minimum(boxes[..., 2], row[..., 2]) - ops.maximum(boxes[..., 0], row[..., 0]))
            sides_y = ops.relu(ops.minimum(boxes[..., 3], row[..., 3]) - ops.maximum(boxes[..., 1], row[..., 1]))
            intersection = sides_x * sides_y
            area = (row[..., 2] - row[..., 0]) * (row[..., 3] - row[..., 1])
            overlaps = intersection > self.iou_threshold * (areas + area - intersection)
            dropped = ops.logical_or(ops.logical_and(overlaps, label == row[..., 5]), here > 0)
            scores = scores * (1 - dropped.astype("float32"))
        kept = ops.concat(picked, 1)
        valid = kept[..., 4] > 0
        return kept[..., :4], kept[..., 4], kept[..., 5].astype("int32"), valid
