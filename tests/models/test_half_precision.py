"""What computes in half precision and what does not: walks the cells of every detector, in pynative mode."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.blocks import losses
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.common.errors import UserError
from src.config import load_config
from src.models import build_detector
from src.ops.batch_norm import BatchNorm2d
from src.ops.convolution import Conv2d, Dense, PointwiseConvolution
from src.ops.precision import set_precision
from src.schema import Config
from tests.conftest import ROOT
from tests.end_to_end.commands import TINY_MASK_CONFIG
from tests.end_to_end.test_pynative import CONFIGS

DETECTORS = CONFIGS | {
    "refinedet_vgg": f"base: {ROOT}/configs/refinedet/refinedet_vgg16_320_voc.yaml\n"
    "backbone: {base_channels: 4}\nneck: {out_channels: 16}\nimg_width: 128\nimg_height: 128\n"
}
HALF, FULL = ms.float16, ms.float32
# Cells that may take half precision: layers, and what only hands on features. RoIAlign casts them.
NETWORK = ("src.blocks.backbones.", "src.blocks.necks.", "src.blocks.layers.", "src.blocks.bbox_heads.")
NETWORK += ("src.blocks.mask_heads.fcn_mask_head", "src.blocks.roi_extractors.", "src.ops.roi_align.roi_align")
NETWORK += tuple(f"src.blocks.dense_heads.{name}_head" for name in ("multibox", "retina_sepbn", "rpn"))
NETWORK += ("src.ops.convolution.", "src.ops.batch_norm", "src.ops.max_pool", "src.ops.map_sum")
NETWORK += ("src.models.prediction", "mindspore.nn.")
LOSSES = ("sigmoid_cross_entropy", "softmax_cross_entropy", "smooth_l1_loss", "l1_loss", "box_loss")


def configured(name: str, folder: Path) -> Config:
    (folder / "tiny_mask.yaml").write_text(TINY_MASK_CONFIG)
    (folder / "tiny.yaml").write_text(DETECTORS[name])
    return load_config(folder / "tiny.yaml", {"device_target": "CPU"})


def batch_of(config: Config) -> tuple:
    rng = np.random.default_rng(0)
    height, width = config.input_hw
    info = np.tile(np.array([height, width, height, width, 1, 1], np.float32), (2, 1))
    boxes = np.zeros((2, config.num_gts, 4), np.float32)
    boxes[:, 0], boxes[:, 1] = (4, 6, 40, 50), (20, 10, 60, 30)
    valid = boxes[..., 2] > 0
    labels = valid.astype(np.int32)
    masks = None
    if config.mask_options:
        side = config.mask_options.crop_size
        masks = Tensor(np.ones((2, config.num_gts, side, side), np.uint8))
    images = rng.normal(size=(2, 3, height, width)).astype(np.float32)
    return *map(Tensor, (images, info, boxes, labels, valid)), masks


def types_of(values: Any) -> Iterator[Any]:
    """Types of all floating-point tensors in nested tuples and dicts."""
    if isinstance(values, Tensor):
        if values.is_floating_point():
            yield values.dtype
    elif isinstance(values, tuple | list):
        for value in values:
            yield from types_of(value)
    elif isinstance(values, dict):
        yield from types_of(list(values.values()))


@contextmanager
def walked(net: nn.Cell, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, set]]:
    """{what: types that it took} of cells by their names, and of functions that must take float32 by theirs."""
    taken: dict[str, set] = defaultdict(set)

    def noting(name: str, function: Callable) -> Callable:
        def noted(*arguments: Any, **options: Any) -> Any:
            taken[name] |= set(types_of((arguments, options)))
            return function(*arguments, **options)

        return noted

    with monkeypatch.context() as patch:
        for name in LOSSES:
            function = getattr(losses, name)
            for module in [module for path, module in sys.modules.items() if path.startswith("src.")]:
                if getattr(module, name, None) is function:
                    patch.setattr(module, name, noting(f"function {name}", function))
        for name in ("softmax", "log_softmax"):
            patch.setattr(ops, name, noting(f"function {name}", getattr(ops, name)))
        for name in ("encode", "decode"):
            patch.setattr(DeltaXYWHBBoxCoder, name, noting(f"function {name}", getattr(DeltaXYWHBBoxCoder, name)))
        for name, cell in net.cells_and_names():
            cell.register_forward_pre_hook(lambda _, inputs, name=name: taken[name].update(types_of(inputs)))
            cell.register_forward_hook(
                lambda _, inputs, output, name=name: taken[f"{name} gives"].update(types_of(output))
            )
        yield taken


@pytest.fixture
def pynative() -> Iterator[None]:
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.mark.usefixtures("pynative")
@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_only_the_network_computes_in_half_precision(name: str, tmp_path: Path, monkeypatch) -> None:
    config = configured(name, tmp_path)
    net = build_detector(config)
    net.set_train(True)
    batch = batch_of(config)
    expected = {term: float(value.asnumpy()) for term, value in net.losses(*batch).items()}
    set_precision(net, "O3", "float16")
    with walked(net, monkeypatch) as taken:
        terms = net.losses(*batch)
        net.predict(batch[0], batch[1])
    assert set(types_of(terms)) == {FULL}
    assert {term: float(value.asnumpy()) for term, value in terms.items()} == pytest.approx(expected, rel=0.1, abs=0.02)
    for parameter in net.get_parameters():
        assert parameter.dtype == FULL, parameter.name
    for path, cell in net.cells_and_names():
        if isinstance(cell, Conv2d | Dense | PointwiseConvolution | BatchNorm2d):
            assert taken[f"{path} gives"] <= {HALF}, path
        assert not isinstance(cell, nn.Conv2d | nn.Dense | nn.BatchNorm2d) or hasattr(cell, "set_precision"), path
        if not type(cell).__module__.startswith(NETWORK):
            assert HALF not in taken[path], path
        if type(cell).__name__.endswith(("RoIAlign", "RoIExtractor", "Head")):
            assert HALF not in taken[f"{path} gives"], path
    functions = {what: types for what, types in taken.items() if what.startswith("function")}
    assert "function encode" in functions and len(functions) >= 2
    for what, types in functions.items():
        assert types == {FULL}, what


@pytest.mark.usefixtures("pynative")
@pytest.mark.parametrize(
    ("level", "types"),
    [
        ("O0", (FULL, FULL, FULL)),
        ("O1", (FULL, FULL, FULL)),
        ("O2", (HALF, HALF, HALF)),
        ("O3", (HALF, HALF, HALF)),
        ("auto", (HALF, FULL, FULL)),
    ],
)
def test_levels(level: str, types: tuple) -> None:
    net = nn.SequentialCell(Conv2d(8, 8, 3, pad_mode="pad", padding=1, has_bias=True), BatchNorm2d(8), nn.ReLU())
    net.set_train(True)
    x = Tensor(np.random.default_rng(0).normal(size=(2, 8, 6, 6)).astype(np.float32))
    expected = net(x).asnumpy()
    set_precision(net, level, "float16")
    steps, given = x, []
    for cell in net:
        steps = cell(steps)
        given.append(steps.dtype)
    assert tuple(given) == types
    np.testing.assert_allclose(steps.float().asnumpy(), expected, atol=0 if level == "O0" else 0.01)
    assert np.array_equal(steps.float().asnumpy(), expected) == (level == "O0")


def test_bfloat16_is_refused_on_a_cpu() -> None:
    with pytest.raises(UserError, match="amp_dtype bfloat16 works on GPU and Ascend; .* for CPU: float16"):
        set_precision(Dense(8, 8), "O1", "bfloat16")
    set_precision(Dense(8, 8), "O0", "bfloat16")


def test_a_dilated_convolution_stays_in_float32_on_a_gpu(monkeypatch) -> None:
    plain, dilated = Conv2d(8, 8, 3), Conv2d(8, 8, 3, dilation=3)
    monkeypatch.setattr("src.ops.convolution.layers.current_target", lambda: "GPU")
    for cell in (plain, dilated):
        set_precision(cell, "O2", "float16")
    assert (plain.compute_type, dilated.compute_type, dilated.output_type) == (HALF, FULL, HALF)
