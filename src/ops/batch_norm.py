"""Batch normalization in half precision around float32 statistics, and with statistics over all devices."""

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.communication import GlobalComm, get_group_size

from src.ops.precision import Precision, in_float32, in_type


def _devices() -> int:
    return get_group_size() if GlobalComm.INITED else 1


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that casts what it takes and gives (see `Precision`), and can count all devices' images.

    MindSpore's own SyncBatchNorm runs on Ascend only; this one needs nothing but AllReduce.

    Args:
        num_features: number of channels C.
        eps: added to the variance.
        momentum: share of the old value in the running statistics (MindSpore's convention).
        use_batch_statistics: as in `nn.BatchNorm2d`.
        over_devices: training statistics are those of the whole batch over all devices; with `use_batch_statistics`
            None. In a run on one device it has no effect.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.9,
        use_batch_statistics: bool | None = None,
        over_devices: bool = False,
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum, use_batch_statistics=use_batch_statistics)
        self.input_type = self.output_type = ms.float32
        self.devices = _devices() if over_devices else 1
        self.kept_share = momentum
        self.epsilon = Tensor(eps, ms.float32)
        if self.devices > 1:
            self.all_reduce = ops.AllReduce()

    def set_precision(self, precision: Precision) -> None:
        """Take and give these types from now on."""
        self.input_type, self.output_type = precision.norm_input, precision.norm_output

    def construct(self, x: Tensor) -> Tensor:
        """Normalize x [B,C,H,W]."""
        if self.devices > 1 and self.training:
            return in_type(self._normalize_over_devices(in_float32(x)), self.output_type)
        # A graph would take the `super()` of a subclass for this one: this class has none.
        return in_type(super().construct(in_type(x, self.input_type)), self.output_type)

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
