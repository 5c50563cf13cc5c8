"""Curves: drawn from any state of the metrics file."""

import csv

import cv2
import numpy as np
import pytest

from src.common.errors import UserError
from src.visual.curves import draw_curves, read_curves, running_mean

COLUMNS = ["kind", "epoch", "step", "name", "value"]


def rows(steps):
    for step in range(1, steps + 1):
        for name, value in (("loss", 2.0 / step), ("loss_cls", 1.0 / step), ("lr", 0.01)):
            yield {"kind": "train", "epoch": 1 + step // 50, "step": step, "name": name, "value": value}
        if step % 50 == 0:
            for name, value in (("bbox_mAP", step / 200), ("bbox_mAP_s", -1.0), ("bbox_AR_100", 0.5)):
                yield {"kind": "eval", "epoch": step // 50, "step": step, "name": name, "value": value}


def write(path, content):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(content)


@pytest.mark.parametrize("steps", [0, 1, 49, 150])
def test_draws_a_picture(tmp_path, steps):
    write(tmp_path / "metrics.csv", rows(steps))
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image.shape == (800, 1300, 3)
    colored = (image.max(axis=2).astype(int) - image.min(axis=2)) > 60
    upper_left = colored[:400, :650].sum()
    assert upper_left == 0 if steps == 0 else upper_left > 20
    assert (colored[:400, 650:].sum() > 20) == (steps == 150)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "metrics.csv"]


def test_values_reach_the_curves(tmp_path):
    write(tmp_path / "metrics.csv", rows(100))
    train, evaluation, ends = read_curves(tmp_path / "metrics.csv")
    assert train["loss"] == (list(range(1, 101)), pytest.approx([2.0 / step for step in range(1, 101)]))
    assert evaluation["bbox_mAP"] == ([50, 100], [0.25, 0.5])
    assert "bbox_mAP_s" not in evaluation  # -1: nothing was measured
    assert ends == {1: 50, 2: 100}


def test_validation_losses_are_drawn_beside_the_trainings_in_their_colours(tmp_path):
    content = list(rows(150))
    draw_curves(content, tmp_path / "without.png")
    losses = [
        {"kind": "eval", "epoch": epoch, "step": 50 * epoch, "name": name, "value": value}
        for epoch in (1, 2, 3)
        for name, value in (("val_loss", 1.8), ("val_loss_cls", 1.5))
    ]
    draw_curves(content + losses, tmp_path / "with.png")
    images = [cv2.imread(str(tmp_path / f"{name}.png")).astype(int) for name in ("without", "with")]
    for color in ((180, 119, 31), (14, 127, 255)):  # of the first and the second curve, blue first
        before, after = (np.abs(image - color).sum(axis=2) < 40 for image in images)
        assert after[:400, :650].sum() > before[:400, :650].sum() + 20
        assert after[:, 650:].sum() == before[:, 650:].sum(), "average precision and recall have their panels alone"


@pytest.mark.parametrize("name", ["train_loss", "loss"])
def test_the_epochs_mean_loss_has_its_name_in_older_files_too(name):
    row = {"kind": "eval", "epoch": 1, "step": 50, "name": name, "value": 0.5}
    train, evaluation, _ = read_curves([*rows(50), row])
    assert evaluation["train_loss"] == ([50], [0.5]) and "loss" not in evaluation
    assert len(train["loss"][0]) == 50


def test_half_written_and_infinite_rows_are_left_out(tmp_path):
    write(tmp_path / "metrics.csv", rows(10))
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("train,1,11,loss,inf\ntrain,1,12,loss,nan\nother,1,1,loss,3\ntrain,1,1")
    train, _, _ = read_curves(tmp_path / "metrics.csv")
    assert len(train["loss"][0]) == 10
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")


def test_rows_instead_of_a_file(tmp_path):
    draw_curves(list(rows(3)), tmp_path / "new" / "curves.png")
    assert (tmp_path / "new" / "curves.png").stat().st_size > 1000


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv"):
        draw_curves(tmp_path / "none.csv", tmp_path / "curves.png")


def test_running_mean_has_no_bias():
    np.testing.assert_allclose(running_mean([3.0] * 5), 3.0)
    assert running_mean([1.0, 0.0])[1] == pytest.approx(0.09 / 0.19)
