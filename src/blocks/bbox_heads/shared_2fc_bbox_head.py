"""Box head with two fully connected layers, named as mmdetection's Shared2FCBBoxHead."""

from mindspore import Tensor, nn
from mindspore.common.initializer import Initializer

from src.blocks.initialization import normal, xavier_uniform
from src.blocks.layers import Dense
from src.ops.precision import in_float32

CLASS_STD = 0.01
BOX_STD = 0.001


def _dense(in_channels: int, out_channels: int, weight_init: Initializer) -> Dense:
    return Dense(in_channels, out_channels, weight_init=weight_init, bias_init="zeros")


class Shared2FCBBoxHead(nn.Cell):
    """Two hidden layers that class scores and boxes share, then a layer each (Lin et al. 2017, section 4.2).

    Args:
        num_classes: number of foreground classes K.
        in_channels: channels C of a region's features.
        fc_out_channels: width of the hidden layers.
        roi_feat_size: side S of a region's features.
        reg_class_agnostic: one box for all classes, or one per class.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        fc_out_channels: int = 1024,
        roi_feat_size: int = 7,
        reg_class_agnostic: bool = False,
    ) -> None:
        super().__init__()
        widths = (in_channels * roi_feat_size**2, fc_out_channels, fc_out_channels)
        self.shared_fcs = nn.CellList([_dense(widths[i], widths[i + 1], xavier_uniform()) for i in range(2)])
        self.fc_cls = _dense(fc_out_channels, num_classes + 1, normal(CLASS_STD))
        self.fc_reg = _dense(fc_out_channels, 4 if reg_class_agnostic else 4 * num_classes, normal(BOX_STD))
        self.relu = nn.ReLU()

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions for each region.

        Args:
            x: [R,C,S,S], features of the regions.

        Returns:
            Class logits [R,K+1], the last of them the background's, and box deltas [R,4*K] (class before coordinate),
            or [R,4] where boxes are class-agnostic; float32.
        """
        x = x.reshape(x.shape[0], -1)
        for layer in self.shared_fcs:
            x = self.relu(layer(x))
        return in_float32(self.fc_cls(x)), in_float32(self.fc_reg(x))
