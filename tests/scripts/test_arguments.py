"""Wrong arguments of the scripts: each mistake gets one line that names it, and exit code 2."""

import os
from pathlib import Path

import pytest

from tests.scripts.shell import ROOT, run_script

CONFIG = ROOT / "configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml"
SEED_SCRIPTS = {
    "run_standalone_train_gpu.sh": "[CONFIG_PATH] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] "
    "(OPTIONAL)[PRETRAINED_PATH]",
    "run_distribute_train_gpu.sh": "[CONFIG_PATH] [DEVICE_NUM] [TRAIN_DATA] [VAL_DATA] [TRAIN_OUT] [BRIEF] "
    "(OPTIONAL)[PRETRAINED_PATH]",
    "run_eval_gpu.sh": "[CONFIG_PATH] [VAL_DATA] [CHECKPOINT_PATH] (Optional)[PREDICTION_PATH]",
    "run_infer_gpu.sh": "[CONFIG_PATH] [CHECKPOINT_PATH] [PRED_INPUT] [PRED_OUTPUT]",
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Stand-ins for what the scripts check before they start anything."""
    for name in ("train", "val", "images"):
        (tmp_path / name).mkdir()
    (tmp_path / "x.ckpt").write_bytes(b"x")
    return {name: tmp_path / name for name in ("train", "val", "images", "x.ckpt", "out")}


def arguments_of(script: str, files: dict[str, Path]) -> list[str | Path]:
    """Good arguments of a script, optional ones included."""
    train = [files["train"], files["val"], files["out"], "first", files["x.ckpt"]]
    return {
        "run_standalone_train_gpu.sh": [CONFIG, *train],
        "run_distribute_train_gpu.sh": [CONFIG, "2", *train],
        "run_eval_gpu.sh": [CONFIG, files["val"], files["x.ckpt"], files["out"]],
        "run_infer_gpu.sh": [CONFIG, files["x.ckpt"], files["images"], files["out"]],
    }[script]


@pytest.mark.parametrize("script", SEED_SCRIPTS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(script: str, flag: str, tmp_path: Path) -> None:
    result = run_script(script, flag, cwd=tmp_path)
    assert result.returncode == 0
    assert f"usage: bash scripts/{script} {SEED_SCRIPTS[script]}\n" in result.stdout
    assert "DEVICE_TARGET=CPU" in result.stdout
    assert "shellcheck" not in result.stdout


@pytest.mark.parametrize("script", SEED_SCRIPTS)
@pytest.mark.parametrize("count", [0, 1, 9])
def test_wrong_number_of_arguments(script: str, count: int, tmp_path: Path) -> None:
    result = run_script(script, *["x"] * count, cwd=tmp_path)
    assert result.returncode == 2
    assert SEED_SCRIPTS[script] in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"error: {script} takes ")
    assert result.stderr.splitlines()[-1].endswith(f"got {count}")


@pytest.mark.parametrize(
    ("script", "position", "name"),
    [
        ("run_standalone_train_gpu.sh", 0, "CONFIG_PATH"),
        ("run_standalone_train_gpu.sh", 1, "TRAIN_DATA"),
        ("run_standalone_train_gpu.sh", 2, "VAL_DATA"),
        ("run_standalone_train_gpu.sh", 5, "PRETRAINED_PATH"),
        ("run_distribute_train_gpu.sh", 0, "CONFIG_PATH"),
        ("run_distribute_train_gpu.sh", 2, "TRAIN_DATA"),
        ("run_distribute_train_gpu.sh", 3, "VAL_DATA"),
        ("run_distribute_train_gpu.sh", 6, "PRETRAINED_PATH"),
        ("run_eval_gpu.sh", 0, "CONFIG_PATH"),
        ("run_eval_gpu.sh", 1, "VAL_DATA"),
        ("run_eval_gpu.sh", 2, "CHECKPOINT_PATH"),
        ("run_infer_gpu.sh", 0, "CONFIG_PATH"),
        ("run_infer_gpu.sh", 1, "CHECKPOINT_PATH"),
        ("run_infer_gpu.sh", 2, "PRED_INPUT"),
    ],
)
def test_missing_paths_are_named(script: str, position: int, name: str, files: dict[str, Path], tmp_path: Path) -> None:
    arguments = arguments_of(script, files)
    arguments[position] = "not there"
    result = run_script(script, *arguments, cwd=tmp_path, DEVICE_TARGET="CPU")
    assert result.returncode == 2
    kind = {"TRAIN_DATA": "folder", "VAL_DATA": "folder", "PRED_INPUT": "file or folder"}.get(name, "file")
    assert result.stderr == f"error: {name}: no such {kind}: not there\n"
    assert not files["out"].exists()


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", ""])
def test_bad_number_of_devices(number: str, files: dict[str, Path], tmp_path: Path) -> None:
    arguments = arguments_of("run_distribute_train_gpu.sh", files)
    arguments[1] = number
    result = run_script("run_distribute_train_gpu.sh", *arguments, cwd=tmp_path, DEVICE_TARGET="CPU")
    assert result.returncode == 2
    assert result.stderr == f"error: DEVICE_NUM: must be a whole number from 1, not '{number}'\n"


@pytest.mark.parametrize("number", ["4097", "18446744073709551618", "99999999999999999999"])
def test_too_many_devices(number: str, files: dict[str, Path], tmp_path: Path) -> None:
    """The second is 2 and the third not negative in arithmetic of 64 bits, which is bash's."""
    arguments = arguments_of("run_distribute_train_gpu.sh", files)
    arguments[1] = number
    result = run_script("run_distribute_train_gpu.sh", *arguments, cwd=tmp_path, DEVICE_TARGET="CPU")
    assert result.returncode == 2
    assert result.stderr == f"error: DEVICE_NUM: must be at most 4096, not {number}\n"
    assert not files["out"].exists()


def test_too_many_processes_on_the_cpu(files: dict[str, Path], tmp_path: Path) -> None:
    arguments = arguments_of("run_distribute_train_gpu.sh", files)
    arguments[1] = "4096"
    result = run_script("run_distribute_train_gpu.sh", *arguments, cwd=tmp_path, DEVICE_TARGET="CPU")
    most = max(16, len(os.sched_getaffinity(0)))
    assert result.returncode == 2
    assert result.stderr == f"error: 4096 processes asked for, on the CPU of this machine there may be {most}\n"


@pytest.mark.parametrize("brief", ["", "a/b", "..", "."])
def test_bad_brief(brief: str, files: dict[str, Path], tmp_path: Path) -> None:
    arguments = arguments_of("run_standalone_train_gpu.sh", files)
    arguments[4] = brief
    result = run_script("run_standalone_train_gpu.sh", *arguments, cwd=tmp_path, DEVICE_TARGET="CPU")
    assert result.returncode == 2
    assert result.stderr == f"error: BRIEF: must be a plain name, not '{brief}'\n"


class TestDevices:
    """Which device a script takes, with a stand-in for nvidia-smi."""

    @staticmethod
    def fake_driver(folder: Path, gpus: int) -> str:
        """A PATH whose nvidia-smi lists so many GPUs, or fails for none."""
        folder.mkdir()
        listing = "".join(f"echo 'GPU {i}: NVIDIA X (UUID: GPU-{i})'\n" for i in range(gpus))
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{listing or 'exit 9'}\n")
        program.chmod(0o755)
        return f"{folder}:/usr/bin:/bin"

    @pytest.mark.parametrize("script", SEED_SCRIPTS)
    @pytest.mark.parametrize("target", [None, "GPU"])
    def test_without_gpu(self, script: str, target: str | None, files: dict[str, Path], tmp_path: Path) -> None:
        path = self.fake_driver(tmp_path / "bin", 0)
        result = run_script(script, *arguments_of(script, files), cwd=tmp_path, PATH=path, DEVICE_TARGET=target)
        assert result.returncode == 2
        assert result.stderr == (
            "error: no GPU on this machine (nvidia-smi -L lists none); DEVICE_TARGET=CPU runs on the CPU, "
            "tools/doctor.py says more\n"
        )

    def test_too_few_gpus(self, files: dict[str, Path], tmp_path: Path) -> None:
        path = self.fake_driver(tmp_path / "bin", 1)
        script = "run_distribute_train_gpu.sh"
        result = run_script(script, *arguments_of(script, files), cwd=tmp_path, PATH=path, DEVICE_TARGET=None)
        assert result.returncode == 2
        assert result.stderr == "error: 2 GPUs asked for, this machine has 1\n"

    def test_unknown_device(self, files: dict[str, Path], tmp_path: Path) -> None:
        script = "run_eval_gpu.sh"
        result = run_script(script, *arguments_of(script, files), cwd=tmp_path, DEVICE_TARGET="TPU")
        assert result.returncode == 2
        assert result.stderr == "error: DEVICE_TARGET: must be GPU, CPU or Ascend, not 'TPU'\n"


class TestCommands:
    """What the scripts start, with a stand-in for Python that prints its arguments."""

    @pytest.fixture
    def echo(self, tmp_path: Path) -> str:
        program = tmp_path / "python3"
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)
        return str(program)

    @staticmethod
    def started(stdout: str) -> list[str]:
        """The arguments of Python, without what the script said before."""
        lines = stdout.splitlines()
        return lines[next(i for i, line in enumerate(lines) if line.startswith(str(ROOT))) :]

    @pytest.mark.parametrize("optional", [0, 1])
    def test_standalone_training(self, optional: int, files: dict[str, Path], tmp_path: Path, echo: str) -> None:
        script = "run_standalone_train_gpu.sh"
        arguments = arguments_of(script, files)[: 5 + optional]
        result = run_script(script, *arguments, cwd=tmp_path, PYTHON=echo, DEVICE_TARGET="CPU")
        assert result.returncode == 0, result.stderr
        expected = [ROOT / "train.py", "--device_target", "CPU", "--config_path", CONFIG]
        expected += ["--train_dataset", files["train"], "--val_dataset", files["val"]]
        expected += ["--train_outputs", files["out"], "--brief", "first"]
        expected += ["--pre_trained", files["x.ckpt"]] if optional else []
        assert self.started(result.stdout) == [str(item) for item in expected]
        assert (tmp_path / "LOG/first").resolve() == files["out"] / "first"

    def test_relative_paths_become_absolute(self, files: dict[str, Path], tmp_path: Path, echo: str) -> None:
        result = run_script(
            "run_eval_gpu.sh", CONFIG, "val", "x.ckpt", "new/predictions.json",
            cwd=tmp_path, PYTHON=echo, DEVICE_TARGET="CPU",
        )  # fmt: skip
        expected = [ROOT / "eval.py", "--device_target", "CPU", "--config_path", CONFIG]
        expected += ["--val_dataset", tmp_path / "val", "--checkpoint_path", tmp_path / "x.ckpt"]
        expected += ["--prediction_path", tmp_path / "new/predictions.json"]
        assert self.started(result.stdout) == [str(item) for item in expected]

    def test_inference(self, files: dict[str, Path], tmp_path: Path, echo: str) -> None:
        script = "run_infer_gpu.sh"
        result = run_script(script, *arguments_of(script, files), cwd=tmp_path, PYTHON=echo, DEVICE_TARGET="CPU")
        expected = [ROOT / "infer.py", "--device_target", "CPU", "--config_path", CONFIG]
        expected += ["--checkpoint_path", files["x.ckpt"], "--pred_input", files["images"]]
        expected += ["--pred_output", files["out"]]
        assert self.started(result.stdout) == [str(item) for item in expected]

    def test_a_folder_of_the_user_named_log_is_left_alone(
        self, files: dict[str, Path], tmp_path: Path, echo: str
    ) -> None:
        mine = tmp_path / "LOG/first"
        mine.mkdir(parents=True)
        (mine / "notes.txt").write_text("mine")
        script = "run_standalone_train_gpu.sh"
        result = run_script(script, *arguments_of(script, files), cwd=tmp_path, PYTHON=echo, DEVICE_TARGET="CPU")
        assert result.returncode == 0
        assert "is left alone" in result.stdout
        assert (mine / "notes.txt").read_text() == "mine"

    def test_mpirun_starts_one_process_a_gpu(self, files: dict[str, Path], tmp_path: Path, echo: str) -> None:
        path = TestDevices.fake_driver(tmp_path / "bin", 2)
        mpirun = tmp_path / "bin/mpirun"
        mpirun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        mpirun.chmod(0o755)
        script = "run_distribute_train_gpu.sh"
        result = run_script(
            script, *arguments_of(script, files), cwd=tmp_path, PYTHON=echo, PATH=path, DEVICE_TARGET=None
        )
        assert result.returncode == 0, result.stderr
        lines = result.stdout.splitlines()
        assert lines[lines.index("-n") + 1] == "2"
        assert lines[lines.index(echo) + 1 :][:7] == [
            str(ROOT / "train.py"), "--device_target", "GPU", "--run_distribute", "1", "--device_num", "2",
        ]  # fmt: skip


def test_demo_lists_the_models(tmp_path: Path) -> None:
    result = run_script("run_demo.sh", "no_such_model", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: no demo of 'no_such_model'; there are: ")
    assert "spinenet_retinanet" in result.stderr


@pytest.mark.parametrize("script", ["run_demo.sh", "run_tests.sh", "setup_env.sh"])
def test_help_of_the_two_commands(script: str, tmp_path: Path) -> None:
    result = run_script(script, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert f"usage: bash scripts/{script}" in result.stdout
