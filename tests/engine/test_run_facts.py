"""What the log of a training says before the first step."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from src.config import load_config, save_config
from src.data.formats.coco import CocoDataset
from src.data.raw_dataset import open_raw_dataset
from src.data.record import Record
from src.engine.run_facts import facts_of_run, likely_mistakes
from src.model_utils.device_adapter import Device
from src.schema import Config
from src.weights.checkpoint import TrainingState
from tests.conftest import ROOT
from tests.data.coco_files import NAMES, write_dataset
from tests.data.listed_files import txt_copy

CONFIGS = ROOT / "configs"
NAS_FPN = CONFIGS / "nas_fpn/default_config.yaml"
REFINEDET = CONFIGS / "refinedet/refinedet_vgg16_320.yaml"
INSTABOOST = CONFIGS / "instaboost/default_config.yaml"
EXPERIMENTS = [path for path in sorted(CONFIGS.glob("*/*.yaml")) if path.parent.name != "_base_"]


def data(*paths: str) -> SimpleNamespace:
    records = [Record(path, 4, 4, number) for number, path in enumerate(paths)]
    return SimpleNamespace(records=records, problems=[], annotation_file="list.txt")


NOTHING = data()


def warnings(config: Config, target: str = "CPU", world: int = 1, trained=NOTHING, evaluated=None, step=0) -> str:
    device, state = Device(target, 0, world), TrainingState(step=step)
    return "\n".join(likely_mistakes(config, device, trained, state, evaluated))


def test_ramps_of_another_schedule(tmp_path: Path) -> None:
    ramps = {"lr_init": 1e-6, "warmup_epochs5": 160}  # the published values, which are the defaults
    said = "lr_type is multistep, which does not use lr_init, warmup_epochs5; --lr_type five_phase would"
    assert said in warnings(load_config(NAS_FPN, ramps))
    assert "lr_type" not in warnings(load_config(NAS_FPN, {**ramps, "lr_type": "five_phase", "epoch_size": 300}))
    save_config(load_config(NAS_FPN), tmp_path / "config.yaml")
    assert "lr_type" not in warnings(load_config(tmp_path / "config.yaml"))
    save_config(load_config(NAS_FPN, {**ramps, "warmup_epochs5": 10}), tmp_path / "config.yaml")
    assert "does not use warmup_epochs5;" in warnings(load_config(tmp_path / "config.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_no_configuration_sets_ramps_for_nothing(path: Path) -> None:
    assert "which does not use" not in warnings(load_config(path))


def test_fused_kernels_on_the_cpu() -> None:
    config = load_config(NAS_FPN, {"enable_graph_kernel": 1})
    assert "enable_graph_kernel is 1, but kernels are fused on GPU and Ascend only" in warnings(config)
    assert "enable_graph_kernel" not in warnings(config, target="GPU")


def test_what_recompute_and_jit_level_do_is_told() -> None:
    config = load_config(INSTABOOST, {"recompute": "1", "jit_level": "O1"})
    detector = SimpleNamespace(trainable_params=list)
    facts = "\n".join(facts_of_run(config, Device("GPU"), detector, NOTHING, 5))
    assert "recompute: the backward pass" in facts and "jit_level: graphs are compiled at level O1" in facts
    assert "jit_level is O1, but on the CPU all levels" in warnings(config)
    assert "jit_level" not in warnings(config, "GPU") and "jit_level" not in warnings(load_config(INSTABOOST))


def test_a_distributed_configuration_on_one_device() -> None:
    config = load_config(NAS_FPN, {"run_distribute": 1})
    assert "run_distribute is 1, but this process trains alone" in warnings(config)
    assert "run_distribute" not in warnings(config, world=2)


def test_a_random_vgg() -> None:
    said = "backbone vgg16 without batch normalization starts from random weights: the first losses are in the hundreds"
    assert said in warnings(load_config(REFINEDET))
    for given in ({"backbone.pretrained": "vgg16.pth"}, {"pre_trained": "x.ckpt"}, {"backbone.with_bn": 1}):
        assert "random weights" not in warnings(load_config(REFINEDET, given))
    assert "random weights" not in warnings(load_config(REFINEDET), step=1)  # resumed
    assert "random weights" not in warnings(load_config(CONFIGS / "refinedet/refinedet_resnet101_320.yaml"))


def test_frozen_random_stages() -> None:
    config = load_config(INSTABOOST, {"backbone.frozen_stages": 1})
    assert "backbone.frozen_stages 1 keeps random weights" in warnings(config)


def test_images_that_are_trained_on_and_evaluated() -> None:
    config = load_config(REFINEDET, {"dataset": "other", "anno_path": "list.txt"})
    said = "2 of the 3 images of list.txt are trained on and evaluated, the first: b.jpg; AP says nothing about new"
    assert said in warnings(config, trained=data("a.jpg", "b.jpg", "c.jpg"), evaluated=data("b.jpg", "c.jpg", "d.jpg"))
    assert "evaluated" not in warnings(config, trained=data("a.jpg"), evaluated=data("b.jpg"))


def test_a_txt_list_that_is_evaluated_too(tmp_path: Path) -> None:
    dataset = CocoDataset(write_dataset(tmp_path, 4), NAMES)
    listed = {"dataset": "other", "image_dir": str(dataset.images_dir)}
    listed |= {"anno_path": str(txt_copy(dataset, tmp_path / "list.txt"))}
    classes = {"coco_classes": ["background", *NAMES], "num_classes": 4}
    config = load_config(REFINEDET, {**listed, **classes, "class_num": 4, "coco_root": ""})
    trained, evaluated = (open_raw_dataset(config, training) for training in (True, False))
    said = "4 of the 4 images of .*list.txt are trained on and evaluated"
    assert re.search(said, warnings(config, trained=trained, evaluated=evaluated))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "use_instaboost_fast True pastes with a hard edge (instaboost_backend native, not the package)"),
        ({"use_instaboost_fast": 0}, "use_instaboost_fast False blends the edge (instaboost_backend native"),
        (
            {"instaboost_backend": "instaboostfast"},
            "the package instaboostfast, which pastes with a hard edge whatever",
        ),
        ({"aug_prob": 0}, None),
    ],
)
def test_what_instaboost_is(keys: dict, said: str | None) -> None:
    net = SimpleNamespace(trainable_params=list)
    facts = list(facts_of_run(load_config(INSTABOOST, keys), Device("CPU"), net, data("a.jpg"), 1))
    assert "mask_rcnn on CPU x 1" in facts[0]
    assert len(facts) == (1 if said is None else 2)
    assert said is None or said in facts[1]


def test_repeated_images_are_counted() -> None:
    config = load_config(NAS_FPN, {"sampler": "repeat_factor", "repeat_threshold": 0.01})
    net, factors = SimpleNamespace(trainable_params=list), np.array([1.0, 1.5, 3.25])
    (_, said) = facts_of_run(config, Device("CPU"), net, data("a", "b", "c"), 5, factors)
    assert said == "repeat factors with threshold 0.01: 5 images per epoch, 2 images more than once, up to 3.25 times"


def test_what_becomes_of_datasink_is_told() -> None:
    config = load_config(INSTABOOST, {"datasink": "1", "sink_size": "7"})
    assert "datasink is 1, but steps are not sunk on the CPU: they are taken one by one" in warnings(config)
    assert "datasink" not in warnings(config, "GPU") and "datasink" not in warnings(load_config(INSTABOOST))
