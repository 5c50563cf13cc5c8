"""The published keys of NAS-FPN, and mistakes in them."""

from pathlib import Path

import pytest

from src.common.errors import UserError
from src.config import load_config

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "configs/nas_fpn/retinanet_r50_nasfpn_640.yaml"
BASE = ROOT / "configs/nas_fpn/default_config.yaml"


def test_the_published_keys_reach_their_places() -> None:
    config = load_config(PUBLISHED)
    assert config.input_hw == (640, 640)
    assert (config.num_retinanet_boxes, config.train_cfg.assigner.neg_iou_thr) == (76725, 0.5)
    test = config.test_cfg
    assert (test.nms.iou_threshold, test.score_thr, test.max_per_img) == (0.6, 0.1, 100)
    assert (config.lr_init, config.lr_end_rate, config.momentum, config.epoch_size) == (1e-6, 5e-3, 0.9, 300)
    assert [getattr(config, f"warmup_epochs{i}") for i in range(1, 6)] == [2, 5, 23, 60, 160]
    assert (config.bbox_head.loss_cls.gamma, config.bbox_head.loss_cls.alpha) == (2.0, 0.75)
    neck = config.neck.nas_fpn
    assert (neck.in_channels, neck.out_channels, neck.num_outs) == ([512, 1024, 2048], 256, 5)
    assert (neck.stack_times, neck.start_level, neck.end_level, config.batch_size) == (7, 0, -1, 16)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("img_shape: [512, 640]\nnum_retinanet_boxes: 76725", ["num_retinanet_boxes", "640 x 512", "61380 would be"]),
        ("num_retinanet_boxes: 49104", ["num_retinanet_boxes", "49104", "num_retinanet_boxes: 76725 would be right"]),
        ("divider: 64\nimg_shape: 700", ["img_height", "704", "multiple of 128", "768"]),
        ("backbone: {depth: 18}", ["neck.nas_fpn.in_channels", "[512, 1024, 2048]", "[128, 256, 512]"]),
        ("backbone: {out_indices: [0, 1, 2, 3]}", ["neck.nas_fpn.in_channels", "[256, 512, 1024, 2048]"]),
        ("backbone: {out_indices: [0, 1, 2]}\nnasfpn_input_channels: [256, 512, 1024]", ["[4, 8, 16, 32, 64]"]),
        ("nasfpn_out_channel: 128", ["bbox_head.in_channels", "the neck gives 128"]),
        ("nasfpn_num_outs: 4", ["neck.nas_fpn.num_outs", "merge 5 levels"]),
        ("nasfpn_end_level: 3", ["(as nasfpn_end_level)", "neck.nas_fpn.end_level", "levels 0 to 2"]),
        ("nasfpn_end_level: 1", ["neck.nas_fpn.end_level", "-1 or 2"]),
        ("nasfpn_start_level: 3", ["neck.nas_fpn.start_level", "above the last level 2"]),
        ("backbone: {type: vgg}", ["backbone.type", "'vgg'", "spinenet, resnet, resnext"]),
        ("backbone: {arch: '49'}", ["unknown key 'backbone.arch'"]),
        ("lr_type: five_phases", ["lr_type", "five_phase"]),
    ],
)
def test_mistakes_name_key_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"base: {BASE}\n{text}\n")
    with pytest.raises(UserError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in [".yaml", *parts]:
        assert part in message


def test_a_spinenet_has_no_neck(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"base: {ROOT / 'configs/spinenet_retinanet/default_config.yaml'}\nnasfpn_stack_times: 3\n")
    with pytest.raises(UserError, match=r"\(as nasfpn_stack_times\): unknown key 'neck"):
        load_config(path)


def test_a_number_of_boxes_is_checked_for_spinenets_too() -> None:
    path = ROOT / "configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml"
    assert load_config(path, {"num_retinanet_boxes": 76725}).num_retinanet_boxes == 76725
    with pytest.raises(UserError, match="num_retinanet_boxes: 76725 would be right"):
        load_config(path, {"num_retinanet_boxes": 1})
