"""ImageNet ResNets of MindSpore's model zoo and of mindcv as pretrained backbones."""

import re
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.blocks.backbones import ResNet
from src.blocks.layers import Norm
from src.common.errors import UserError
from src.weights.pretrained import load_pretrained_backbone

WIDTH, EPS = 4, 1e-3


def backbone(depth: int, eps: float = EPS) -> ResNet:
    return ResNet(depth, base_channels=WIDTH, norm=Norm(momentum=0.1, eps=eps))


def random_weights(depth: int) -> dict[str, np.ndarray]:
    """Weights of a backbone by its own names, without the prefix; variances that an epsilon matters for."""
    rng = np.random.default_rng(depth)
    weights = {}
    for parameter in backbone(depth).get_parameters():
        low, high = (1e-5, 1e-3) if parameter.name.endswith("moving_variance") else (-0.3, 0.3)
        weights[parameter.name] = rng.uniform(low, high, parameter.shape).astype(np.float32)
    return weights


def model_zoo(weights: dict[str, np.ndarray], basic: bool) -> dict[str, np.ndarray]:
    """As the model zoo's resnet_ascend...ckpt: with the classifier and the optimizer's state."""
    renamed = {name.replace(".downsample.", ".down_sample_layer."): array for name, array in weights.items()}
    if basic:
        renamed = {re.sub(r"(layer.*\.bn[12])\.", r"\1d.", name): array for name, array in renamed.items()}
    moments = {f"moments.{name}": array * 0 for name, array in renamed.items()}
    return {**renamed, **classifier("end_point"), **moments, "global_step": np.zeros(1, np.int32)}


def mindcv(weights: dict[str, np.ndarray], basic: bool) -> dict[str, np.ndarray]:
    renamed = {name.replace(".downsample.", ".down_sample."): array for name, array in weights.items()}
    return renamed | classifier("classifier")


def classifier(name: str) -> dict[str, np.ndarray]:
    return {f"{name}.weight": np.zeros((10, 8), np.float32), f"{name}.bias": np.zeros(10, np.float32)}


def saved(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A checkpoint as others write it, without a checksum."""
    ms.save_checkpoint([{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()], str(path))
    return path


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("published", [model_zoo, mindcv])
def test_each_weight_gets_its_place_and_outputs_are_theirs(published, depth, tmp_path):
    weights = random_weights(depth)
    path = saved(tmp_path / "resnet.ckpt", published(weights, basic=depth == 18))
    net = backbone(depth)
    load_pretrained_backbone(net, path)
    their_eps = 1e-4 if published is model_zoo and depth == 50 else 1e-5
    for parameter in net.get_parameters():
        wanted = weights[parameter.name]
        if parameter.name.endswith("gamma"):
            variance = weights[parameter.name.replace("gamma", "moving_variance")]
            wanted = wanted * np.sqrt((variance + EPS) / (variance + their_eps))
        np.testing.assert_allclose(parameter.asnumpy(), wanted, rtol=1e-5, err_msg=parameter.name)


def test_the_same_epsilon_changes_nothing(tmp_path):
    weights = random_weights(18)
    net = backbone(18, eps=1e-5)
    load_pretrained_backbone(net, saved(tmp_path / "resnet.ckpt", model_zoo(weights, basic=True)))
    for parameter in net.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), weights[parameter.name])


def test_another_depth_is_an_error(tmp_path):
    path = saved(tmp_path / "resnet.ckpt", mindcv(random_weights(18), basic=True))
    with pytest.raises(UserError, match="is of another architecture: layer1.0.conv3.weight is missing"):
        load_pretrained_backbone(backbone(50), path)
