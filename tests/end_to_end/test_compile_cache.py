"""A second start takes the compiled graphs of the first, and computes the same to the last bit."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.commands import logged, run


def stored_parameters(checkpoint: Path) -> dict[str, bytes]:
    """{name: bytes} of weights, statistics of batch normalization and optimizer."""
    import mindspore as ms

    values = ms.load_checkpoint(str(checkpoint)).items()
    return {name: value.asnumpy().tobytes() for name, value in values if hasattr(value, "asnumpy")}


@pytest.mark.end_to_end
def test_second_starts_equal_first_ones(tiny: Path, shapes: Path, tmp_path: Path):
    graphs, outputs = tmp_path / "graphs", tmp_path / "out"
    settings = ("--config_path", tiny, "--compile_cache", graphs, "--train_dataset_num", 4)

    def known() -> int:
        return len(list(graphs.glob("*.graph")))

    def train(brief: str, *arguments: object) -> str:
        settings_of_run = (*settings, "--run_eval", 1, "--brief", brief, *arguments)
        return run("train.py", *settings_of_run, cwd=tmp_path)[0]

    train("first", "--epoch_size", 1)
    assert known() == 2  # the step and prediction
    train("second", "--epoch_size", 1)
    assert known() == 2
    assert logged(outputs / "second") == logged(outputs / "first")
    first, second = (stored_parameters(outputs / run / "checkpoints/last.ckpt") for run in ("first", "second"))
    assert sum(name.endswith("moving_mean") for name in first) > 5
    assert second == first

    train("second", "--epoch_size", 2, "--resume", 1)
    assert known() == 2

    pictures = (
        "--pred_input",
        shapes / "validation/data",
        "--pred_output",
        tmp_path / "p.json",
        "--test_cfg.score_thr",
        0,
    )
    trained = ("--config_path", tiny, "--checkpoint_path", outputs / "first/checkpoints/last.ckpt")
    found = []
    for cache in (graphs, graphs, 0):
        run("infer.py", *trained, *pictures, "--compile_cache", cache, cwd=tmp_path)
        found.append(json.loads((tmp_path / "p.json").read_text()))
    assert found[0] == found[1] == found[2]
    assert any(entry["predictions"] for entry in found[0].values())
