"""A sampler that takes everything."""

from mindspore import Tensor, nn


class PseudoSampler(nn.Cell):
    """Takes all positives and all negatives, as losses that weigh examples themselves (focal loss) want it."""

    def construct(self, assigned: Tensor) -> tuple[Tensor, Tensor]:
        """int32 [B,P] from an assigner -> (positive, negative), both bool [B,P]."""
        return assigned > 0, assigned == 0
