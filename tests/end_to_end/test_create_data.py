"""create_data.py as its user runs it, and training and evaluation on what it wrote."""

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from src.data.mindrecord.manifest import read_manifest
from tests.end_to_end.commands import ROOT, logged, run, start
from tests.end_to_end.test_documents import commands_of

SHAPES = "[background, circle, square, triangle, star]"
# The published configuration is of COCO; these are the classes of the synthetic images.
CLASSES = ("--coco_classes", SHAPES, "--num_classes", 5, "--category_ids", "[]")


@pytest.fixture(scope="module")
def coco_root(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Path:
    """The synthetic images in the folders of COCO 2017."""
    root = tmp_path_factory.mktemp("coco") / "cocodataset"
    (root / "annotations").mkdir(parents=True)
    for split, name in (("train", "train2017"), ("validation", "val2017")):
        (root / name).symlink_to(shapes / split / "data")
        (root / "annotations" / f"instances_{name}.json").write_bytes((shapes / split / "labels.json").read_bytes())
    return root


@pytest.fixture(scope="module")
def packed(coco_root: Path) -> Path:
    """Folder with what the two published commands wrote."""
    folder = coco_root.parent / "MindRecord_COCO"
    for prefix, training, images in (("retinanet", True, 24), ("retinanet_eval", False, 6)):
        out, err = run(
            "create_data.py", "--create_dataset", "coco", "--prefix", f"{prefix}.mindrecord", "--is_training", training,
            "--coco_root", coco_root, "--mindrecord_dr", folder, *CLASSES, cwd=coco_root.parent,
        )  # fmt: skip
        assert f"{prefix}.mindrecord.json: {images} images (0 left out)" in out and f"{images}/{images} images" in out
        assert err == ""
    names = [f"{prefix}.mindrecord{end}" for prefix in ("retinanet", "retinanet_eval") for end in ("", ".db", ".json")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    return folder


def stored_keys(packed: Path) -> tuple[object, ...]:
    """Keys that train and evaluate on MindRecord files and nothing else."""
    prefixes = ("--prefix", "retinanet.mindrecord", "--eval_prefix", "retinanet_eval.mindrecord")
    return ("--mindrecord_dir", packed, *prefixes, "--train_dataset", "", "--val_dataset", "")


def test_training(tiny: Path, packed: Path) -> None:
    """Its batches are those on images bit for bit: tests/data/test_mindrecord.py."""
    keys = ("--epoch_size", 1, "--train_dataset_num", 4, "--mode", "pynative", *stored_keys(packed))
    out, _ = run("train.py", "--config_path", tiny, "--brief", "packed", *keys, cwd=tiny.parent)
    assert "4 training images, 2 steps per epoch" in out
    assert list(logged(tiny.parent / "out/packed")) == [1, 2]


def test_evaluation_is_that_on_images(tiny: Path, shapes: Path, packed: Path) -> None:
    truth = json.loads((shapes / "validation/labels.json").read_text())["annotations"]
    found = [{"score": 0.5, **{name: one[name] for name in ("image_id", "category_id", "bbox")}} for one in truth[::2]]
    metrics = []
    for name, more in (("raw", ()), ("packed", stored_keys(packed))):
        predictions = tiny.parent / f"{name}.json"
        predictions.write_text(json.dumps(found))
        run("eval.py", "--config_path", tiny, "--prediction_path", predictions, *more, cwd=tiny.parent)
        metrics.append(json.loads((tiny.parent / f"{name}_metrics.json").read_text()))
    assert metrics[0] == metrics[1] and metrics[0]["images"] == 6 and 0 < metrics[0]["stats"]["bbox_mAP"] < 1


def test_what_does_not_fit_is_refused_in_one_line(tiny: Path, packed: Path) -> None:
    def refused(*arguments: object) -> str:
        keys = (*stored_keys(packed), *arguments)
        _, err = run("train.py", "--config_path", tiny, "--brief", "refused", *keys, cwd=tiny.parent, expect=2)
        assert err.count("\n") == 1
        return err

    assert "made for other classes: only in coco_classes ['cat']" in refused(
        "--coco_classes", "[background, cat, square, triangle, star]"
    )
    shard = packed / "retinanet.mindrecord"
    shard.rename(packed / "away")
    assert "retinanet.mindrecord is missing, but retinanet.mindrecord.json lists it" in refused()
    (packed / "away").rename(shard)
    assert not (tiny.parent / "out/refused").exists()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Path:
    """1,200 images, so that packing them takes a moment: those of `shapes`, again and again."""
    root = tmp_path_factory.mktemp("many") / "train"
    (root / "data").mkdir(parents=True)
    content = json.loads((shapes / "train/labels.json").read_text())
    images = []
    for n in range(1200):
        image = content["images"][n % 24]
        images.append({**image, "id": n + 1, "file_name": f"{n:04d}.jpg"})
        os.link(shapes / "train/data" / image["file_name"], root / "data" / f"{n:04d}.jpg")
    (root / "labels.json").write_text(json.dumps({**content, "images": images}))
    return root


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_in_the_middle_and_run_again(tiny: Path, many: Path, number: int) -> None:
    folder = tiny.parent / "packed"
    keys = ("--config_path", tiny, "--train_dataset", many, "--mindrecord_dir", folder)
    process = start("create_data.py", *keys, cwd=tiny.parent)
    wait_for(folder / ".train.mindrecord.partial" / "train.mindrecord", process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert "images (0 left out)" not in out and "Traceback" not in err
    left = [path.name for path in folder.iterdir()]
    assert left == ([".train.mindrecord.partial"] if number == signal.SIGKILL else [])
    if number == signal.SIGKILL:
        _, err = run("train.py", *keys, "--train_dataset", "", cwd=tiny.parent, expect=2)
        assert "no complete data set train.mindrecord in mindrecord_dir" in err and "none can be made" in err
    run("create_data.py", *keys, cwd=tiny.parent)
    assert sorted(path.name for path in folder.glob("[!.]*")) == [f"train.mindrecord{e}" for e in ("", ".db", ".json")]
    assert read_manifest(folder / "train.mindrecord.json").images == 1200


def test_the_pages_commands(tmp_path: Path, shapes: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/shapes").symlink_to(shapes)
    commands = [shlex.split(line) for line in commands_of(ROOT / "docs/data.md") if "create_data.py" in line]
    for _, program, *arguments in commands:
        run(program, *arguments, cwd=tmp_path)
    names = [path.name for path in (tmp_path / "data/packed").glob("*.json")]
    assert sorted(names) == ["shapes.mindrecord.json", "shapes_eval.mindrecord.json"]


def test_help_and_mistakes(tiny: Path) -> None:
    out, _ = run("create_data.py", "--help", cwd=tiny.parent)
    for name in ("create_dataset", "prefix", "is_training", "shards", "overwrite", "mindrecord_dir"):
        assert f"--{name}: " in out
    _, err = run("create_data.py", "--config_path", tiny, cwd=tiny.parent, expect=2)
    assert "--mindrecord_dir is missing" in err and err.count("\n") == 1
