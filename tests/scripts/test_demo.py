"""The logic of run_demo.sh, with a stand-in for Python that plays the programs."""

import sys
from pathlib import Path

import pytest

from src.config import load_config
from tests.scripts.shell import run_script

ROOT = Path(__file__).parents[2]

# Notes each program it is asked to run; training leaves a checkpoint, evaluation the AP that AP_OF_STAND_IN says, and
# where it is set the mask AP of MASK_AP_OF_STAND_IN; AP50 of either is 0.3 more.
STAND_IN = r"""#!/bin/sh
case "$*" in
    --version) echo "Python 3.11.9" ;;
    -\ *) exec "{python}" "$@" ;;
    *train.py*)
        echo "$*" >>"$DEMO_DIR/notes.txt"
        mkdir -p "$DEMO_DIR/training/checkpoints"
        echo x >"$DEMO_DIR/training/checkpoints/last.ckpt"
        exit "${{EXIT_OF_TRAINING:-0}}"
        ;;
    *eval.py*)
        "{python}" - "$AP_OF_STAND_IN" $MASK_AP_OF_STAND_IN >"$DEMO_DIR/training/checkpoints/best_metrics.json" <<'END'
import json, sys
stats = dict(zip(("bbox_mAP", "segm_mAP"), map(float, sys.argv[1:])))
print(json.dumps({{"stats": stats | {{name + "_50": value + 0.3 for name, value in stats.items()}}}}))
END
        ;;
    *ops/kernel_library.py*)
        echo "$*" >>"$DEMO_DIR/notes.txt"
        exit "${{EXIT_OF_BUILD:-0}}"
        ;;
    *src.data.synthetic* | *infer.py* | *draw_predictions.py*) echo "$*" >>"$DEMO_DIR/notes.txt" ;;
esac
exit 0
"""


class Demo:
    """A project whose programs are played by the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, folder / "demo"
        (folder / "venv/bin").mkdir(parents=True)
        python = folder / "venv/bin/python"
        python.write_text(STAND_IN.format(python=sys.executable))
        python.chmod(0o755)

    def run(self, *arguments: str, **environment: str):
        settings = {"DEMO_DIR": str(self.output), "VENV_DIR": str(self.folder / "venv"), "AP_OF_STAND_IN": "0.7"}
        return run_script("run_demo.sh", *arguments, cwd=self.folder, **{**settings, **environment})

    def commands(self, program: str) -> list[str]:
        """Those that ran a program, in order."""
        return [line for line in (self.output / "notes.txt").read_text().splitlines() if program in line]


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


def test_runs_every_program_and_reports(demo: Demo) -> None:
    result = demo.run()
    assert result.returncode == 0, result.stderr
    assert "AP (0.50:0.95) on the held-out images: 0.700; asked for: 0.65" in result.stdout
    assert f"{demo.output}/pictures" in result.stdout
    for program in ("src.data.synthetic", "train.py", "infer.py", "draw_predictions.py"):
        assert len(demo.commands(program)) == 1, program
    assert "--train 2000 --val 200" in demo.commands("src.data.synthetic")[0]
    assert "mask AP" not in result.stdout
    assert demo.commands("ops/kernel_library.py") == []


def test_too_low_an_ap_fails(demo: Demo) -> None:
    result = demo.run(AP_OF_STAND_IN="0.64")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "error: AP 0.640 is under 0.65"
    assert "What to try next" in result.stdout


def test_no_floor_for_a_changed_training_unless_asked(demo: Demo) -> None:
    assert demo.run("--epoch_size", "1", AP_OF_STAND_IN="0.1").returncode == 0
    assert demo.run("spinenet_retinanet", "--epoch_size", "1", AP_OF_STAND_IN="0.1", DEMO_MIN_AP="0.2").returncode == 1
    assert "--epoch_size 1" in demo.commands("train.py")[1]


@pytest.mark.parametrize("model", ["mask_rcnn", "cascade_mask_rcnn"])
def test_models_with_masks_have_two_floors_and_a_compiled_operator(demo: Demo, model: str) -> None:
    result = demo.run(model, MASK_AP_OF_STAND_IN="0.61")
    assert result.returncode == 0, result.stderr
    assert "\nAP (0.50:0.95) on the held-out images: 0.700; asked for: 0.65" in result.stdout
    assert "mask AP (0.50:0.95) on the held-out images: 0.610; asked for: 0.60" in result.stdout
    assert f"configs/demo/{model}.yaml" in demo.commands("train.py")[0]
    assert [command.split()[-1] for command in demo.commands("ops/kernel_library.py")] == ["cpu"]


@pytest.mark.parametrize(
    ("ap", "mask_ap", "message"),
    [
        ("0.70", "0.59", "error: mask AP 0.590 is under 0.60"),
        ("0.64", "0.61", "error: AP 0.640 is under 0.65"),
        ("0.64", "0.59", "error: AP 0.640 is under 0.65; mask AP 0.590 is under 0.60"),
    ],
)
def test_either_ap_of_a_model_with_masks_can_be_too_low(demo: Demo, ap: str, mask_ap: str, message: str) -> None:
    result = demo.run("mask_rcnn", AP_OF_STAND_IN=ap, MASK_AP_OF_STAND_IN=mask_ap)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == message


def test_the_floor_of_mask_ap_can_be_chosen(demo: Demo) -> None:
    low = {"AP_OF_STAND_IN": "0.1", "MASK_AP_OF_STAND_IN": "0.1"}
    assert demo.run("mask_rcnn", "--epoch_size", "1", **low).returncode == 0
    assert demo.run("mask_rcnn", "--epoch_size", "1", DEMO_MIN_MASK_AP="0.2", **low).returncode == 1


def test_without_the_operator_nothing_is_trained(demo: Demo) -> None:
    result = demo.run("mask_rcnn", EXIT_OF_BUILD="2")
    assert result.returncode == 2
    assert "== 2/5" not in result.stdout


def test_a_failed_step_ends_it(demo: Demo) -> None:
    result = demo.run(EXIT_OF_TRAINING="2")
    assert result.returncode == 2
    assert "== 3/5" in result.stdout
    assert "== 4/5" not in result.stdout


def test_an_interrupted_training_goes_on_and_a_finished_one_starts_anew(demo: Demo) -> None:
    demo.run(EXIT_OF_TRAINING="143")
    second = demo.run()
    assert "continuing the interrupted training" in second.stdout
    assert second.returncode == 0, second.stderr
    demo.run()
    resumed = ["--resume 1" in command for command in demo.commands("train.py")]
    assert resumed == [False, True, False]


def test_an_interrupted_training_with_other_keys_starts_anew(demo: Demo) -> None:
    demo.run("--lr", "0.1", EXIT_OF_TRAINING="143")
    demo.run("--lr", "0.2")
    assert ["--resume" in command for command in demo.commands("train.py")] == [False, False]


def listed_demos() -> dict[str, tuple[str, str]]:
    """{demo: (its floors, its data)} of the table."""
    lines = (ROOT / "configs/demo/demos.txt").read_text().splitlines()
    rows = [line.split(maxsplit=2) for line in lines if not line.startswith("#")]
    return {name: (floors, data) for name, floors, data in rows}


def test_the_table_lists_every_demo() -> None:
    assert set(listed_demos()) == {path.stem for path in (ROOT / "configs/demo").glob("*.yaml")}


@pytest.mark.parametrize("name", [name for name, (_, data) in listed_demos().items() if not data.startswith("--")])
def test_a_demo_with_pictures_of_the_repository_trains_on_them(demo: Demo, name: str) -> None:
    data = ROOT / listed_demos()[name][1]
    config = load_config(ROOT / f"configs/demo/{name}.yaml")
    assert (ROOT / config.train_dataset, ROOT / config.val_dataset) == (data / "train", data / "validation")
    result = demo.run(name, AP_OF_STAND_IN="0.65", MASK_AP_OF_STAND_IN="0.65")
    assert result.returncode == 0, result.stderr
    assert f"== 2/5 data: pictures in {data}" in result.stdout
    assert f"--train_dataset {data}/train --val_dataset {data}/validation" in demo.commands("train.py")[0]
    assert demo.commands("src.data.synthetic") == []
    assert (data / "train/labels.json").is_file()


def test_a_floor_of_ap50(demo: Demo) -> None:
    result = demo.run("blood_cells", AP_OF_STAND_IN="0.54")
    assert result.returncode == 1
    assert "\nAP50 on the held-out images: 0.840; asked for: 0.85" in result.stdout
    assert result.stderr.splitlines()[-1] == "error: AP50 0.840 is under 0.85"
    assert demo.run("blood_cells", AP_OF_STAND_IN="0.54", DEMO_MIN_AP="0.8").returncode == 0
