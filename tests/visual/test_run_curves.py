"""Curves of several runs in one picture."""

import subprocess
import sys

import cv2
import pytest

from src.common.errors import UserError
from src.visual.run_curves import compare_runs, read_run, summary_table
from tests.conftest import ROOT


def write_run(folder, steps_an_epoch=4, epochs=3, best=2):
    """A run whose AP is best in one epoch."""
    folder.mkdir(parents=True)
    lines = ["kind,epoch,step,name,value"]
    for step in range(1, steps_an_epoch * epochs + 1):
        epoch = (step - 1) // steps_an_epoch + 1
        values = {"loss": 4 / step, "s0.loss_cls": 3 / step, "lr": 0.01}
        lines += [f"train,{epoch},{step},{name},{value}" for name, value in values.items()]
        if step % steps_an_epoch == 0:
            lines += [f"eval,{epoch},{step},bbox_mAP,{0.6 if epoch == best else 0.3}", f"eval,{epoch},{step},loss,9"]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


def colored_share(path, panels):
    """Share of coloured pixels in each of `panels` equal columns of a picture."""
    image = cv2.imread(str(path)).astype(int)
    colored = (image.max(axis=2) - image.min(axis=2)) > 60
    width = image.shape[1] // panels
    return [colored[:, i * width : (i + 1) * width].mean() for i in range(panels)]


def test_runs_are_read_with_their_terms_and_named_after_their_folder(tmp_path):
    run = read_run(write_run(tmp_path / "first"))
    assert run.name == "first" and set(run.curves) == {"loss", "s0.loss_cls", "lr", "bbox_mAP"}
    assert run.curves["loss"][1][-1] == pytest.approx(4 / 12)  # the training's, not the evaluation's
    assert read_run(tmp_path / "first" / "metrics.csv", "other").name == "other"


def test_validation_losses_are_drawn_in_the_panel_of_the_trainings(tmp_path):
    runs = []
    for name in ("without", "with"):
        path = write_run(tmp_path / name) / "metrics.csv"
        if name == "with":
            path.write_text(path.read_text() + "eval,1,4,val_loss,3.5\neval,2,8,val_loss,3.4\n")
        runs.append(read_run(tmp_path / name))
        compare_runs(runs[-1:], tmp_path / f"{name}.png")
    pictures = [cv2.imread(str(tmp_path / f"{name}.png")) for name in ("without", "with")]
    assert pictures[0].shape == pictures[1].shape, "no panel of its own"
    drawn = [colored_share(tmp_path / f"{name}.png", 3) for name in ("without", "with")]
    assert drawn[1][0] > 1.05 * drawn[0][0] and drawn[1][2] == drawn[0][2]
    compare_runs(runs[1:], tmp_path / "alone.png", ["val_loss"])
    assert colored_share(tmp_path / "alone.png", 1)[0] > 0.001


def test_table_names_the_best_epoch(tmp_path):
    runs = [read_run(write_run(tmp_path / "a", best=2)), read_run(write_run(tmp_path / "long name", best=3))]
    title, first, second = summary_table(runs).splitlines()
    assert title.split() == ["run", "steps", "loss", "best", "bbox_mAP"]
    assert first.split() == ["a", "12", "0.3333", "0.6000", "(epoch", "2)"]
    assert second.endswith("0.6000 (epoch 3)")


@pytest.mark.parametrize("with_epochs", [False, True])
def test_each_quantity_gets_a_panel_with_all_runs(tmp_path, with_epochs):
    runs = [read_run(write_run(tmp_path / name, steps)) for name, steps in (("a", 4), ("b", 30))]
    compare_runs(runs, tmp_path / "all.png", with_epochs=with_epochs)
    compare_runs(runs, tmp_path / "two.png", ["bbox_mAP", "s0.loss_cls"], with_epochs)
    assert min(colored_share(tmp_path / "two.png", 2)) > 0.001
    assert cv2.imread(str(tmp_path / "all.png")).shape[0] > 1.5 * cv2.imread(str(tmp_path / "two.png")).shape[0]


def test_mistakes(tmp_path):
    run = read_run(write_run(tmp_path / "a"))
    with pytest.raises(UserError, match="none of the runs has it; they have .*s0.loss_cls"):
        compare_runs([run], tmp_path / "x.png", ["loss_mask"])
    with pytest.raises(UserError, match=r"x\.jpgg: '\.jpgg' is no picture format"):
        compare_runs([run], tmp_path / "x.jpgg")
    with pytest.raises(UserError, match="none.metrics.csv|none: cannot read"):
        read_run(tmp_path / "none")
    (tmp_path / "empty.csv").write_text("kind,epoch,step,name,value\n")
    with pytest.raises(UserError, match="holds no metrics"):
        read_run(tmp_path / "empty.csv")
    unevaluated = tmp_path / "train.csv"
    unevaluated.write_text("kind,epoch,step,name,value\ntrain,1,1,loss,2\n")
    with pytest.raises(UserError, match="use steps"):
        compare_runs([read_run(unevaluated)], tmp_path / "x.png", with_epochs=True)


@pytest.mark.end_to_end
def test_as_a_command(tmp_path):
    write_run(tmp_path / "a")
    program = [sys.executable, str(ROOT / "tools/plot_log.py"), "a", "--output", "curves.svg"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "curves.svg").stat().st_size > 1000, done.stderr
    failed = subprocess.run([*program, "--names", "x", "y"], cwd=tmp_path, capture_output=True, text=True)
    assert failed.returncode == 2 and failed.stderr == "error: --names: 2 names for 1 runs; give one each\n"
