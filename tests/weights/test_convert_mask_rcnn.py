"""Published weights of Mask R-CNN and Cascade Mask R-CNN, and backbones to start from."""

import json
import logging

import numpy as np
import pytest
from mindspore import nn

from src.blocks.backbones import ResNet
from src.common.errors import UserError
from src.config import load_config
from src.models import build_detector
from src.models.mask_rcnn.weights import COCO_IDS
from src.schema import Config
from src.weights.checkpoint import load_weights, save_weights
from src.weights.convert import convert_weights, our_names, read_state
from src.weights.pretrained import load_pretrained_backbone
from tests.blocks import oracle
from tests.conftest import ROOT
from tests.weights.published_mask_rcnn import published_names, torchvision_state

CONFIGS = ROOT / "configs" / "instaboost"
AS_TORCHVISION = {
    f"{section}.roi_layer.{key}": value
    for section in ("roi", "mask_roi")
    for key, value in (("sampling_ratio", 2), ("aligned", False))
} | {"rpn.anchor_generator.rounded": True}
NARROW = {
    "backbone.base_channels": 4,
    "neck.fpn.in_channels": [16, 32, 64, 128],
    "neck.fpn.out_channels": 8,
    "rpn.in_channels": 8,
    "rpn.feat_channels": 8,
    "bbox_head.in_channels": 8,
    "bbox_head.fc_out_channels": 16,
    "mask_head.in_channels": 8,
    "mask_head.conv_out_channels": 8,
    "roi.out_channels": 8,
    "mask_roi.out_channels": 8,
    "img_height": 64,
    "img_width": 64,
}


def narrow(name: str = "mask_rcnn_r50_fpn", **overrides) -> Config:
    return load_config(CONFIGS / f"{name}.yaml", NARROW | overrides)


def random_weights(config: Config) -> dict[str, np.ndarray]:
    """Of each parameter, by this project's names."""
    rng = np.random.default_rng(0)
    net = build_detector(config)
    return {p.name: rng.uniform(0.5, 1.5, p.shape).astype(np.float32) for p in net.get_parameters()}


CONFIG = narrow()
WEIGHTS = random_weights(CONFIG)
STATE = published_names(WEIGHTS)
TORCHVISION_CONFIG = narrow(**AS_TORCHVISION)


def assert_same(arrays: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert arrays.keys() == wanted.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "name, model", [("mask_rcnn_r50_fpn", "mask_r50"), ("cascade_mask_rcnn_r50_fpn", "cascade_r50")]
)
def test_mmdetections_names_fill_the_whole_network(name, model, caplog):
    config = narrow(name)
    weights = random_weights(config)
    state = published_names(weights)
    published = json.loads((oracle.FOLDER / f"params_{model}.json").read_text())["params"]
    assert state.keys() == {parameter for parameter, _ in published}
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights({"state_dict": state, "meta": {}}, config)
    assert not caplog.records
    assert_same(arrays, weights)


@pytest.mark.parametrize("old_names", [False, True])
def test_torchvisions_names_and_order_of_classes(old_names):
    """Old names mean weights without an epsilon: scaled gammas give the same outputs with one."""
    arrays = convert_weights(torchvision_state(STATE, old_names), TORCHVISION_CONFIG)
    wanted = dict(WEIGHTS)
    for name, gamma in WEIGHTS.items():
        if old_names and name.endswith(".gamma"):
            variance = WEIGHTS[name.replace(".gamma", ".moving_variance")].astype(np.float64)
            wanted[name] = gamma * np.sqrt((variance + 1e-5) / variance)
    assert_same(arrays, wanted)


def matched(expected: dict[str, np.ndarray], kind: str, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray):
    """Index of the detection that equals each expected one, -1 where none does."""
    ids = np.array(list(COCO_IDS.values()))
    wanted = expected[f"{kind}/boxes"]
    low = np.maximum(wanted[:, None, :2], boxes[None, :, :2])
    high = np.minimum(wanted[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(b[:, 2:] - b[:, :2], axis=-1) for b in (wanted, boxes)]
    same = common / (areas[0][:, None] + areas[1][None] - common) > 0.99
    same &= expected[f"{kind}/labels"][:, None] == ids[labels][None]
    same &= np.abs(expected[f"{kind}/scores"][:, None] - scores[None]) < 1e-3
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def test_torchvisions_weights_give_its_detections():
    expected = oracle.arrays("torchvision_mask_rcnn")
    height, width = expected["img_hw"]
    sizes = {"img_height": expected["x"].shape[2], "img_width": expected["x"].shape[3]}
    config = load_config(CONFIGS / "mask_rcnn_r50_fpn.yaml", AS_TORCHVISION | sizes)
    state = torchvision_state(oracle.published_state("mask_r50", int(expected["seed"])))
    net = build_detector(config)
    load_weights(net, convert_weights(state, config))
    info = np.array([[height, width, height, width, 1, 1]], np.float32)
    found = net.predict(expected["x"].astype(np.float32), info)
    indices = matched(expected, "rounded", found.boxes[0], found.scores[0], found.labels[0])
    assert (indices >= 0).sum() >= 98
    for masks, index in zip(expected["rounded/masks"], indices, strict=False):
        np.testing.assert_allclose(found.masks[0, index], masks, atol=2e-3)


def test_what_torchvision_computes_otherwise_is_an_error_with_the_keys_to_set():
    state = torchvision_state(STATE)
    with pytest.raises(
        UserError, match="rounded: True, roi.roi_layer.sampling_ratio: 2, roi.roi_layer.aligned: False, "
    ):
        convert_weights(state, CONFIG)
    with pytest.raises(UserError, match=r"set img_mean: \[123.675, 116.28, 103.53\]$"):
        convert_weights(state, narrow(**AS_TORCHVISION, img_mean=[103.53, 116.28, 123.675]))
    with pytest.raises(UserError, match="is for cascade_mask_rcnn: convert with detector: mask_rcnn"):
        convert_weights(state, narrow("cascade_mask_rcnn_r50_fpn"))
    with pytest.raises(UserError, match="maskrcnn_resnet50_fpn_v2"):
        convert_weights(state | {"rpn.head.conv.1.0.weight": np.zeros(1)}, TORCHVISION_CONFIG)


def test_classes_of_torchvisions_weights(caplog):
    state = torchvision_state(STATE)
    names = ["background", "dog", "tie", "person"]
    config = narrow(**AS_TORCHVISION, coco_classes=names, num_classes=4, category_ids=[])
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights(state, config)
    assert "3 of COCO's 80 classes are kept" in caplog.text
    all_scores = WEIGHTS["roi_head.bbox_head.fc_cls.bias"]
    np.testing.assert_array_equal(arrays["roi_head.bbox_head.fc_cls.bias"], all_scores[[16, 27, 0, 80]])
    all_boxes = WEIGHTS["roi_head.bbox_head.fc_reg.weight"].reshape(80, 4, 16)
    np.testing.assert_array_equal(arrays["roi_head.bbox_head.fc_reg.weight"], all_boxes[[16, 27, 0]].reshape(12, 16))
    all_masks = WEIGHTS["roi_head.mask_head.conv_logits.weight"]
    np.testing.assert_array_equal(arrays["roi_head.mask_head.conv_logits.weight"], all_masks[[16, 27, 0]])
    with pytest.raises(UserError, match="coco_classes has others: unicorn"):
        own = narrow(**AS_TORCHVISION, coco_classes=["background", "unicorn"], num_classes=2, category_ids=[])
        convert_weights(state, own)


def test_torchvisions_weights_of_other_classes_keep_their_order():
    state = torchvision_state(STATE)
    for name in ("box_predictor.cls_score", "mask_predictor.mask_fcn_logits"):
        for leaf in ("weight", "bias"):
            state[f"roi_heads.{name}.{leaf}"] = state[f"roi_heads.{name}.{leaf}"][:3]
    for leaf in ("weight", "bias"):
        state[f"roi_heads.box_predictor.bbox_pred.{leaf}"] = state[f"roi_heads.box_predictor.bbox_pred.{leaf}"][:12]
    options = {"coco_classes": ["background", "nut", "bolt"], "num_classes": 3, "category_ids": []}
    arrays = convert_weights(state, narrow(**AS_TORCHVISION, **options))
    scores = state["roi_heads.box_predictor.cls_score.bias"]
    np.testing.assert_array_equal(arrays["roi_head.bbox_head.fc_cls.bias"], scores[[1, 2, 0]])
    with pytest.raises(UserError, match="the weights have 2 classes without background, coco_classes 80"):
        convert_weights(state, TORCHVISION_CONFIG)


def test_another_number_of_classes_is_one_clear_error():
    for name, prefix in (("mask_rcnn_r50_fpn", ""), ("cascade_mask_rcnn_r50_fpn", "0.")):
        state = {f"roi_head.bbox_head.{prefix}fc_cls.bias": np.zeros(21)}
        with pytest.raises(UserError, match=r"predict 20 classes, the configuration 80 \(num_classes 81.*finetune"):
            convert_weights(state, narrow(name))


def test_mmdetection_1_is_an_error():
    with pytest.raises(UserError, match="mmdetection 1.*upgrade_model_version"):
        convert_weights({"backbone.conv1.weight": np.zeros(1), "bbox_head.fc_cls.weight": np.zeros(1)}, CONFIG)


def resnet_state() -> dict[str, np.ndarray]:
    """A classifier as torchvision publishes it."""
    state = {n.removeprefix("backbone."): a for n, a in STATE.items() if n.startswith("backbone.")}
    return state | {"fc.weight": np.zeros((10, 128)), "fc.bias": np.zeros(10), "bn1.num_batches_tracked": np.array(3)}


def test_a_classifier_becomes_a_backbone(caplog):
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights(resnet_state(), CONFIG)
    assert_same(arrays, {name: array for name, array in WEIGHTS.items() if name.startswith("backbone.")})
    assert "2 entries have no place in this network: backbone.fc.weight, backbone.fc.bias" in caplog.text


def backbone_weights(net: nn.Cell) -> dict[str, np.ndarray]:
    return {f"backbone.{p.name.removeprefix('backbone.')}": p.asnumpy() for p in net.get_parameters()}


def test_pretrained_backbones(tmp_path):
    """From a classifier, a detector and a checkpoint; alone, and as a detector's part."""
    np.savez(tmp_path / "classifier.npz", **resnet_state())
    np.savez(tmp_path / "detector.npz", **STATE)
    np.savez(tmp_path / "torchvision.npz", **torchvision_state(STATE))
    save_weights(tmp_path / "backbone.ckpt", our_names(read_state(tmp_path / "classifier.npz")))
    save_weights(tmp_path / "detector.ckpt", WEIGHTS)
    wanted = {name: array for name, array in WEIGHTS.items() if name.startswith("backbone.")}
    for file in ("classifier.npz", "detector.npz", "torchvision.npz", "backbone.ckpt", "detector.ckpt"):
        alone = ResNet(50, base_channels=4)
        load_pretrained_backbone(alone, tmp_path / file)
        assert_same(backbone_weights(alone), wanted)
    detector = build_detector(CONFIG)
    load_pretrained_backbone(detector.backbone, tmp_path / "classifier.npz")
    assert_same(backbone_weights(detector.backbone), wanted)
    two_stages = ResNet(50, base_channels=4, num_stages=2, out_indices=(0, 1))
    load_pretrained_backbone(two_stages, tmp_path / "classifier.npz")
    assert_same(
        backbone_weights(two_stages), {n: a for n, a in wanted.items() if "layer3" not in n and "layer4" not in n}
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"depth": 101}, "of another architecture: layer3.6.conv1.weight is missing.* and .* more"),
        ({"depth": 50, "base_channels": 8}, r"conv1.weight is \(4, 3, 7, 7\), the network's \(8, 3, 7, 7\)"),
        ({"depth": 50, "stage_blocks": (3, 4, 6, 2), "base_channels": 4}, "layer4.2.conv1.weight has no place"),
    ],
)
def test_pretrained_weights_of_another_architecture_are_an_error(options, message, tmp_path):
    np.savez(tmp_path / "classifier.npz", **resnet_state())
    net = ResNet(**{"base_channels": 4} | options)
    before = backbone_weights(net)["backbone.conv1.weight"].copy()
    with pytest.raises(UserError, match=message):
        load_pretrained_backbone(net, tmp_path / "classifier.npz")
    np.testing.assert_array_equal(backbone_weights(net)["backbone.conv1.weight"], before)
