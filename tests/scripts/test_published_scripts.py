"""The scripts as the four published READMEs call them: every line that starts one, from where it is called.

Nothing is started (DRY_RUN=1); what would be is compared. A line is run from the root and from inside scripts/,
whichever of the two its README has in mind. Capital words are the published placeholders; VALUES fills them in.
"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scripts.ascend_machine import AscendMachine, planned
from tests.scripts.published_lines import (
    BUILD,
    INFERENCE_310,
    LINES,
    OWN_LINES,
    Line,
)
from tests.scripts.shell import ROOT, SCRIPTS

VALUES = {
    "CONFIG_PATH": "my.yaml", "TRAIN_DATA": "train", "VAL_DATA": "val", "TRAIN_OUT": "out", "BRIEF": "first",
    "PRETRAINED_PATH": "x.ckpt", "CHECKPOINT_PATH": "x.ckpt", "PREDICTION_PATH": "found.json", "PRED_INPUT": "images",
    "PRED_OUTPUT": "boxes.json", "DEVICE_NUM": "2", "DEVICE_ID": "1", "RANK_TABLE_FILE": "table.json",
    "MINDRECORD_DIR": "mindrecord", "PRE_TRAINED": "x.ckpt", "PRE_TRAINED_EPOCH_SIZE": "3", "DATASET": "coco",
    "ANN_FILE PATH": "annotations.json", "EPOCH_SIZE": "5", "LR": "0.02", "MINDIR_PATH": "x.mindir",
    "DATA_PATH": "images", "ANNO_PATH": "annotations.json",
}  # fmt: skip
PLACEHOLDER = re.compile(
    r"(?P<before>\((?:OPTIONAL|Optional)\))?"
    r"(?:\[(?P<name>[A-Z_ ]+)(?P<inside>\(optional\))?\]|(?<!\S)(?P<bare>[A-Z_]{2,}(?=[ (]|$)))(?P<after>\(optional\))?"
)
FOLDERS = {"root": ".", "scripts": "scripts"}
WITH_FORMS = ("run_distribute_train.sh", "run_distribute_train_gpu.sh", "run_eval.sh", "run_eval_gpu.sh",
              "run_infer_310.sh")  # fmt: skip


def filled(text: str, optional: bool) -> str:
    """A line with values for its placeholders, the optional ones included or left out."""

    def value(match: re.Match[str]) -> str:
        if not optional and (match["before"] or match["inside"] or match["after"]):
            return ""
        return VALUES[match["name"] or match["bare"]]

    return PLACEHOLDER.sub(value, text)


class Checkout:
    """A copy of the project, in which what the lines name exists, whether they are called from the root or scripts/."""

    def __init__(self, home: Path) -> None:
        self.home, self.root = home, home / "project"
        self.root.mkdir()
        shutil.copytree(SCRIPTS, self.root / "scripts")
        for path in ROOT.iterdir():
            if path.name not in ("scripts", ".git", "ckpt") and not (self.root / path.name).exists():
                (self.root / path.name).symlink_to(path)
        self.machine = AscendMachine(home)
        table = self.machine.write_table(list(range(8))).read_text()
        for name in ("DataSet/MindRecord_COCO", "datasets/COCO2017/val2017"):
            (home / "home" / name).mkdir(parents=True)
        self.write(home / "home/model/nasfpn/ckpt/retinanet_nasfpn_300-916.ckpt")
        self.write(home / "home/datasets/COCO2017/annotations/instances_val2017.json")
        self.write(home / "rank_table_8pcs.json", table)
        two = self.machine.write_table([0, 1]).read_text()
        for folder in (self.root, self.root / "scripts"):
            for name in ("train", "val", "images", "mindrecord"):
                (folder / name).mkdir()
            for name in ("my.yaml", "x.ckpt", "x.mindir", "annotations.json", "ckpt/refinedet.ckpt"):
                self.write(folder / name)
            for name in ("ckpt/ckpt_0/refinedet-500_458.ckpt", "retinanet_nasfpn.mindir"):
                self.write(folder.parent / name)
            self.write(folder / "table.json", two)
            self.write(folder / "hccl_rank_tabel_8p.json", table)

    @staticmethod
    def write(path: Path, text: str = "x") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def here(self, folder: str) -> Path:
        return self.root / "scripts" if folder == "scripts" else self.root

    def run(self, line: str, folder: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line in the root or in scripts/; /home is in `home`. Nothing may be written or started."""
        script = re.sub(r"^bash (scripts/|\./)?", "bash " if folder == "scripts" else "bash scripts/", line)
        command = re.sub(r"(?<= )/home/", f"{self.home}/home/", script)
        variables = self.machine.environment(DRY_RUN="1", HOME=str(self.home), **environment)
        before = self.files()
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.here(folder), capture_output=True, text=True, timeout=60,
            env={name: value for name, value in variables.items() if value is not None},
        )  # fmt: skip
        assert self.files() == before
        assert "started rank" not in done.stdout  # what the stand-in for Python says
        return done

    def files(self) -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in self.home.rglob("*")}

    def expected(self, text: str, folder: str, optional: str = "") -> list[str]:
        here = self.here(folder)
        places = {"here": here, "above": here.parent, "root": self.root, "home": self.home}
        return shlex.split(text.format(**places, optional=optional.format(**places)))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("home"))


def starts(checkout: Checkout, line: Line, folder: str, target: str | None = None) -> None:
    """Check what a line would start, without and with its optional arguments."""
    for optional in (False, True) if line.optional else (False,):
        environment = {"DEVICE_TARGET": target} if target else {}
        ranks = planned(checkout.run(filled(line.text, optional), folder, **environment))
        expected = checkout.expected(line.starts, folder, line.optional if optional else "")
        if target:
            expected[expected.index("--device_target") + 1] = target
        expected[0] = str(checkout.root / expected[0])
        number = int(expected[expected.index("--device_num") + 1]) if "--device_num" in expected else 1
        assert [words for _, words in ranks] == [expected] * number


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.documents}: {line.text[5:]}")
def test_published_lines(line: Line, folder: str, checkout: Checkout) -> None:
    starts(checkout, line, folder)


@pytest.mark.parametrize("target", ["Ascend", "GPU", "CPU"])
@pytest.mark.parametrize("line", OWN_LINES, ids=lambda line: line.text[5:])
def test_any_detector_by_its_configuration(line: Line, target: str, checkout: Checkout) -> None:
    starts(checkout, line, "root", target)


def test_rank_tables_and_keys_belong_to_the_form_with_a_configuration_too(checkout: Checkout) -> None:
    line = "bash scripts/run_distribute_train.sh my.yaml 2 table.json train val out first --lr 0.1"
    ranks = planned(checkout.run(line, "root"))
    table = str(checkout.root / "table.json")
    assert [variables["RANK_TABLE_FILE"] for variables, _ in ranks] == [table, table]
    assert [words[-2:] for _, words in ranks] == [["--lr", "0.1"]] * 2
    done = checkout.run(line.replace("table.json", "''"), "root")
    assert "msrun would start 2 of 2 processes" in done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_building_the_kernels(folder: str, checkout: Checkout) -> None:
    done = checkout.run(BUILD.text, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{checkout.root}/src/ops/kernel_library.py\n")


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("line", INFERENCE_310, ids=lambda line: f"{line.documents}: {line.text[5:]}")
def test_inference_on_ascend_310(line: Line, folder: str, checkout: Checkout) -> None:
    done = checkout.run(filled(line.text, True), folder)
    assert done.returncode == 0, done.stderr
    configure, _, predict, evaluate = (shlex.split(step)[2:] for step in done.stdout.splitlines())
    assert configure[:3] == ["cmake", "-S", f"{checkout.root}/ascend310_infer"]
    mindir, images, annotations, device = checkout.expected(line.starts, folder)
    assert predict[:5] == [predict[0], "--mindir_path", mindir, "--dataset_path", images]
    assert predict[predict.index("--device_id") + 1] == device
    assert evaluate[evaluate.index("--anno_path") + 1] == annotations


def forms_of(script: str) -> list[str]:
    """The forms in a script's usage."""
    pattern = rf"^#[ a-z:]+ bash scripts/{re.escape(script)} ?(.*)$"
    return re.findall(pattern, (SCRIPTS / script).read_text(), re.M)


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        *((script, arguments) for script in WITH_FORMS for arguments in ("", "x", "1 2 3 4 5 6 7 8 9", "x --lr 1")),
        ("run_distribute_train.sh", "my.yaml 2 train val out"),
        ("run_distribute_train.sh", "2 table.json"),
        ("run_distribute_train.sh", "2 500 0.05 coco"),
        ("run_distribute_train_gpu.sh", "2 500 0.05"),
        ("run_eval.sh", "my.yaml val"),
        ("run_eval.sh", "imagenet x.ckpt 0"),
        ("run_eval.sh", "0 coco mindrecord x.ckpt"),
        ("run_eval_gpu.sh", "coco val x.ckpt found.json"),
        ("run_infer_310.sh", "x.mindir"),
    ],
)
def test_all_forms_are_named_when_none_fits(script: str, arguments: str, checkout: Checkout) -> None:
    done = checkout.run(f"bash {script} {arguments}", "scripts")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert len(forms_of(script)) > 1
    assert done.stderr.startswith(f"error: {script} takes {'; or '.join(forms_of(script))}; none of these fits")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bash run_distribute_train.sh 2 500 0.05 imagenet table.json", "DATASET: must be coco, voc or other, not"),
        ("bash run_distribute_train.sh 2 none.json mindrecord", "RANK_TABLE_FILE: no such file: none.json"),
        ("bash run_distribute_train.sh none.yaml 2 '' train val out first", "CONFIG_PATH: no such file: none.yaml"),
        ("bash run_distribute_train.sh two table.json mindrecord", "DEVICE_NUM: must be a whole number from 1, not"),
        ("bash run_eval.sh 0 imagenet mindrecord x.ckpt a.json", "DATASET: must be coco, voc or other, not"),
        ("bash run_eval.sh voc none.ckpt 0", "CHECKPOINT_PATH: no such file: none.ckpt"),
        ("bash run_infer_310.sh x.mindir images none.json", "ANNO_PATH: no such file or folder: none.json"),
    ],
)
def test_a_form_that_is_recognised_says_what_is_wrong(line: str, message: str, checkout: Checkout) -> None:
    done = checkout.run(line, "scripts")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("run_*.sh")))
def test_help_shows_every_form(script: str, checkout: Checkout) -> None:
    done = checkout.run(f"bash {script} --help", "scripts")
    assert done.returncode == 0
    forms = forms_of(script)
    assert forms
    for form in forms:
        assert form in done.stdout


@pytest.mark.parametrize(
    "line", ["bash scripts/run_demo.sh mask_rcnn", "bash scripts/run_tests.sh", "bash scripts/setup_env.sh"]
)
def test_a_dry_run_of_the_projects_own_scripts(line: str, checkout: Checkout) -> None:
    """`Checkout.run` sees to it that nothing is written or started."""
    environment = {"VENV_DIR": f"{checkout.home}/venv", "DEMO_DIR": f"{checkout.home}/demo"}
    done = checkout.run(line, "root", **environment)
    assert done.returncode == 0, done.stderr
    assert f"would make {checkout.home}/venv with " in done.stdout


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("run_single_train.sh 0 mindrecord", "log.txt"),
        ("run_distribute_train.sh 2 table.json mindrecord", "ckpt/processes/worker_1.log"),
        ("run_distribute_train.sh 2 500 0.05 coco table.json", "LOG_2p/ckpt/processes/worker_1.log"),
        (
            "run_distribute_train.sh x.yaml 2 table.json mindrecord mindrecord out first",
            "LOG/first/processes/worker_1.log",
        ),
        ("run_eval.sh coco x.ckpt 0", "eval0/log.txt"),
    ],
)
def test_lines_are_started_where_the_caller_is(line: str, output: str, tmp_path: Path) -> None:
    """With the stand-in for Python instead of a dry run."""
    machine = AscendMachine(tmp_path)
    (tmp_path / "x.yaml").touch()
    done = machine.run(*line.split())
    assert done.returncode == 0, done.stderr
    assert "started rank" in (tmp_path / output).read_text()


def test_the_page_lists_every_script_with_its_forms() -> None:
    page = (ROOT / "docs/scripts.md").read_text()
    for path in sorted(SCRIPTS.rglob("*.sh")):
        script = str(path.relative_to(SCRIPTS))
        assert f"`{script}`" in page, script
        for form in forms_of(script):
            assert not form or f"`{form}`" in page, f"{script} {form}"


def test_git_ignores_what_the_scripts_write(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    results = ["LOG/first", "LOG0/log.txt", "LOG_8p/ckpt/curves.png", "eval0/log.txt", "eval.log", "log.txt",
               "ckpt/config.yaml", "infer.log", "acc.log", "result_Files/1.bin", "time_Result/time.txt"]  # fmt: skip
    results += [f"scripts/{path}" for path in results]
    sources = ["eval.py", "src/evaluation/coco.py", "scripts/run_eval.sh"]
    done = subprocess.run(
        ["git", "check-ignore", *results, *sources], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == results
