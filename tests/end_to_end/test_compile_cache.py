"""A second start takes the compiled graphs of the first, and computes the same to the last bit."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.commands import TINY_MASK_CONFIG, logged, run


def stored_parameters(checkpoint: Path) -> dict[str, bytes]:
    """{name: bytes} of weights, statistics of batch normalization and optimizer."""
    import mindspore as ms

    values = ms.load_checkpoint(str(checkpoint)).items()
    return {name: value.asnumpy().tobytes() for name, value in values if hasattr(value, "asnumpy")}


@pytest.mark.slow
@pytest.mark.end_to_end
def test_second_starts_equal_first_ones(shapes: Path, tmp_path: Path) -> None:
    """With custom operators, statistics of batch normalization, and two graphs of prediction."""
    graphs, outputs = tmp_path / "graphs", tmp_path / "out"
    data = f"train_dataset: {shapes}/train\nval_dataset: {shapes}/validation\ntrain_outputs: {outputs}\n"
    (tmp_path / "tiny.yaml").write_text(TINY_MASK_CONFIG + data + "epoch_size: 1\n")
    own_statistics = ("--backbone.norm_eval", 0)
    settings = ("--config_path", tmp_path / "tiny.yaml", "--compile_cache", graphs, *own_statistics)

    def known() -> set[str]:
        return {path.name for path in graphs.glob("*.graph")}

    run("train.py", *settings, "--run_eval", 1, "--brief", "first", cwd=tmp_path)
    compiled = known()
    assert len(compiled) >= 3  # the step, boxes, and masks for each number of rows
    run("train.py", *settings, "--run_eval", 1, "--brief", "second", cwd=tmp_path)
    assert logged(outputs / "second") == logged(outputs / "first")
    first, second = (stored_parameters(outputs / brief / "checkpoints/last.ckpt") for brief in ("first", "second"))
    assert sum(name.endswith("moving_mean") for name in first) > 5
    assert second == first
    run("train.py", *settings, "--brief", "second", "--epoch_size", 2, "--resume", 1, cwd=tmp_path)
    assert known() == compiled

    pictures = ("--pred_input", shapes / "validation/data", "--pred_output", tmp_path / "found.json")
    trained = (*settings, "--checkpoint_path", outputs / "first/checkpoints/last.ckpt")
    found = []
    for cache in (graphs, 0):
        run("infer.py", *trained, *pictures, "--compile_cache", cache, cwd=tmp_path)
        found.append(json.loads((tmp_path / "found.json").read_text()))
    assert found[0] == found[1]
    assert any(entry["predictions"] for entry in found[0].values())
    assert known() == compiled
