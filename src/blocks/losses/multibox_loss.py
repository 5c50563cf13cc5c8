"""SSD's loss: softmax cross entropy with hard negatives, smooth L1 of the positives (arXiv:1512.02325, section 2.2)."""

from mindspore import Tensor, nn, ops

from src.blocks.assigners_samplers import hard_negatives
from src.blocks.losses import smooth_l1_loss


class MultiBoxLoss(nn.Cell):
    """Sums over a batch of the localization loss and of the classification loss.

    Args:
        neg_pos_ratio: hard negatives for each positive of an image.
    """

    def __init__(self, neg_pos_ratio: float = 3.0) -> None:
        super().__init__()
        self.neg_pos_ratio = neg_pos_ratio

    def construct(
        self,
        deltas: Tensor,
        scores: Tensor,
        labels: Tensor,
        target_deltas: Tensor,
        positive: Tensor,
        candidates: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The two sums.

        Args:
            deltas: float32 [B,P,4].
            scores: float32 [B,P,C] before softmax, background first.
            labels: int32 [B,P], 0..C-1, 0 for the background.
            target_deltas: float32 [B,P,4], finite everywhere.
            positive: bool [B,P].
            candidates: bool [B,P], where hard negatives are looked for.

        Returns:
            Localization loss, classification loss and number of positives, float32 scalars.
        """
        found = positive.astype("float32")
        loss_bbox = (smooth_l1_loss(deltas, target_deltas, 1.0).sum(axis=2) * found).sum()
        likelihood = ops.gather_elements(ops.log_softmax(scores, 2), 2, labels.expand_dims(2)).squeeze(2)
        counts = found.sum(axis=1, keepdims=True)
        negative = hard_negatives(ops.stop_gradient(-likelihood), candidates, counts * self.neg_pos_ratio)
        taken = ops.logical_or(positive, negative).astype("float32")
        return loss_bbox, -(likelihood * taken).sum(), counts.sum()
