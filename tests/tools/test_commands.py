"""The commands of docs/tools.md and those of other pages with tools, on the folders that pages before leave behind."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest

from src.config import load_config, save_config
from src.data.synthetic import main as write_shapes
from src.weights.checkpoint import checkpoint_config, load_checkpoint_weights, save_weights
from src.weights.noise import noised_weights
from tests.conftest import ROOT
from tests.end_to_end.commands import run
from tests.end_to_end.test_documents import commands_of
from tests.visual.test_run_curves import write_run

PAGE = ROOT / "docs/tools.md"
PAGES_WITH_NOISE = (PAGE, ROOT / "configs/instaboost/README.md", ROOT / "configs/spinenet_retinanet/README.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """data/shapes, outputs/first and outputs/second, as if trained and evaluated."""
    folder = tmp_path_factory.mktemp("tools")
    (folder / "configs").symlink_to(ROOT / "configs")
    write_shapes(["--output_dir", str(folder / "data/shapes"), "--train", "12", "--val", "8"])
    for name in ("first", "second"):
        write_run(folder / "outputs" / name)
    config = load_config(ROOT / "configs/demo/spinenet_retinanet.yaml")
    save_config(config, folder / "outputs/first/config.yaml")
    results = noisy_results(json.loads((folder / "data/shapes/validation/labels.json").read_text()))
    for name, kept in (("first", results), ("second", results[::2])):
        (folder / f"outputs/{name}/predictions.json").write_text(json.dumps(kept))
    return folder


def noisy_results(annotations):
    """Detections around the objects, some of another class, and one on the background."""
    rng = np.random.default_rng(0)
    categories = [category["id"] for category in annotations["categories"]]
    results = []
    for index, one in enumerate(annotations["annotations"]):
        box = (np.array(one["bbox"]) + rng.normal(0, 1.5, 4)).clip(1).tolist()
        category = categories[0] if index % 5 == 0 else one["category_id"]
        score = float(rng.uniform(0.2, 1))
        results.append({"image_id": one["image_id"], "category_id": category, "bbox": box, "score": score})
    return [*results, {"image_id": annotations["images"][0]["id"], "category_id": categories[1], "bbox": [0, 0, 3, 3],
                       "score": 0.9}]  # fmt: skip


def command(tool, page=PAGE):
    (words,) = [c for c in commands_of(page) if c.startswith(f"python tools/{tool}")]
    return [re.sub(r'^"|"$', "", word) for word in words.split()[1:]]


def picture(path):
    image = cv2.imread(str(path))
    assert image is not None and image.std() > 10
    return image


def test_every_tool_is_on_the_page():
    tools = {path.name for path in (ROOT / "tools").glob("*.py")}
    assert {c.split()[1] for c in commands_of(PAGE) if "tools/" in c} == {f"tools/{name}" for name in tools}


def test_plot_log(folder):
    out, _ = run(*command("plot_log"), cwd=folder)
    assert "first" in out and "second" in out
    picture(folder / "curves.png")


def test_analyse_predictions(folder):
    out, _ = run(*command("analyse_predictions"), cwd=folder)
    written = folder / "outputs/first/analysis"
    for name in ("confusion_matrix", "class_ap", "errors"):
        picture(written / f"{name}.png")
        assert f"{name}.png" in out
    numbers = json.loads((written / "analysis.json").read_text())
    objects = sum(numbers["objects"])
    matrix = np.array(numbers["confusion_matrix"])
    assert matrix.shape == (5, 5) and matrix[:4].sum() == objects
    assert numbers["errors"]["counts"]["class"] > 0 and numbers["errors"]["counts"]["background"] >= 1
    assert sum(map(sum, numbers["errors"]["best"].values())) == objects


def test_compare_runs(folder):
    out, _ = run(*command("compare_runs"), cwd=folder)
    assert "by outputs/second/predictions.json only" in out
    assert len(list((folder / "outputs/comparison/pictures").iterdir())) == 8
    shutil.rmtree(folder / "outputs/comparison")  # the folder of runs has runs alone


def test_analysis_needs_predictions_that_exist(folder):
    arguments = [*command("analyse_predictions"), "--prediction_path", "none.json"]
    _, err = run(*arguments, cwd=folder, expect=2)
    assert err.count("\n") == 1 and "none.json: cannot read the predictions" in err
    shutil.copy(folder / "outputs/first/predictions.json", folder / "broken.json")
    (folder / "broken.json").write_text("[{}]")
    _, err = run(*arguments[:-1], "broken.json", "--score_thr", 2, cwd=folder, expect=2)
    assert "--score_thr 2: must be a number from 0 to 1" in err


def test_anchor_statistics(folder):
    out, _ = run(*command("anchor_statistics"), cwd=folder)
    assert "best possible recall at IoU" in out
    picture(folder / "anchors.png")


def test_plot_lr(folder):
    run(*command("plot_lr"), cwd=folder)
    picture(folder / "lr.png")
    demo = ("tools/plot_lr.py", "--config_path", "configs/demo/spinenet_retinanet.yaml", "--output", "demo.png")
    run(*demo, "--train_dataset", "data/shapes/train", "--batch_size", 4, cwd=folder)  # 3 steps, counted
    picture(folder / "demo.png")
    _, err = run(*demo, "--train_dataset", "data/shapes/train", "--batch_size", 16, cwd=folder, expect=2)
    assert "12 images are fewer than one step" in err


def test_lr_finder(folder):
    """The page's command, on a network that compiles fast."""
    small = {
        "backbone.base_channels": 8, "backbone.stage_blocks": [1, 1, 1, 1], "batch_size": 2, "steps": 10,
        "neck.nas_fpn.in_channels": [16, 32, 64], "neck.nas_fpn.out_channels": 16, "neck.nas_fpn.stack_times": 1,
        "bbox_head.in_channels": 16, "bbox_head.feat_channels": 16, "bbox_head.stacked_convs": 1,
    }  # fmt: skip
    out, _ = run(
        *command("lr_finder"), *(word for key, value in small.items() for word in (f"--{key}", value)), cwd=folder
    )
    assert re.search(r"^loss [\d.]+ at 1e-05, lowest ", out, re.MULTILINE)
    assert "suggested: --lr " in out or "no suggestion: " in out
    picture(folder / "lr_finder.png")
    assert sorted(path.name for path in (folder / "outputs").iterdir()) == ["first", "second"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", 9), "--steps 9: must be"),
        (("--first_rate", 1), "--first_rate 1, --last_rate 1.0: must be two rates"),
    ],
)
def test_mistakes_with_lr_finder_are_one_line(folder, words, message):
    _, err = run(*command("lr_finder"), *words, cwd=folder, expect=2)
    assert err.count("\n") == 1 and message in err


def test_count_parameters_prints_what_the_page_shows(folder):
    out, _ = run(*command("count_parameters"), cwd=folder)
    assert out.strip() in PAGE.read_text()


@pytest.mark.parametrize("page", PAGES_WITH_NOISE, ids=lambda page: page.parent.name)
def test_noise_checkpoint(page, tmp_path):
    words = command("noise_checkpoint", page)
    arguments = dict(zip(words[1::2], words[2::2], strict=True))
    checkpoint, output = (tmp_path / arguments[f"--{name}"] for name in ("checkpoint_path", "output_file"))
    config = load_config(ROOT / "configs/demo/nas_fpn.yaml", {"seed": 7})
    arrays = {
        "conv.weight": np.arange(100, dtype=np.float32),
        "bn.moving_mean": np.arange(5, dtype=np.float32),
        "optimizer/moment1.conv.weight": np.ones(100, np.float32),
    }
    save_weights(checkpoint, arrays, config)
    out, _ = run(*words, cwd=tmp_path)
    level = float(arguments["--noise_level"])
    assert f"noise of level {level} (seed 0) on 1 of 2 parameters: {arguments['--output_file']}" in out
    noised, expected = load_checkpoint_weights(output), noised_weights(load_checkpoint_weights(checkpoint), level)
    assert noised.keys() == expected.keys() == {"conv.weight", "bn.moving_mean"}
    for name, array in expected.items():
        np.testing.assert_array_equal(noised[name], array)
    assert checkpoint_config(output) == checkpoint_config(checkpoint) == config.model_dump()


def test_mistakes_with_noise_are_one_line(tmp_path):
    save_weights(tmp_path / "a.ckpt", {"weight": np.ones(3, np.float32)})
    before = (tmp_path / "a.ckpt").read_bytes()

    def message(*arguments):
        _, err = run("tools/noise_checkpoint.py", "--checkpoint_path", "a.ckpt", *arguments, cwd=tmp_path, expect=2)
        assert err.count("\n") == 1
        return err

    assert "--output_file ./a.ckpt is the checkpoint to read" in message("--output_file", "./a.ckpt")
    assert "--noise_level -1: must be a number from 0" in message("--output_file", "b.ckpt", "--noise_level", -1)
    assert "ends in .ckpt" in message("--output_file", "b.npz")
    assert (tmp_path / "a.ckpt").read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["a.ckpt"]
