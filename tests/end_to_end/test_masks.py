"""Models with masks through the scripts and the programs, on a tiny Mask R-CNN and Cascade Mask R-CNN."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.weights.checkpoint import load_checkpoint_weights
from tests.end_to_end.commands import TINY_CASCADE_CONFIG, TINY_MASK_CONFIG, logged, run
from tests.scripts.shell import run_script
from tests.weights.published_mask_rcnn import published_names

LOSSES = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> tuple[Path, subprocess.CompletedProcess]:
    """Folder in which run_standalone_train_gpu.sh trained two epochs of two steps, and what it printed."""
    folder = tmp_path_factory.mktemp("masks")
    (folder / "tiny_mask.yaml").write_text(TINY_MASK_CONFIG + "epoch_size: 2\n")
    result = run_script(
        "run_standalone_train_gpu.sh", "tiny_mask.yaml", shapes / "train", shapes / "validation", "out", "first",
        cwd=folder, timeout=400, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result


@pytest.fixture(scope="module")
def inferred(trained: tuple[Path, subprocess.CompletedProcess], shapes: Path) -> Path:
    """What run_infer_gpu.sh wrote."""
    folder, _ = trained
    result = run_script(
        "run_infer_gpu.sh", "tiny_mask.yaml", "out/first/checkpoints/last.ckpt", shapes / "validation/data",
        "found.json", cwd=folder, timeout=300, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "found.json"


def evaluate(folder: Path, shapes: Path, predictions: str) -> str:
    result = run_script(
        "run_eval_gpu.sh", "tiny_mask.yaml", shapes / "validation", "out/first/checkpoints/last.ckpt", predictions,
        cwd=folder, timeout=300, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def table(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(" Average")]


def test_training_logs_each_loss(trained: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, result = trained
    terms = ", ".join(rf"{name}: \d+\.\d{{6}}" for name in LOSSES)
    assert len(re.findall(rf"INFO: epoch: \d+, step: \d+, loss: \d+\.\d{{6}},  lr: \S+, {terms}", result.stdout)) == 4
    total = logged(folder / "out/first")
    parts = [logged(folder / "out/first", name) for name in LOSSES]
    for step, loss in total.items():
        assert loss == pytest.approx(sum(part[step] for part in parts), rel=1e-4)
    assert min(parts[-1].values()) > 0


def test_inference_writes_masks_as_run_lengths(inferred: Path) -> None:
    predictions = json.loads(inferred.read_text())
    assert len(predictions) == 6
    found = [prediction for entry in predictions.values() for prediction in entry["predictions"]]
    assert len(found) > 10
    inked = 0
    for prediction in found:
        assert list(prediction) == ["bbox", "class", "mask", "score"]
        assert prediction["mask"]["size"] == [128, 128]
        rows, columns = np.nonzero(coco_mask.decode(prediction["mask"]))
        if len(rows):  # after four steps some masks are empty
            inked += 1
            box = prediction["bbox"]
            assert columns.min() >= box["x_min"] - 1 and columns.max() <= box["x_min"] + box["width"] + 1
            assert rows.min() >= box["y_min"] - 1 and rows.max() <= box["y_min"] + box["height"] + 1
    assert inked > len(found) / 2


def test_evaluation_prints_a_table_for_boxes_and_one_for_masks(
    trained: tuple[Path, subprocess.CompletedProcess], inferred: Path, shapes: Path
) -> None:
    """Of the network, of the results it wrote, and of what infer.py wrote: always the same numbers."""
    folder, _ = trained
    out = evaluate(folder, shapes, "results.json")
    assert "Evaluate annotation type *bbox*" in out and "Evaluate annotation type *segm*" in out
    assert "Segmentation eval result: " in out and re.search(r"class +AP +AP50 +mask AP +mask AP50", out)
    assert len(table(out)) == 24
    assert {"bbox_mAP", "segm_mAP"} <= json.loads((folder / "out/first/checkpoints/last_metrics.json").read_text())[
        "stats"
    ].keys()
    for predictions in ("results.json", inferred.name):
        again = evaluate(folder, shapes, predictions)
        assert "the network does not run" in again
        assert table(again) == table(out)


def test_masks_are_drawn(inferred: Path, shapes: Path) -> None:
    """A picture differs from that of the same boxes without masks inside of the objects."""
    from src.data.image import load_image

    predictions = json.loads(inferred.read_text())
    for entry in predictions.values():
        for prediction in entry["predictions"]:
            del prediction["mask"]
    (inferred.parent / "boxes.json").write_text(json.dumps(predictions))
    common = ("--score_thr", 0.01, "--max_images", 2, "--annotations", shapes / "validation")
    pictures = []
    for source in ("found.json", "boxes.json"):
        folder = inferred.parent / f"pictures_{source}"
        run("draw_predictions.py", "--pred_json", source, "--output_dir", folder, *common, cwd=inferred.parent)
        pictures.append(load_image(folder / "000001.png").astype(int))
    changed = np.any(pictures[0] != pictures[1], axis=2)
    middle = changed.shape[1] // 2
    assert changed[:, :middle].sum() > 100 and changed[:, middle:].sum() > 100


def test_browsing_before_and_after_instaboost(
    trained: tuple[Path, subprocess.CompletedProcess], shapes: Path, tmp_path: Path
) -> None:
    folder, _ = trained
    arguments = ("--train_dataset", shapes / "train", "--num_images", 4, "--before_after", 1, "--aug_prob", 1)
    run("browse_dataset.py", "--config_path", folder / "tiny_mask.yaml", "--output_dir", "pages", *arguments,
        cwd=tmp_path)  # fmt: skip
    assert (tmp_path / "pages/train_01.png").read_bytes().startswith(b"\x89PNG")


def test_resuming_gives_the_same_losses(trained: tuple[Path, subprocess.CompletedProcess], shapes: Path) -> None:
    """From the middle of the first epoch: the same images, InstaBoost and choice of anchors and RoIs."""
    folder, _ = trained
    checkpoint = folder / "out/first/checkpoints/step_00000001.ckpt"
    arguments = ("--train_dataset", shapes / "train", "--train_outputs", "out", "--brief", "again")
    run("train.py", "--config_path", "tiny_mask.yaml", *arguments, "--resume", checkpoint, cwd=folder)
    for name in ("loss", *LOSSES):
        expected, found = logged(folder / "out/first", name), logged(folder / "out/again", name)
        assert list(found) == [2, 3, 4]
        np.testing.assert_allclose(list(found.values()), [expected[step] for step in found], rtol=1e-3, err_msg=name)


def test_a_data_set_without_segmentation_is_refused_in_one_line(
    trained: tuple[Path, subprocess.CompletedProcess], shapes: Path, tmp_path: Path
) -> None:
    folder, _ = trained
    boxes_only = tmp_path / "boxes_only"
    boxes_only.mkdir()
    (boxes_only / "data").symlink_to(shapes / "train/data")
    content = json.loads((shapes / "train/labels.json").read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    (boxes_only / "labels.json").write_text(json.dumps(content))
    result = run_script(
        "run_standalone_train_gpu.sh", folder / "tiny_mask.yaml", boxes_only, shapes / "validation", "out", "first",
        cwd=tmp_path, timeout=300, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert str(boxes_only) in result.stderr and "segmentation" in result.stderr


def test_weights_by_mmdetections_names_convert(trained: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, _ = trained
    expected = load_checkpoint_weights(folder / "out/first/checkpoints/last.ckpt")
    np.savez(folder / "published.npz", **published_names(expected))
    out, _ = run(
        "convert_weights.py", "--config_path", "tiny_mask.yaml", "--source_file", "published.npz",
        "--output_file", "converted.ckpt", cwd=folder,
    )  # fmt: skip
    assert f"wrote {len(expected)} parameters" in out
    found = load_checkpoint_weights(folder / "converted.ckpt")
    assert sorted(found) == sorted(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_a_cascade_trains_on_two_devices(trained: tuple[Path, subprocess.CompletedProcess], shapes: Path) -> None:
    folder, _ = trained
    (folder / "cascade.yaml").write_text(TINY_CASCADE_CONFIG)
    result = run_script(
        "run_distribute_train_gpu.sh", "cascade.yaml", "2", shapes / "train", shapes / "validation", "out", "cascade",
        cwd=folder, timeout=500, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "cascade_mask_rcnn on CPU x 2" in result.stdout
    assert list(logged(folder / "out/cascade")) == [1]
    for stage in range(2):
        assert logged(folder / "out/cascade", f"s{stage}.loss_mask")[1] > 0
    assert (folder / "LOG/cascade/checkpoints/last.ckpt").is_file()
