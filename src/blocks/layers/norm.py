"""Batch normalization from a configuration's values."""

from typing import NamedTuple

from mindspore import nn

from src.ops.batch_norm import BatchNorm2d


class Norm(NamedTuple):
    """Which normalization.

    Attributes:
        type: `BN`, or `SyncBN` for statistics over all devices.
        momentum: share of the new batch in the running statistics (PyTorch's convention).
        eps: added to the variance.
        frozen: use the stored statistics in training too, and do not train gamma and beta.
        stored_statistics: use the stored statistics in training too; gamma and beta train.
    """

    type: str = "BN"
    momentum: float = 0.01
    eps: float = 1e-3
    frozen: bool = False
    stored_statistics: bool = False


DEFAULT_NORM = Norm()


def build_norm(norm: Norm, channels: int) -> nn.Cell:
    """A new normalization layer of `channels` channels with gamma 1, beta 0, mean 0 and variance 1."""
    stored = norm.frozen or norm.stored_statistics
    return BatchNorm2d(
        channels,
        norm.eps,
        1.0 - norm.momentum,  # MindSpore's momentum is the old share
        use_batch_statistics=False if stored else None,  # None: the batch's in training, the stored ones otherwise
        over_devices=norm.type == "SyncBN" and not stored,
        frozen=norm.frozen,
    )
