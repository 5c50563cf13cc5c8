"""A training in half precision whose evaluations compute in float32, in compiled graphs."""

import numpy as np
from mindspore import Tensor, nn

from src.engine.loss_scale import DynamicLossScale, ScaleRules
from src.engine.train_step import Updater
from src.models.prediction import Compiled
from src.ops.batch_norm import BatchNorm2d
from src.ops.convolution import Conv2d
from src.ops.precision import in_float32, precision_for_a_while, set_precision
from tests.engine.toy_detector import ToyDetector, toy_batch


class ConvolutionalDetector(ToyDetector):
    """With a convolution and a normalization before the dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv2d(3, 8, 3, pad_mode="pad", padding=1, weight_init="ones", has_bias=True, bias_init="zeros")
        self.norm = BatchNorm2d(8, over_devices=True)
        self.last = Conv2d(8, 3, 1, weight_init="ones")
        self.compiled_features = Compiled(self.features)

    def features(self, images):
        return in_float32(self.last(self.norm(self.conv(images))))

    def losses(self, images, *batch, **options):
        return super().losses(self.features(images), *batch, **options)


def test_evaluations_compute_in_their_own_precision() -> None:
    net = ConvolutionalDetector()
    set_precision(net, "O2", "float16")
    optimizer = nn.Momentum(net.trainable_params(), learning_rate=0.1, momentum=0.9)
    update = Updater(net, optimizer, DynamicLossScale(ScaleRules()))
    images = Tensor(toy_batch(4, 9)["image"])
    losses = []
    for step in range(4):
        net.set_train(True)
        losses.append(float(update([toy_batch(4, 0)], 0.01, step).asnumpy().sum()))
        net.set_train(False)
        with precision_for_a_while(net, "O0", "O2", "float16"):
            found = net.compiled_features(images).asnumpy()
    assert losses[-1] < losses[0]
    same = ConvolutionalDetector()
    for parameter, trained in zip(same.get_parameters(), net.get_parameters(), strict=True):
        parameter.set_data(Tensor(trained.asnumpy()))
    same.set_train(False)
    np.testing.assert_array_equal(found, same.compiled_features(images).asnumpy())
    set_precision(same, "O2", "float16")
    rounded = Compiled(same.features)(images).asnumpy()
    assert not np.array_equal(rounded, found)
    np.testing.assert_allclose(rounded, found, rtol=0.02, atol=0.05)
