"""Words of a command line: keys that hold texts take them as they are."""

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.schema import lookup
from tests.conftest import ROOT

DEFAULT = ROOT / "configs/spinenet_retinanet/default_config.yaml"
MASKS = ROOT / "configs/instaboost/default_config.yaml"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("train_outputs", "/data/x #1"),
        ("brief", "007"),
        ("brief", "12:30"),
        ("brief", "yes"),
        ("brief", "2024-01-01"),
        ("pred_input", "[a].jpg"),
        ("pred_output", "{out}: x.json"),
        ("checkpoint_path", "*.ckpt"),
        ("backbone.pretrained", "a: b.pth"),
        ("prefix", "1_000"),
        ("resume", "[a].ckpt"),
    ],
)
def test_texts_are_taken_as_they_are(name: str, word: str) -> None:
    assert lookup(load_config(DEFAULT, {name: word}), name) == word


def test_published_spellings_and_choices_are_texts_too() -> None:
    config = load_config(DEFAULT, {"ckpt_file": "/x #2.ckpt", "progress_bar": "on"})
    assert (config.checkpoint_path, config.progress_bar) == ("/x #2.ckpt", "on")


def test_a_list_of_texts_has_its_entries_as_they_are() -> None:
    names = "[background, 007, 'yes', 1:30, on]"
    config = load_config(DEFAULT, {"coco_classes": names, "num_classes": "5", "category_ids": "[]"})
    assert config.coco_classes == ["background", "007", "yes", "1:30", "on"]


def test_a_key_of_the_detector_that_the_command_line_chooses(tmp_path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("coco_classes: [background, a]\nnum_classes: 2\n")
    config = load_config(path, {"detector": "mask_rcnn", "instaboost_backend": "native", "action_candidate": "[skip]",
                                "action_prob": "[1]"})  # fmt: skip
    assert (config.detector, config.action_candidate) == ("mask_rcnn", ["skip"])


def test_other_keys_are_still_read_as_yaml() -> None:
    config = load_config(DEFAULT, {"lr_steps": "[1, 2]", "img_shape": "[128, 256]", "keep_ratio": "no", "lr": "0.5"})
    assert (config.lr_steps, config.input_hw, config.keep_ratio, config.lr) == ([1, 2], (128, 256), False, 0.5)


def test_a_file_whose_name_is_a_number_is_not_taken_for_a_switch(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"base: {DEFAULT}\nbrief: yes\n")
    with pytest.raises(UserError, match=r"a\.yaml: brief: True is not allowed"):
        load_config(path)
    path.write_text(f"base: {DEFAULT}\nresume: [a]\n")
    with pytest.raises(UserError, match=r"a\.yaml: resume: \['a'\] is not allowed"):
        load_config(path)
