import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.blocks.backbones import ResNet, ResNeXt
from src.models.counting import count_parameters
from tests.blocks import oracle

EXPECTED = oracle.arrays("backbones")
SEED = int(EXPECTED["seed"])
NETWORKS = {  # class, arguments, learned values
    "resnet50": (ResNet, {"depth": 50}, 23_508_032),
    "resnet101": (ResNet, {"depth": 101}, 42_500_160),
    "resnext101_64x4d": (ResNeXt, {}, 81_406_272),
}
IMAGES = ms.Tensor(EXPECTED["x"].astype(np.float32))
TRAINING_IMAGES = ms.Tensor(EXPECTED["x_train"].astype(np.float32))
SMALL = {"depth": 18, "base_channels": 8, "stage_blocks": (1, 1, 1, 1)}


def published(name: str, **options) -> ResNet:
    cls, arguments, _ = NETWORKS[name]
    net = cls(**arguments, **options)
    oracle.set_published_weights(net, name, SEED)
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_torchvisions(name, pynative):
    net = published(name).set_train(False)
    assert count_parameters(net) == NETWORKS[name][2]
    for level, feature in enumerate(net(IMAGES), start=2):
        assert oracle.relative_error(EXPECTED, f"{name}/C{level}", feature) < 1e-4


class WeightedSum(nn.Cell):
    """The sum of the last feature map times `weights`, and all feature maps."""

    def __init__(self, net: nn.Cell, weights: np.ndarray):
        super().__init__(auto_prefix=False)
        self.net = net
        self.weights = ms.Tensor(weights.astype(np.float32))

    def construct(self, images):
        features = self.net(images)
        return (features[-1] * self.weights).sum(), features


class Step(nn.Cell):
    """Features and gradients of a WeightedSum."""

    def __init__(self, weighted: WeightedSum):
        super().__init__(auto_prefix=False)
        self.weighted = weighted
        self.grad = ms.value_and_grad(weighted, None, weighted.trainable_params(), has_aux=True)

    def construct(self, images):
        (_, features), gradients = self.grad(images)
        return features, gradients


def train_step(net: nn.Cell, images: ms.Tensor, weights: np.ndarray):
    """Features and {parameter name: gradient} of one compiled training step."""
    step = Step(WeightedSum(net, weights)).set_train(True)
    features, gradients = step(images)
    names = [parameter.name for parameter in net.trainable_params()]
    return features, dict(zip(names, gradients, strict=True))


def our_name(published_name: str) -> str:
    module, _, leaf = published_name.rpartition(".")
    is_norm = module.rpartition(".")[2].startswith("bn")
    return f"{module}.{oracle.BN_NAMES[leaf]}" if is_norm else published_name


def test_training_equals_torchvisions():
    """The gradients' tolerances: float32 and float64 of the same PyTorch code are 1e-2 apart."""
    net = published("resnet50")
    features, gradients = train_step(net, TRAINING_IMAGES, EXPECTED["train_grad_out_C5"])
    for level, feature in enumerate(features, start=2):
        assert oracle.relative_error(EXPECTED, f"resnet50_train/C{level}", feature) < 1e-3
    statistics = [key for key in EXPECTED if key.startswith("resnet50_train/") and "running_" in key]
    assert len(statistics) == 4
    for key in statistics:
        parameter = net.parameters_dict()[our_name(key.removeprefix("resnet50_train/"))]
        assert oracle.relative_error(EXPECTED, key, parameter) < 1e-4, key
    prefix = "resnet50_train/gradnorm/"
    names = [key.removeprefix(prefix) for key in EXPECTED if key.startswith(prefix)]
    assert len(names) == 8
    for name in names:
        gradient = gradients[our_name(name)]
        assert oracle.relative_error(EXPECTED, f"resnet50_train/grad/{name}", gradient) < 5e-2, name
        np.testing.assert_allclose(np.linalg.norm(gradient.asnumpy()), EXPECTED[prefix + name], rtol=2e-2)


def arrays_of(net: nn.Cell) -> dict[str, np.ndarray]:
    return {parameter.name: parameter.asnumpy().copy() for parameter in net.get_parameters()}


def with_random_statistics(net: nn.Cell) -> nn.Cell:
    rng = np.random.default_rng(0)
    for parameter in net.get_parameters():
        if parameter.name.endswith(("moving_mean", "moving_variance", "gamma", "beta")):
            parameter.set_data(ms.Tensor(rng.uniform(0.5, 1.5, parameter.shape).astype(np.float32)))
    return net


def test_norm_eval_keeps_the_statistics_and_trains_the_affine_parameters():
    ms.set_seed(1)  # weights of which no unit is within a step of its kink
    net = with_random_statistics(ResNet(**SMALL, norm_eval=True))
    before = arrays_of(net)
    images = TRAINING_IMAGES[:, :, :64, :64]
    weights = np.random.default_rng(1).normal(size=(2, 64, 2, 2))
    in_training, gradients = train_step(net, images, weights)
    for name, array in arrays_of(net).items():
        np.testing.assert_array_equal(array, before[name])
    in_evaluation = net.set_train(False)(images)
    np.testing.assert_allclose(in_training[-1].asnumpy(), in_evaluation[-1].asnumpy(), rtol=1e-5, atol=1e-5)
    assert {name for name in gradients if name.endswith(("gamma", "beta"))} == {
        name for name in before if name.endswith(("gamma", "beta"))
    }
    assert_gradient_by_differences(net, images, weights, "layer4.0.bn2.gamma", gradients)
    assert_gradient_by_differences(net, images, weights, "layer4.0.conv2.weight", gradients)


def assert_gradient_by_differences(net, images, weights, name, gradients, step=1e-3):
    """Along the gradient itself; the network is nearly linear in its last layers."""
    parameter, gradient = net.parameters_dict()[name], gradients[name].asnumpy()
    direction = gradient / np.linalg.norm(gradient)
    start = parameter.asnumpy().copy()
    values = []
    for sign in (1, -1):
        parameter.set_data(ms.Tensor(start + sign * step * direction))
        values.append(float((net(images)[-1].asnumpy().astype(np.float64) * weights).sum()))
    parameter.set_data(ms.Tensor(start))
    np.testing.assert_allclose((values[0] - values[1]) / (2 * step), np.linalg.norm(gradient), rtol=1e-2)


@pytest.mark.parametrize("frozen_stages, first_trained", [(-1, "conv1"), (0, "layer1"), (1, "layer2"), (4, None)])
def test_frozen_stages(frozen_stages, first_trained):
    net = ResNet(**SMALL, frozen_stages=frozen_stages)
    parts = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    trained = {p.name.split(".")[0] for p in net.trainable_params()}
    expected = set(parts[parts.index(first_trained) :]) if first_trained else set()
    assert trained == expected
    assert count_parameters(net) == count_parameters(ResNet(**SMALL))


def test_frozen_stages_keep_their_statistics_in_training():
    net = with_random_statistics(ResNet(**SMALL, frozen_stages=1))
    before = arrays_of(net)
    train_step(net, TRAINING_IMAGES[:, :, :64, :64], np.ones((2, 64, 2, 2)))
    changed = {name.split(".")[0] for name, array in arrays_of(net).items() if not np.array_equal(array, before[name])}
    assert changed == {"layer2", "layer3", "layer4"}


def test_options(pynative):
    net = ResNet(34, num_stages=3, out_indices=(0, 2), base_channels=16, stage_blocks=(1, 2, 1)).set_train(False)
    features = net(IMAGES)
    assert [f.shape for f in features] == [(1, 16, 32, 40), (1, 64, 8, 10)]
    assert net.out_channels == (16, 64)
    assert not net.parameters_dict()["layer2.1.bn2.gamma"].asnumpy().any()
    assert not [name for name in net.parameters_dict() if name.startswith("layer4")]
    narrow = ResNeXt(50, groups=4, base_width=2, base_channels=16)
    assert narrow.parameters_dict()["layer2.0.conv2.weight"].shape == (16, 4, 3, 3)


def test_weights_start_as_published():
    weight = ResNet(50, num_stages=2, out_indices=(1,)).layer2[0].conv2.weight.asnumpy()
    np.testing.assert_allclose(weight.std(), np.sqrt(2 / (128 * 9)), rtol=0.02)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_stages": 5}, "num_stages is 5.* 1 to 4"),
        ({"out_indices": (1, 0)}, "must rise"),
        ({"num_stages": 2, "out_indices": (0, 2)}, "stages 0 to 1"),
        ({"frozen_stages": 5}, "frozen_stages is 5"),
        ({"depth": 18, "groups": 32}, "basic blocks"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**arguments)
