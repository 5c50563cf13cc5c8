"""Mistakes in the configuration of mask models."""

from pathlib import Path

import pytest

from src.common.errors import UserError
from src.config import load_config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("experiment", "text", "parts"),
    [
        ("mask_rcnn_r50_fpn", "detector: mask_rnn", ["detector", "'mask_rnn'", "mask_rcnn"]),
        ("mask_rcnn_r50_fpn", "backbone: {depth: 49}", ["backbone.depth", "49"]),
        ("mask_rcnn_r50_fpn", "backbone: {depth: 18}", ["neck.fpn.in_channels", "[64, 128, 256, 512]"]),
        ("mask_rcnn_r50_fpn", "backbone: {groups: 32}", ["backbone.groups", "resnext"]),
        ("mask_rcnn_r50_fpn", "backbone: {stage_blocks: [1, 1]}", ["backbone.stage_blocks", "4 stages"]),
        ("mask_rcnn_r50_fpn", "neck: {fpn: {out_channels: 64}}", ["rpn.in_channels", "64 channels"]),
        (
            "mask_rcnn_r50_fpn",
            "rpn: {anchor_generator: {strides: [4, 8, 16, 32]}}",
            ["rpn.anchor_generator.strides", "[4, 8, 16, 32, 64]"],
        ),
        ("mask_rcnn_r50_fpn", "mask_roi: {roi_layer: {out_size: 7}}", ["train_cfg.rcnn.mask_size", "28", "14"]),
        ("mask_rcnn_r50_fpn", "roi: {sample_num: 100}", ["roi.sample_num", "512"]),
        ("mask_rcnn_r50_fpn", "action_prob: [0.5, 0.5]", ["action_prob", "3 candidates"]),
        ("mask_rcnn_r50_fpn", "action_prob: [0.5, 0, 0]", ["action_prob", "add up to 1"]),
        ("mask_rcnn_r50_fpn", "scale: [1.2, 0.8]", ["scale", "smaller one comes first"]),
        ("mask_rcnn_r50_fpn", "divider: 8", ["img_width", "multiple of 32"]),
        ("mask_rcnn_r50_fpn", "turn_frame: 0\nexport_turned: 1", ["export_turned", "turn_frame is False"]),
        ("default_config", "export_turned: 1", ["export_turned", "the frame is square"]),
        ("mask_rcnn_r50_fpn", "head_flag: 1", ["unknown key 'head_flag'"]),
        ("cascade_mask_rcnn_r50_fpn", "cascade: {num_stages: 2}", ["cascade.stage_loss_weights", "3 entries"]),
        ("cascade_mask_rcnn_r50_fpn", "bbox_head: {reg_class_agnostic: 0}", ["reg_class_agnostic", "True"]),
    ],
)
def test_mistakes_name_key_and_remedy(tmp_path: Path, experiment: str, text: str, parts: list[str]) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"base: {ROOT / f'configs/instaboost/{experiment}.yaml'}\n{text}\n")
    with pytest.raises(UserError) as caught:
        load_config(path)
    for part in [".yaml: ", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["mask_rcnn_r50_fpn", "mask_rcnn_r101_fpn", "cascade_mask_rcnn_r50_fpn"])
def test_published_frames_turn(name: str) -> None:
    config = load_config(ROOT / f"configs/instaboost/{name}.yaml")
    assert config.turning_hw == (800, 1333) and config.input_shapes == ((800, 1344), (1344, 800))
    assert load_config(ROOT / f"configs/instaboost/{name}.yaml", {"turn_frame": 0}).input_shapes == ((800, 1344),)


@pytest.mark.parametrize("name", ["nas_fpn/default_config", "refinedet/refinedet_vgg16_320"])
def test_frames_of_other_detectors_stay(name: str) -> None:
    path, landscape = ROOT / f"configs/{name}.yaml", {"img_width": 768, "img_height": 512}
    assert load_config(path, landscape).input_shapes == ((512, 768),)
    assert load_config(path, {"turn_frame": 1}).turning_hw is None  # a square
    with pytest.raises(UserError, match=r"turn_frame is True, but (retinanet|refinedet) takes inputs of one shape"):
        load_config(path, {**landscape, "turn_frame": 1})
