"""Parameters and multiply-accumulates, part by part."""

import numpy as np
import pytest
from mindspore import Tensor, nn

from src.blocks.layers import ConvModule, Dense, Upsample2x2
from src.commands.count_parameters import _shrink, summarise, summary_table
from src.config import load_config
from src.models.counting import macs_of_layers
from tests.conftest import ROOT


def test_layers_by_hand(pynative):
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.conv = ConvModule(8, 16, 3, stride=2)
            self.up = Upsample2x2(16, 4)
            self.fc = Dense(4 * 4 * 4, 10)

        def construct(self, x):
            return self.fc(self.up(self.conv(x)).reshape(-1, 64))

    net = Net()
    macs = macs_of_layers(net, lambda: net(Tensor(np.zeros((1, 8, 8, 8), np.float32))))
    # 4 x 4 outputs of the convolution; a 2 x 2 kernel from 16 to 4 channels; 4 rows of 64 values to 10
    assert macs == {"conv.conv": 16 * 16 * 8 * 9, "up.convolve": 16 * 4 * 4 * 16, "fc": 4 * 64 * 10}


def test_regions_of_a_cascade_count_for_each_stage(pynative):
    sizes = {"img_width": 128, "img_height": 128, "backbone.base_channels": 8, "backbone.norm_eval": True}
    narrow = {"neck.fpn.in_channels": [32, 64, 128, 256]}
    config = load_config(ROOT / "configs/instaboost/cascade_mask_rcnn_r50_fpn.yaml", sizes | narrow)
    summary = summarise(config)
    assert (summary.num_rois, summary.num_masks) == (1000, 100)
    hidden = 256 * 49 * 1024 + 1024 * 1024
    assert summary.macs["roi_head.bbox_head"] == 3 * 1000 * (hidden + 1024 * (81 + 4))
    convolutions = 4 * 14 * 14 * 256 * 256 * 9 + 14 * 14 * 4 * 256 * 256 + 28 * 28 * 256 * 80
    assert summary.macs["roi_head.mask_head"] == 3 * 100 * convolutions
    assert set(summary.parameters) == set(summary.macs)
    assert "input 128 x 128, 1000 proposals, 100 masks" in summary_table(summary)


@pytest.mark.parametrize(
    "size, expected", [((640, 640), 5), ((800, 1280), 1), ((768, 1280), 2), ((128, 128), 1), ((320, 320), 1)]
)
def test_counting_on_a_smaller_input_keeps_whole_strides(size, expected):
    assert _shrink(*size) == expected
