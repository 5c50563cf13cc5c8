"""Published spellings of keys."""

from contextlib import suppress
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.config import config_from_command_line, load_config
from src.config.published_keys import published_keys, standard_keys
from src.models.api import UnknownNameError
from src.models.backbones.table import BACKBONES
from src.models.table import DETECTORS

ROOT = Path(__file__).parents[2]
BASE = ROOT / "configs/spinenet_retinanet/default_config.yaml"


def experiment(tmp_path: Path, text: str, base: Path = BASE) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"base: {base}\n{text}\n")
    return path


@pytest.mark.parametrize("detector", [name for name, spec in DETECTORS.items() if spec.published_keys])
def test_every_spelling_stands_for_keys_that_exist(detector: str) -> None:
    known = set()
    for backbone in BACKBONES:
        with suppress(UnknownNameError):
            known |= set(_leaves(DETECTORS[detector].config_class({"backbone": {"type": backbone}})))
    for seed, names in published_keys(detector).items():
        assert set(names) <= known, seed
        assert seed not in known


def _leaves(model, prefix: str = ""):
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from _leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_files_and_command_line_take_them(tmp_path: Path) -> None:
    path = experiment(tmp_path, "img_shape: [512, 640]\nmatch_thershold: 0.6\nnms_thershold: 0.55\nalpha: 0.75")
    config = load_config(path, {"max_boxes": "50", "gamma": 1})
    assert (config.img_height, config.img_width) == (512, 640)
    assert (config.train_cfg.assigner.pos_iou_thr, config.train_cfg.assigner.neg_iou_thr) == (0.6, 0.6)
    assert (config.test_cfg.nms.iou_threshold, config.test_cfg.max_per_img) == (0.55, 50)
    assert (config.bbox_head.loss_cls.alpha, config.bbox_head.loss_cls.gamma) == (0.75, 1)
    assert load_config(path, {"img_shape": 256}).input_hw == (256, 256)


def test_the_later_layer_wins_whatever_the_spelling(tmp_path: Path) -> None:
    path = experiment(tmp_path, "nms_thershold: 0.55")
    assert load_config(path, {"test_cfg.nms.iou_threshold": 0.7}).test_cfg.nms.iou_threshold == 0.7
    path = experiment(tmp_path, "test_cfg: {nms: {iou_threshold: 0.55}}")
    assert load_config(path, {"nms_thershold": "0.7"}).test_cfg.nms.iou_threshold == 0.7


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("min_score: 0.1\ntest_cfg: {score_thr: 0.2}", ["experiment.yaml: min_score", "test_cfg.score_thr", "0.2"]),
        ("min_score: 0.1\ntest_cfg: 3", ["experiment.yaml: min_score", "test_cfg is 3"]),
        ("nms_thershold: 1.5", ["experiment.yaml (as nms_thershold)", "test_cfg.nms.iou_threshold", "1.5"]),
        ("nms_threshold: 0.5", ["'nms_threshold'", "did you mean 'nms_thershold'"]),
        ("img_shape: [640, 700]", ["experiment.yaml (as img_shape)", "img_width", "704"]),
        ("img_shape: [640]", ["experiment.yaml: img_shape has 1 values", "or 2: img_height, img_width"]),
    ],
)
def test_mistakes(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_config(experiment(tmp_path, text))
    for part in parts:
        assert part in str(caught.value)


def test_spellings_of_all_detectors(tmp_path: Path) -> None:
    path = experiment(tmp_path, "pretrained: a.ckpt\nIMAGE_DIR: pictures\nANNO_PATH: list.txt")
    config = load_config(path)
    assert (config.pre_trained, config.image_dir, config.anno_path) == ("a.ckpt", "pictures", "list.txt")
    assert load_config(path, {"pretrained": "b.ckpt"}).pre_trained == "b.ckpt"
    assert load_config(path, {"pretrained": "None"}).pre_trained == ""


@pytest.mark.parametrize("text", ["mindrecord_dr: packed", "mindrecord_dir: ''\nmindrecord_dr: packed"])
def test_the_other_spelling_may_be_empty(tmp_path: Path, text: str) -> None:
    nas_fpn = ROOT / "configs/nas_fpn/default_config.yaml"
    assert load_config(experiment(tmp_path, text, nas_fpn)).mindrecord_dir == "packed"
    swapped = "mindrecord_dir: packed\nmindrecord_dr: ''"
    assert load_config(experiment(tmp_path, swapped, nas_fpn)).mindrecord_dir == "packed"


def test_equal_values_in_both_spellings_are_no_mistake(tmp_path: Path) -> None:
    config = load_config(experiment(tmp_path, "min_score: 0.1\ntest_cfg: {score_thr: 0.1}"))
    assert config.test_cfg.score_thr == 0.1


def test_spellings_of_another_detector_are_unknown(tmp_path: Path) -> None:
    path = experiment(tmp_path, "nms_thershold: 0.5", ROOT / "configs/instaboost/default_config.yaml")
    with pytest.raises(UserError, match="unknown key 'nms_thershold'"):
        load_config(path)


def test_the_values_given_are_not_changed() -> None:
    values = {"min_score": 0.1, "test_cfg": {"nms_pre": 5}}
    result, spelled = standard_keys(values, "retinanet", "f.yaml")
    assert result == {"test_cfg": {"nms_pre": 5, "score_thr": 0.1}}
    assert spelled == {"test_cfg.score_thr": "min_score"}
    assert values == {"min_score": 0.1, "test_cfg": {"nms_pre": 5}}


def test_help_shows_them(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        config_from_command_line("Doc.", ["--help", "--config_path", str(BASE)])
    assert "--img_shape: img_height, img_width" in capsys.readouterr().out
