"""Batch normalization in half precision around float32 statistics, and with statistics over all devices."""

from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.communication import GlobalComm, get_group_size

from src.ops.precision import Precision, in_float32, in_type


def _devices() -> int:
    return get_group_size() if GlobalComm.INITED else 1


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that casts what it takes and gives; see `Precision`."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.input_type = self.output_type = ms.float32

    def set_precision(self, precision: Precision) -> None:
        """Take and give these types from now on."""
        self.input_type, self.output_type = precision.norm_input, precision.norm_output

    def construct(self, x: Tensor) -> Tensor:
        """Normalize x [B,C,H,W]."""
        return in_type(super().construct(in_type(x, self.input_type)), self.output_type)


class SyncBatchNorm2d(BatchNorm2d):
    """BatchNorm2d whose training statistics are those of the whole batch over all devices.

    MindSpore's own SyncBatchNorm runs on Ascend only; this one needs nothing but AllReduce. In a run on one device it
    is BatchNorm2d.

    Args:
        num_features: number of channels C.
        eps: added to the variance.
        momentum: share of the old value in the running statistics (MindSpore's convention).
        use_batch_statistics: as in `nn.BatchNorm2d`.
    """

    def __init__(
        self, num_features: int, eps: float, momentum: float, use_batch_statistics: bool | None = None
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum, use_batch_statistics=use_batch_statistics)
        self.devices = _devices()
        self.kept_share = momentum
        self.epsilon = Tensor(eps, ms.float32)
        if self.devices > 1:
            self.all_reduce = ops.AllReduce()

    def construct(self, x: Tensor) -> Tensor:
        """Normalize x [B,C,H,W]."""
        if self.devices == 1 or not self.training:
            return super().construct(x)
        return in_type(self._normalize_over_devices(in_float32(x)), self.output_type)

    def _normalize_over_devices(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        count = self.devices * batch * height * width
        mean = self.all_reduce(x.sum(axis=(0, 2, 3))) / count
        centred = x - mean.reshape(1, channels, 1, 1)
        variance = self.all_reduce((centred * centred).sum(axis=(0, 2, 3))) / count
        unbiased = variance * (count / max(count - 1, 1))
        self._keep(self.moving_mean, mean)
        self._keep(self.moving_variance, unbiased)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return centred * scale.reshape(1, channels, 1, 1) + self.beta.reshape(1, channels, 1, 1)

    def _keep(self, running: Tensor, new: Tensor) -> None:
        new = ops.stop_gradient(new)
        ops.assign(running, self.kept_share * running + (1.0 - self.kept_share) * new)
