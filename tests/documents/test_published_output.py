"""Output and JSON of the published READMEs beside what trainings, evaluations and detections write here."""

import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

from src.blocks.detections import Detections
from src.commands import evaluate as evaluate_module
from src.commands.evaluate import evaluate
from src.commands.postprocess import postprocess
from src.config import load_config
from src.engine import trainer as trainer_module
from src.engine.run_log import RunLog
from src.engine.stop_request import StopRequest
from src.engine.trainer import Trainer, Validation
from src.evaluation.metrics import Metrics
from src.evaluation.predictions import image_entry, save_predictions
from src.model_utils.device_adapter import Device
from tests.commands.test_postprocess import case  # noqa: F401  a fixture
from tests.conftest import ROOT
from tests.documents.published import NONE, Document, Entry, name_of, pairs
from tests.engine.test_trainer_start import Loader
from tests.engine.toy_detector import ToyDetector

LOGS = pairs("log")
NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
VARYING = re.compile(
    r"(?P<fixed>@\[.*?\])|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+)|(?P<bar>█+)|(?P<clock>(?:\d+:)?\d\d:\d\d)|(?P<number>-?\d[\d.]*)"
)
Written = Callable[[str, Document], list[str]]


def pattern(line: str) -> re.Pattern[str]:
    """What a published line is, whatever its numbers."""
    result, end = "", 0
    for match in VARYING.finditer(line):
        varying = {
            "fixed": re.escape(match[0]), "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", "bar": "[█▏▎▍▌▋▊▉# ]*",
            "clock": r"(?:\d+:)?\d\d:\d\d", "number": NUMBER,
        }[match.lastgroup or ""]  # fmt: skip
        result += re.escape(line[end : match.start()]) + varying
        end = match.end()
    result += re.escape(line[end:])
    return re.compile(re.sub(r"(?:\\ )+", " *", result) if "█" in line else result)  # bars pad their numbers


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Written:
    """(what prints, document) -> the lines."""

    @cache
    def lines_of(made_by: str, document: Document) -> list[str]:
        folder = tmp_path_factory.mktemp("printed")
        ms.set_context(mode=ms.PYNATIVE_MODE)
        with pytest.MonkeyPatch.context() as monkeypatch:
            if made_by == "training":
                return training_log(document, folder, monkeypatch)
            return evaluation_output(document, folder, shapes, monkeypatch)

    return lines_of


def training_log(document: Document, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The log of an epoch with an evaluation: the loop that trains every detector, on a toy."""
    metrics = Metrics({"bbox_mAP": 0.35}, {}, {}, {}, 0, 0)
    monkeypatch.setattr(trainer_module, "build_detector", lambda config: ToyDetector())
    monkeypatch.setattr(trainer_module, "evaluate_detector", lambda *arguments: metrics)
    monkeypatch.setattr(RunLog, "redraw_curves", lambda log: None)
    keys = {"epoch_size": 1, "lr_type": "cosine", "train_outputs": str(folder), "log_every": 1}
    config = load_config(ROOT / document.configuration, keys)
    trained, evaluated = Loader(), Loader()
    for loader in (trained, evaluated):
        loader.dataset.records = [SimpleNamespace(name=str(id(loader)))] * len(loader)
    validation = Validation(evaluated, SimpleNamespace(reset=lambda: None))
    trainer = Trainer(config, Device("CPU"), folder / "run", trained, validation)
    with StopRequest() as stop:
        trainer.run(stop)
    trainer.close()
    return (folder / "run/train.log").read_text().splitlines()


class FindsNothing:
    """A detector without detections."""

    training = False

    def set_train(self, mode: bool) -> None:
        """It is always the same."""

    def predict(self, images: np.ndarray, image_info: np.ndarray) -> Detections:
        """One row for each image, which is not valid."""
        rows, numbers = (len(images), 1), np.float32
        masks = np.zeros((*rows, 28, 28), numbers)
        return Detections(
            np.zeros((*rows, 4), numbers),
            np.zeros(rows, numbers),
            np.zeros(rows, np.int32),
            np.zeros(rows, bool),
            masks,
        )


def evaluation_output(document: Document, folder: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What eval.py prints, with a progress bar."""
    monkeypatch.setattr(evaluate_module, "trained_detector", lambda config: (FindsNothing(), Device("CPU")))
    keys = {
        "val_dataset": str(shapes / "validation"), "num_classes": 5, "category_ids": [],
        "coco_classes": ["background", "circle", "square", "triangle", "star"],
        "checkpoint_path": str(folder / "x.ckpt"), "progress_bar": "on",
    }  # fmt: skip
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        evaluate(load_config(ROOT / document.configuration, keys))
    return re.split(r"[\r\n]+", printed.getvalue())


def compare(entry: Entry, lines: list[str]) -> None:
    """Each published line has one that is like it, unless it is a departure; then that has, if there is one."""
    for line in entry.text.splitlines():
        departure = entry.departure(line)
        like = [one for one in lines if pattern(line).fullmatch(one)]
        if departure is None:
            assert like or line == "...", f"nothing is like {line!r}"
            continue
        assert not like, f"{line!r} is no departure any more"
        assert departure.here is NONE or any(pattern(departure.here).fullmatch(one) for one in lines), departure.here


@pytest.mark.parametrize(("document", "entry"), [p for p in LOGS if p[1].made_by != "postprocess"], ids=name_of)
def test_lines_of_trainings_and_evaluations(document: Document, entry: Entry, written: Written) -> None:
    compare(entry, written(entry.made_by, document))


@pytest.mark.parametrize(("document", "entry"), [p for p in LOGS if p[1].made_by == "postprocess"], ids=name_of)
def test_lines_of_inference_on_ascend_310(
    document: Document,
    entry: Entry,
    case: dict[str, str],  # noqa: F811
    capsys: pytest.CaptureFixture,
) -> None:
    postprocess(**case)
    compare(entry, capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("line", "like", "unlike"),
    [
        ("loss is 3.16", "loss is 1e-05", "loss is nan"),
        (" (AP) @[ IoU=0.50 ] = 0.289", " (AP) @[ IoU=0.50 ] = -1.000", " (AP) @[ IoU=0.75 ] = 0.289"),
        ("[2023-09-20T19:33:54.705] INFO: x", "[2026-01-01T00:00:00.000] INFO: x", "INFO: x"),
        ("epoch: 1, lr: 0.1", "epoch: 22, lr: 0.000011", "epoch: 1, lr: 0.1, loss_cls: 0.2"),
    ],
)
def test_lines_are_alike_in_all_but_their_numbers(line: str, like: str, unlike: str) -> None:
    assert pattern(line).fullmatch(like) and not pattern(line).fullmatch(unlike)


@pytest.mark.parametrize(("document", "entry"), pairs("json"), ids=name_of)
def test_json(document: Document, entry: Entry, tmp_path: Path) -> None:
    """The published values go in and come out, character by character, except for the departures."""
    (path, image), *_ = json.loads(entry.text).items()
    (published,) = image["predictions"]
    x, y, width, height = published["bbox"].values()
    category = published["class"]
    config = load_config(ROOT / document.configuration)
    masks = [published["mask"]] if "mask" in published else None
    assert (masks is not None) == ("segm" in config.iou_types)
    arrays = [np.array([one]) for one in ([x, y, x + width, y + height], published["score"], category["label"])]
    for category_ids in ([], config.category_ids):
        written = image_entry(
            image["height"], image["width"], *arrays, config.class_names, category_ids, masks
        )  # fmt: skip
        save_predictions(tmp_path / "found.json", {path: written})
        expected = entry.text
        for departure in entry.departures:
            if category_ids or "category_id" not in departure.text:
                expected = expected.replace(departure.text, departure.here)
        assert (tmp_path / "found.json").read_text() == expected
