"""Blocks whose activations are computed again: the same gradients and statistics, to the last bit."""

import os
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.blocks.backbones import VGG16, ResNet, ResNeXt, SpineNet, recompute
from src.blocks.backbones.recompute import Chain, RecomputesBlocks, recomputed_chain
from src.blocks.backbones.residual import BasicBlock, BlockOptions
from src.blocks.backbones.spinenet import Merge
from src.blocks.layers import ConvModule, Norm, use_standard_operators
from tests.blocks.recompute_program import Step

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32))


class Backbones(nn.Cell):
    """Two small backbones as one, for a single graph, and the mean square of all they give."""

    def __init__(self) -> None:
        super().__init__()
        ms.set_seed(1)
        self.resnet = ResNet(18, base_channels=8, stage_blocks=(1, 1, 1, 1))
        self.vgg = VGG16(2, Norm())

    def construct(self, images):
        total = 0.0
        for features in (self.resnet(images), self.vgg(images)):
            for feature in features:
                total = total + (feature * feature).mean()
        return total


def after_a_step(marked: bool) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Gradients and running statistics by name, by MindSpore's operators."""
    net = Backbones()
    use_standard_operators(net)
    names = [parameter.name for parameter in net.get_parameters()]
    if marked:
        net.resnet.recompute_blocks()
        net.vgg.recompute_blocks()
    assert [parameter.name for parameter in net.get_parameters()] == names
    found, moving = results_of_a_step(net)
    assert len(moving) > 40
    return found, moving


def results_of_a_step(net: nn.Cell) -> tuple[dict[str, bytes], dict[str, bytes]]:
    net.set_train(True)
    _, gradients = Step(net)(IMAGES)
    trained = (parameter.name for parameter in net.trainable_params())
    found = {name: gradient.asnumpy().tobytes() for name, gradient in zip(trained, gradients, strict=True)}
    return found, {one.name: one.asnumpy().tobytes() for one in net.get_parameters() if "moving" in one.name}


def test_gradients_and_running_statistics_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients, statistics = after_a_step(marked=False)
    assert after_a_step(marked=True) == (gradients, statistics)
    # Without the exclusion the statistics of the blocks are updated twice: so they are indeed computed again.
    monkeypatch.setattr(recompute, "keep_batch_statistics", lambda net: None)
    same, doubled = after_a_step(marked=True)
    changed = {name.split(".bn")[0] for name in statistics if doubled[name] != statistics[name]}
    assert same == gradients
    assert {"resnet.layer1.0", "resnet.layer4.0"} <= changed and any(name.startswith("vgg") for name in changed)


class Mean(nn.Cell):
    """The mean of what convolutions, normalizations and residual blocks give, by the kernels where there are any."""

    def __init__(self, marked: bool) -> None:
        super().__init__()
        ms.set_seed(1)
        blocks = [BasicBlock(8, 8, BlockOptions(Norm(stored_statistics=stored))) for stored in (False, True)]
        layers = [ConvModule(3, 8, 3, 2), ConvModule(8, 8, 3, 2), *blocks, ConvModule(8, 8, 3, 2)]
        self.chain = recomputed_chain(layers) if marked else Chain(layers)

    def construct(self, images):
        return self.chain(images).mean()


def test_kernels_give_the_same() -> None:
    (gradients, statistics), (expected, same) = (results_of_a_step(Mean(marked)) for marked in (True, False))
    assert gradients == expected
    for name, value in same.items():  # by other operators: the same but for rounding
        np.testing.assert_allclose(*(np.frombuffer(one, np.float32) for one in (statistics[name], value)), rtol=1e-5)


@pytest.mark.parametrize(("norm", "again"), [("batch", 3), ("stored", 3), ("frozen", 1), ("none", 1)])
def test_kernels_run_again(norm: str, again: int, tmp_path: Path) -> None:
    """Of two blocks the first convolution; where the normalization is an operator, it too and the second one."""
    counts = []
    for marked in ("plain", "marked"):
        graphs = {"MS_DEV_SAVE_GRAPHS": "2", "MS_DEV_SAVE_GRAPHS_PATH": str(tmp_path / marked)}
        command = [sys.executable, "-m", "tests.blocks.recompute_program", norm, marked]
        subprocess.run(command, cwd=ROOT, env=os.environ | graphs, check=True)
        counts.append(sum(one.read_text().count("= Custom(") for one in (tmp_path / marked).glob("*_execute_*.ir")))
    assert counts[1] - counts[0] == 2 * again


def test_merges_of_spinenet_are_marked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    net = SpineNet("49S", width=0.125)
    marked: list[nn.Cell] = []
    monkeypatch.setattr(nn.Cell, "recompute", lambda cell, **_: marked.append(cell))
    net.recompute_blocks()
    merges = [cell for cell in marked if isinstance(cell, Merge)]
    assert len(merges) == 15 and len(marked) > 30


@pytest.mark.parametrize("backbone", [ResNet, ResNeXt, SpineNet, VGG16])
def test_every_backbone_offers_it(backbone: type) -> None:
    assert issubclass(backbone, RecomputesBlocks)
