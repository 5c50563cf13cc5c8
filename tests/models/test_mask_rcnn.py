"""Mask R-CNN and Cascade Mask R-CNN against mmdetection: detections, masks, losses, gradients."""

import mindspore as ms
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.config import load_config
from src.engine.train_step import GradientCell
from src.evaluation.masks import encode_masks
from src.models import build_detector
from src.models.counting import count_parameters
from tests.blocks import oracle
from tests.blocks.two_stage import CONFIGS, NOTHING_DROPPED, published_detector, training_batch

MODELS = ["mask_r50", "cascade_r50"]


@pytest.mark.parametrize(
    ("experiment", "millions"),
    [
        ("mask_rcnn_r50_fpn", 44.396),
        ("mask_rcnn_r101_fpn", 63.388),
        ("mask_rcnn_x_101_64x4d_fpn", 102.295),
        ("cascade_mask_rcnn_r50_fpn", 77.325),
    ],
)
def test_parameter_counts_are_the_published_ones(experiment, millions):
    net = build_detector(load_config(CONFIGS / f"{experiment}.yaml", {"num_gts": 4}))
    assert round(count_parameters(net) / 1e6, 3) == millions


@pytest.mark.parametrize("model", MODELS)
def test_detections_equal_mmdetections(model):
    ms.set_context(mode=ms.GRAPH_MODE)
    expected = oracle.arrays(f"det_{model}")
    net = published_detector(model, expected["x"].shape[2:], int(expected["seed"]))
    original, scale = expected["ori_hw"], float(expected["scale_factor"])
    info = np.array([[*original, *expected["img_hw"], scale, scale]], np.float32)
    found = net.predict(expected["x"].astype(np.float32), info)
    assert oracle.matched(found, expected, "rescaled") >= 98
    np.testing.assert_allclose(found.masks[0, :20], expected["net/mask_prob28_top20"], atol=1e-3)
    pasted = encode_masks(found.masks[0], found.boxes[0], int(original[0]), int(original[1]), 0.5)
    areas = coco_mask.area(pasted).astype(float)
    close = np.isclose(areas, expected["rescaled/mask_area"], rtol=0.002, atol=20)
    assert close.sum() >= 98  # rows of nearly equal scores may change places, and pixels of 0.5 sides
    net.predict(expected["x"].astype(np.float32), info)
    assert len(net.compiled_masks.compile_cache) == 1  # other images do not compile it anew


@pytest.mark.parametrize("model", MODELS)
def test_losses_and_gradients_equal_mmdetections(model):
    ms.set_context(mode=ms.GRAPH_MODE)
    expected = oracle.arrays(f"train_{model}")
    overrides = {**NOTHING_DROPPED, "backbone.frozen_stages": 1, "mask_crop_size": 256}
    net = published_detector(model, expected["x"].shape[2:], int(expected["seed"]), **overrides)
    net.set_train(True)
    parameters = net.trainable_params()
    batch = training_batch(expected, NOTHING_DROPPED["num_gts"])
    terms, gradients = GradientCell(net, parameters, 1.0)(*batch, None, ms.Tensor(0, ms.int32))
    losses = dict(zip(net.loss_names, terms.asnumpy().tolist(), strict=True))
    assert losses == pytest.approx(oracle.expected_losses(expected), rel=2e-4, abs=1e-6)

    names = [parameter.name.replace(".gamma", ".weight").replace(".beta", ".bias") for parameter in parameters]
    norms = {name: np.linalg.norm(g.asnumpy()) for name, g in zip(names, gradients, strict=True)}
    wanted = dict(zip(expected["grad_names"].tolist(), expected["grad_norms"].tolist(), strict=True))
    assert norms.keys() == wanted.keys()  # those of frozen stages are in neither
    largest = max(wanted.values())
    wrong = {name: (norms[name], w) for name, w in wanted.items() if abs(norms[name] - w) > 2e-3 * w + 1e-4 * largest}
    assert not wrong
    for name, gradient in zip(names, gradients, strict=True):
        if f"grad/{name}/val" in expected:
            assert oracle.relative_error(expected, f"grad/{name}", gradient) < 1e-2, name
