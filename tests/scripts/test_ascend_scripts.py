"""The commands of scripts/nas_fpn and scripts/refinedet: their arguments, what they start, how their processes end."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.scripts.ascend_machine import AscendMachine, planned
from tests.scripts.shell import ROOT, SCRIPTS

NAS_CONFIG = str(ROOT / "configs/nas_fpn/retinanet_r50_nasfpn_640.yaml")
OPTIONAL = "PRE_TRAINED(optional) PRE_TRAINED_EPOCH_SIZE(optional)"
BRACKETED = "[PRE_TRAINED](optional) [PRE_TRAINED_EPOCH_SIZE](optional)"
USAGE = {  # as published, and least and most arguments
    "nas_fpn/run_single_train.sh": (f"DEVICE_ID MINDRECORD_DIR {OPTIONAL}", 2, 4),
    "nas_fpn/run_distribute_train.sh": (f"DEVICE_NUM RANK_TABLE_FILE MINDRECORD_DIR {OPTIONAL}", 3, 5),
    "nas_fpn/run_eval.sh": ("[DEVICE_ID] [DATASET] [MINDRECORD_DIR] [CHECKPOINT_PATH] [ANN_FILE PATH]", 5, 5),
    "refinedet/run_standardalone_train.sh": (f"[DEVICE_ID] [EPOCH_SIZE] [LR] [DATASET] {BRACKETED}", 4, 6),
    "refinedet/run_standardalone_train_gpu.sh": (f"[DEVICE_ID] [EPOCH_SIZE] [LR] [DATASET] {BRACKETED}", 4, 6),
    "refinedet/run_distribute_train.sh": (
        f"[DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET] [RANK_TABLE_FILE] {BRACKETED}", 5, 7,
    ),
    "refinedet/run_distribute_train_gpu.sh": (f"[DEVICE_NUM] [EPOCH_SIZE] [LR] [DATASET] {BRACKETED}", 4, 6),
    "refinedet/run_eval.sh": ("[DATASET] [CHECKPOINT_PATH] [DEVICE_ID]", 3, 3),
    "refinedet/run_eval_gpu.sh": ("[DATASET] [CHECKPOINT_PATH] [DEVICE_ID]", 3, 3),
}  # fmt: skip
ARGUMENTS = {  # good ones, with all that are optional
    "nas_fpn/run_single_train.sh": ["1", "mindrecord", "x.ckpt", "3"],
    "nas_fpn/run_distribute_train.sh": ["2", "table.json", "mindrecord", "x.ckpt", "3"],
    "nas_fpn/run_eval.sh": ["1", "coco", "mindrecord", "x.ckpt", "annotations/instances_{}.json"],
    "refinedet/run_standardalone_train.sh": ["1", "500", "0.05", "coco", "x.ckpt", "3"],
    "refinedet/run_standardalone_train_gpu.sh": ["1", "500", "0.05", "coco", "x.ckpt", "3"],
    "refinedet/run_distribute_train.sh": ["2", "500", "0.05", "coco", "table.json", "x.ckpt", "3"],
    "refinedet/run_distribute_train_gpu.sh": ["2", "500", "0.05", "coco", "x.ckpt", "3"],
    "refinedet/run_eval.sh": ["coco", "x.ckpt", "1"],
    "refinedet/run_eval_gpu.sh": ["coco", "x.ckpt", "1"],
}


@pytest.fixture
def machine(tmp_path: Path) -> AscendMachine:
    return AscendMachine(tmp_path)


def keys_of(words: list[str]) -> dict[str, str]:
    """{'--key': value} of the words after the program."""
    return dict(zip(words[1::2], words[2::2], strict=True))


@pytest.mark.parametrize("script", USAGE)
def test_help_and_number_of_arguments(script: str, machine: AscendMachine) -> None:
    usage, least, most = USAGE[script]
    for arguments in (["--help"], ["-h"], [*ARGUMENTS[script], "--help"]):
        done = machine.run(script, *arguments)
        assert done.returncode == 0
        assert f"usage: bash scripts/{script} {usage} [--KEY VALUE]...\n" in done.stdout
        assert "DEVICE_TARGET=CPU" in done.stdout
    for count in (least - 1, most + 1):
        done = machine.run(script, *["x"] * count, "--lr", "1")
        assert done.returncode == 2
        assert usage in done.stderr
        assert done.stderr.splitlines()[-1].endswith(f"arguments, got {count}")


@pytest.mark.parametrize(
    ("script", "position", "value", "message"),
    [
        ("nas_fpn/run_single_train.sh", 0, "one", "DEVICE_ID: must be a whole number from 0, not 'one'"),
        ("nas_fpn/run_single_train.sh", 1, "none", "MINDRECORD_DIR: no such folder: none; create_data.py makes one, "),
        ("nas_fpn/run_single_train.sh", 2, "none", "PRE_TRAINED: no such file: none"),
        ("nas_fpn/run_single_train.sh", 2, "", "PRE_TRAINED_EPOCH_SIZE: 3 epochs are done, but PRE_TRAINED is empty"),
        ("nas_fpn/run_single_train.sh", 3, "-1", "PRE_TRAINED_EPOCH_SIZE: must be a whole number from 0, not '-1'"),
        ("nas_fpn/run_distribute_train.sh", 0, "0", "DEVICE_NUM: must be a whole number from 1, not '0'"),
        ("nas_fpn/run_distribute_train.sh", 0, "8", "rank table {folder}/table.json: lists 2 devices, but DEVICE_NUM"),
        ("nas_fpn/run_distribute_train.sh", 1, "none", "RANK_TABLE_FILE: no such file: none"),
        ("nas_fpn/run_distribute_train.sh", 1, "x.ckpt", "rank table {folder}/x.ckpt, line 1: not valid JSON"),
        ("nas_fpn/run_eval.sh", 1, "imagenet", "DATASET: must be coco, voc or other, not 'imagenet'"),
        ("nas_fpn/run_eval.sh", 3, "none", "CHECKPOINT_PATH: no such file: none"),
        ("refinedet/run_standardalone_train.sh", 1, "0", "EPOCH_SIZE: must be a whole number from 1, not '0'"),
        ("refinedet/run_standardalone_train.sh", 2, "fast", "LR: must be a number, not 'fast'"),
        ("refinedet/run_distribute_train.sh", 4, "none", "RANK_TABLE_FILE: no such file: none"),
        ("refinedet/run_distribute_train_gpu.sh", 3, "COCO", "DATASET: must be coco, voc or other, not 'COCO'"),
        ("refinedet/run_eval.sh", 1, "none", "CHECKPOINT_PATH: no such file: none"),
        ("refinedet/run_eval_gpu.sh", 2, "", "DEVICE_ID: must be a whole number from 0, not ''"),
    ],
)
def test_mistakes(script: str, position: int, value: str, message: str, machine: AscendMachine) -> None:
    """Each is told in one line, before anything starts or is written."""
    arguments = list(ARGUMENTS[script])
    arguments[position] = value
    before = sorted(machine.folder.iterdir())
    done = machine.run(script, *arguments, DEVICE_TARGET="CPU")
    assert done.returncode == 2
    assert done.stderr.startswith("error: " + message.format(folder=machine.folder))
    assert len(done.stderr.splitlines()) == 1
    assert "started" not in done.stdout
    assert sorted(machine.folder.iterdir()) == before


class TestDryRun:
    """What each command would start."""

    def test_nas_fpn_on_one_device(self, machine: AscendMachine) -> None:
        script = "nas_fpn/run_single_train.sh"
        ((variables, words),) = planned(machine.run(script, *ARGUMENTS[script], "--lr", "0.1", DRY_RUN="1"))
        assert variables == {}
        assert words[0] == str(ROOT / "train.py")
        assert keys_of(words) == {
            "--device_target": "Ascend", "--device_id": "1", "--config_path": NAS_CONFIG,
            "--mindrecord_dir": f"{machine.folder}/mindrecord", "--pre_trained": f"{machine.folder}/x.ckpt",
            "--pre_trained_epoch_size": "3", "--train_outputs": str(machine.folder), "--brief": "ckpt",
            "--save_checkpoint_path": f"{machine.folder}/ckpt", "--lr": "0.1",
        }  # fmt: skip
        assert not (machine.folder / "log.txt").exists()

    def test_optional_arguments_are_left_out(self, machine: AscendMachine) -> None:
        ((_, words),) = planned(machine.run("nas_fpn/run_single_train.sh", "0", "", DRY_RUN="1"))
        keys = keys_of(words)
        assert keys["--mindrecord_dir"] == ""
        assert "--pre_trained" not in keys
        assert "--pre_trained_epoch_size" not in keys

    def test_nas_fpn_on_several_devices(self, machine: AscendMachine) -> None:
        script = "nas_fpn/run_distribute_train.sh"
        ranks = planned(machine.run(script, *ARGUMENTS[script], DRY_RUN="1"))
        table = f"{machine.folder}/table.json"
        assert [variables for variables, _ in ranks] == [
            {"RANK_ID": "0", "RANK_SIZE": "2", "DEVICE_ID": "4", "RANK_TABLE_FILE": table},
            {"RANK_ID": "1", "RANK_SIZE": "2", "DEVICE_ID": "5", "RANK_TABLE_FILE": table},
        ]
        assert ranks[0][1] == ranks[1][1]
        keys = keys_of(ranks[0][1])
        assert (keys["--run_distribute"], keys["--device_num"]) == ("1", "2")
        assert keys["--mindrecord_dir"] == f"{machine.folder}/mindrecord"

    def test_msrun_counts_the_visible_devices(self, machine: AscendMachine) -> None:
        script = "nas_fpn/run_distribute_train.sh"
        done = machine.run(script, *ARGUMENTS[script], DRY_RUN="1", LAUNCHER="msrun")
        assert "msrun would start 2 of 2 processes" in done.stdout
        devices = [(v["DEVICE_ID"], v["ASCEND_RT_VISIBLE_DEVICES"]) for v, _ in planned(done)]
        assert devices == [("0", "4,5"), ("1", "4,5")]

    @pytest.mark.parametrize(
        ("target", "table", "launcher"),
        [("CPU", "table.json", "msrun"), ("Ascend", "", "msrun"), ("GPU", "", "mpirun")],
    )
    def test_default_launchers(self, machine: AscendMachine, target: str, table: str, launcher: str) -> None:
        arguments = ("2", table, "mindrecord")
        done = machine.run("nas_fpn/run_distribute_train.sh", *arguments, DRY_RUN="1", DEVICE_TARGET=target)
        assert f"dry run: {launcher} would start 2 of 2 processes" in done.stdout
        assert len(planned(done)) == 2

    @pytest.mark.parametrize(
        ("launcher", "table", "message"),
        [
            ("mpirun", "table.json", "LAUNCHER: must be rank_table or msrun on Ascend, not 'mpirun'"),
            ("rank_table", "", "LAUNCHER=rank_table needs a RANK_TABLE_FILE"),
        ],
    )
    def test_launchers_that_do_not_fit(self, machine: AscendMachine, launcher: str, table: str, message: str) -> None:
        arguments = ("2", table, "mindrecord")
        done = machine.run("nas_fpn/run_distribute_train.sh", *arguments, DRY_RUN="1", LAUNCHER=launcher)
        assert (done.returncode, done.stderr) == (2, f"error: {message}\n")

    def test_one_of_several_servers(self, machine: AscendMachine) -> None:
        machine.write_table([0, 1], [2, 3])
        arguments = ("4", "table.json", "mindrecord")
        script = "nas_fpn/run_distribute_train.sh"
        ranks = planned(machine.run(script, *arguments, DRY_RUN="1", SERVER_ID="10.0.0.2"))
        assert [(v["RANK_ID"], v["RANK_SIZE"], v["DEVICE_ID"]) for v, _ in ranks] == [("2", "4", "2"), ("3", "4", "3")]
        done = machine.run(script, *arguments, DRY_RUN="1")
        assert done.returncode == 2
        assert "set SERVER_ID to one of them" in done.stderr
        done = machine.run(script, *arguments, DRY_RUN="1", SERVER_ID="10.0.0.2", LAUNCHER="msrun")
        assert done.returncode == 2
        assert "LAUNCHER=msrun: this script starts one machine" in done.stderr

    def test_nas_fpn_evaluation(self, machine: AscendMachine) -> None:
        script = "nas_fpn/run_eval.sh"
        ((_, words),) = planned(machine.run(script, *ARGUMENTS[script], DRY_RUN="1"))
        assert words[0] == str(ROOT / "eval.py")
        assert keys_of(words) == {
            "--device_target": "Ascend", "--device_id": "1", "--config_path": NAS_CONFIG, "--dataset": "coco",
            "--mindrecord_dir": f"{machine.folder}/mindrecord", "--val_dataset": "",
            "--instance_set": f"{machine.folder}/annotations/instances_{{}}.json",
            "--checkpoint_path": f"{machine.folder}/x.ckpt",
        }  # fmt: skip

    def test_nas_fpn_evaluation_on_annotations_of_another_kind(self, machine: AscendMachine) -> None:
        script = "nas_fpn/run_eval.sh"
        (machine.folder / "list.txt").touch()
        arguments = [ARGUMENTS[script][0], "other", *ARGUMENTS[script][2:4]]
        ((_, words),) = planned(machine.run(script, *arguments, "list.txt", DRY_RUN="1"))
        assert keys_of(words)["--val_dataset"] == f"{machine.folder}/list.txt"
        assert "--instance_set" not in keys_of(words)
        done = machine.run(script, *arguments, "none.txt", DRY_RUN="1")
        assert (done.returncode, done.stderr) == (2, "error: ANN_FILE PATH: no such file or folder: none.txt\n")

    @pytest.mark.parametrize(("suffix", "target"), [("", "Ascend"), ("_gpu", "GPU")])
    def test_refinedet_on_one_device(self, machine: AscendMachine, suffix: str, target: str) -> None:
        script = f"refinedet/run_standardalone_train{suffix}.sh"
        ((_, words),) = planned(machine.run(script, *ARGUMENTS[script], DRY_RUN="1"))
        run = f"{machine.folder}/LOG1"
        assert keys_of(words) == {
            "--device_target": target, "--device_id": "1", "--epoch_size": "500", "--lr": "0.05", "--dataset": "coco",
            "--pre_trained": f"{machine.folder}/x.ckpt", "--pre_trained_epoch_size": "3", "--train_outputs": run,
            "--brief": "ckpt", "--save_checkpoint_path": f"{run}/ckpt",
        }  # fmt: skip

    @pytest.mark.parametrize(("suffix", "target"), [("", "Ascend"), ("_gpu", "GPU")])
    def test_refinedet_on_several_devices(self, machine: AscendMachine, suffix: str, target: str) -> None:
        script = f"refinedet/run_distribute_train{suffix}.sh"
        ranks = planned(machine.run(script, *ARGUMENTS[script], DRY_RUN="1"))
        assert [variables["DEVICE_ID"] for variables, _ in ranks] == (["0", "1"] if suffix else ["4", "5"])
        keys = keys_of(ranks[1][1])
        assert (keys["--device_target"], keys["--epoch_size"], keys["--lr"]) == (target, "500", "0.05")
        assert keys["--save_checkpoint_path"] == f"{machine.folder}/LOG_2p/ckpt"
        assert keys["--pre_trained_epoch_size"] == "3"

    @pytest.mark.parametrize(("suffix", "target"), [("", "Ascend"), ("_gpu", "GPU")])
    def test_refinedet_evaluation(self, machine: AscendMachine, suffix: str, target: str) -> None:
        script = f"refinedet/run_eval{suffix}.sh"
        ((_, words),) = planned(machine.run(script, *ARGUMENTS[script], DRY_RUN="1"))
        assert keys_of(words) == {
            "--device_target": target, "--device_id": "1", "--dataset": "coco",
            "--checkpoint_path": f"{machine.folder}/x.ckpt",
        }  # fmt: skip

    @pytest.mark.parametrize("script", ["nas_fpn/run_single_train.sh", "refinedet/run_eval.sh"])
    def test_another_configuration_and_folder(self, machine: AscendMachine, script: str) -> None:
        (machine.folder / "mine.yaml").touch()
        settings = {"CONFIG_PATH": "mine.yaml", "OUTPUT_DIR": "elsewhere", "DRY_RUN": "1"}
        ((_, words),) = planned(machine.run(script, *ARGUMENTS[script], **settings))
        keys = keys_of(words)
        assert keys["--config_path"] == f"{machine.folder}/mine.yaml"
        assert keys.get("--train_outputs", f"{machine.folder}/elsewhere") == f"{machine.folder}/elsewhere"
        done = machine.run(script, *ARGUMENTS[script], CONFIG_PATH="none.yaml")
        assert (done.returncode, done.stderr) == (2, "error: CONFIG_PATH: no such file: none.yaml\n")


class TestDevices:
    def test_none(self, tmp_path: Path) -> None:
        done = AscendMachine(tmp_path, devices=0).run("nas_fpn/run_single_train.sh", "0", "mindrecord")
        assert (done.returncode, done.stderr) == (
            2,
            "error: no Ascend device on this machine (there is no /dev/davinci0 or the like); DEVICE_TARGET=CPU runs "
            "on the CPU, tools/doctor.py says more\n",
        )

    def test_too_few(self, tmp_path: Path) -> None:
        machine = AscendMachine(tmp_path, devices=1)
        done = machine.run("nas_fpn/run_distribute_train.sh", "2", "table.json", "mindrecord")
        assert (done.returncode, done.stderr) == (2, "error: 2 Ascend devices asked for, this machine has 1\n")


class TestRuns:
    """The scripts with the stand-in for Python."""

    def test_one_device(self, machine: AscendMachine) -> None:
        script = "nas_fpn/run_single_train.sh"
        done = machine.run(script, *ARGUMENTS[script])
        assert done.returncode == 0, done.stderr
        log = (machine.folder / "log.txt").read_text()
        assert log.startswith("started rank none of none")
        assert done.stdout == f"output: also in {machine.folder}/log.txt\n{log}"

    def test_evaluation_log(self, machine: AscendMachine) -> None:
        machine.run("nas_fpn/run_eval.sh", *ARGUMENTS["nas_fpn/run_eval.sh"])
        machine.run("refinedet/run_eval.sh", *ARGUMENTS["refinedet/run_eval.sh"])
        for log in ("eval.log", "eval1/log.txt"):
            assert (machine.folder / log).read_text().startswith("started rank none of none")

    def test_a_log_says_when_it_goes_on_and_with_which_command(self, machine: AscendMachine) -> None:
        script = "nas_fpn/run_eval.sh"
        first, second = (machine.run(script, *ARGUMENTS[script], "--test_batch_size", "8") for _ in range(2))
        assert (first.returncode, second.returncode) == (0, 0)
        log = (machine.folder / "eval.log").read_text()
        earlier, later = log.split("\n== ")
        header, *lines = later.splitlines()
        assert lines == earlier.splitlines()
        date, command = header.split(": ", 1)
        assert time.strptime(date, "%Y-%m-%d %H:%M:%S %z")
        assert shlex.split(command) == ["bash", str(SCRIPTS / script), *ARGUMENTS[script], "--test_batch_size", "8"]

    def test_another_training_is_not_written_over(self, machine: AscendMachine) -> None:
        (machine.folder / "ckpt").mkdir()
        (machine.folder / "ckpt/last.ckpt").touch()
        script = "nas_fpn/run_single_train.sh"
        done = machine.run(script, *ARGUMENTS[script])
        assert done.returncode == 2
        assert done.stderr == (
            f"error: {machine.folder}/ckpt holds a training already; add --resume 1 to continue it, or set OUTPUT_DIR "
            "to another folder\n"
        )
        assert machine.run(script, *ARGUMENTS[script], "--resume", "1").returncode == 0
        assert machine.run(script, *ARGUMENTS[script], OUTPUT_DIR="second").returncode == 0
        assert (machine.folder / "second/log.txt").is_file()

    @pytest.mark.parametrize("bound", ["0", "1"])
    def test_rank_table(self, machine: AscendMachine, bound: str) -> None:
        machine.program("taskset", '#!/bin/sh\necho "bound to $2"\nshift 2\nexec "$@"\n')
        machine.program("nproc", "#!/bin/sh\necho 8\n")
        script = "nas_fpn/run_distribute_train.sh"
        done = machine.run(script, *ARGUMENTS[script], BIND_CORES=bound)
        assert done.returncode == 0, done.stderr
        logs = [(machine.folder / f"ckpt/processes/worker_{rank}.log").read_text() for rank in (0, 1)]
        table = f"{machine.folder}/table.json"
        for rank, (device, cores) in enumerate(((4, "0-3"), (5, "4-7"))):
            assert f"started rank {rank} of 2 on device {device}\ntable {table}\n" in logs[rank]
            assert (f"bound to {cores}\n" in logs[rank]) == (bound == "1")
        assert logs[0] in done.stdout
        assert logs[0] in (machine.folder / "log.txt").read_text()
        assert "on device 5" not in done.stdout

    @pytest.mark.parametrize("rank", ["0", "1"])
    def test_a_failing_rank_ends_all_with_its_message(self, machine: AscendMachine, rank: str) -> None:
        script = "refinedet/run_distribute_train.sh"
        done = machine.run(script, *ARGUMENTS[script], FAIL_RANK=rank)
        assert done.returncode == 2
        assert f"error: disk full on rank {rank}" in done.stderr
        assert f"rank {rank} ended with exit code 2" in done.stderr
        logs = machine.folder / "LOG_2p/ckpt/processes"
        assert done.stderr.splitlines()[-1] == (
            f"error: a process failed, so the whole run was ended; the output of every process is in {logs}"
        )
        other = logs / f"worker_{1 - int(rank)}.log"
        assert other.read_text().splitlines()[-1] == "asked to stop"

    def test_stopping_asks_every_rank(self, machine: AscendMachine) -> None:
        script = "nas_fpn/run_distribute_train.sh"
        variables = {**os.environ, **machine.environment(WAIT="1")}
        process = subprocess.Popen(
            ["bash", SCRIPTS / script, *ARGUMENTS[script]], cwd=machine.folder,
            env={key: value for key, value in variables.items() if value is not None},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        logs = [machine.folder / f"ckpt/processes/worker_{rank}.log" for rank in (0, 1)]
        deadline = time.monotonic() + 30
        while not all(log.is_file() and "--brief" in log.read_text() for log in logs):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 143
        assert "stopping: asking every process to save its work" in err
        assert [log.read_text().splitlines()[-1] for log in logs] == ["asked to stop"] * 2


class TestInference310:
    """RefineDet's command has no argument for the annotations; test_infer_310.py runs NAS-FPN's."""

    SCRIPT = "refinedet/run_infer_310.sh"

    @staticmethod
    def keys(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
        """The keys of postprocess.py."""
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        first = lines.index("--mindir_path", lines.index("--mindir_path") + 1)
        return dict(zip(lines[first::2], lines[first + 1 :: 2], strict=False))

    @pytest.mark.parametrize("arguments", [["x.ckpt", "mindrecord"], ["x.ckpt", "mindrecord", "1"]])
    def test_annotations_are_found_beside_the_images(self, machine: AscendMachine, arguments: list[str]) -> None:
        keys = self.keys(machine.run(self.SCRIPT, *arguments, DEVICE_TARGET="CPU"))
        assert keys["--anno_path"] == keys["--img_path"] == f"{machine.folder}/mindrecord"
        assert keys["--dataset"] == "coco"

    def test_or_named(self, machine: AscendMachine) -> None:
        environment = {"DEVICE_TARGET": "CPU", "ANNO_PATH": "table.json", "DATASET": "other"}
        keys = self.keys(machine.run(self.SCRIPT, "x.ckpt", "mindrecord", **environment))
        assert (keys["--anno_path"], keys["--dataset"]) == (f"{machine.folder}/table.json", "other")

    def test_for_a_caller_among_the_scripts_results_go_to_the_folder_above(self, machine: AscendMachine) -> None:
        """RefineDet's document calls it there, and finds acc.log in the folder above that of the scripts."""
        project = machine.folder / "project"
        shutil.copytree(SCRIPTS, project / "scripts")
        done = subprocess.run(
            ["bash", project / "scripts" / self.SCRIPT, machine.folder / "x.ckpt", machine.folder / "mindrecord"],
            cwd=project / "scripts/refinedet",
            env={k: v for k, v in {**os.environ, **machine.environment(DEVICE_TARGET="CPU")}.items() if v is not None},
            capture_output=True,
            text=True,
        )
        assert self.keys(done)["--prediction_path"] == f"{project}/predictions.json"
        assert (project / "acc.log").is_file() and not list(project.glob("scripts/**/*.log"))

    def test_help_and_mistakes(self, machine: AscendMachine) -> None:
        usage = f"usage: bash scripts/{self.SCRIPT} [MINDIR_PATH] [DATA_PATH] [DEVICE_ID]\n"
        assert usage in machine.run(self.SCRIPT, "--help").stdout
        done = machine.run(self.SCRIPT, "x.ckpt")
        assert done.returncode == 2
        assert done.stderr.endswith("error: run_infer_310.sh takes 2 to 3 arguments, got 1\n")
        done = machine.run(self.SCRIPT, "x.ckpt", "mindrecord", "mindrecord")
        assert done.stderr == "error: DEVICE_ID: must be a whole number from 0, not 'mindrecord'\n"
