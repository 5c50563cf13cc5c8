"""Half precision as users ask for it: trained in it, predicted with it, and refused where it cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest

from src.config import load_config
from src.weights.checkpoint import load_checkpoint_weights
from tests.end_to_end.commands import logged, run


def scores_of(predictions: Path) -> np.ndarray:
    entries = json.loads(predictions.read_text()).values()
    return np.array([found["score"] for entry in entries for found in entry["predictions"]])


@pytest.mark.slow
def test_it_trains_predicts_and_is_refused(tiny: Path) -> None:
    work = tiny.parent
    half = ("--amp_level", "O2", "--loss_scale", "dynamic", "--epoch_size", 1, "--train_dataset_num", 8)
    out, _ = run("train.py", "--config_path", tiny, "--brief", "half", *half, cwd=work)
    assert "half precision: amp_level O2 in float16, loss_scale dynamic" in out
    assert "half precision saves no time on the CPU" in out
    losses = logged(work / "out/half")
    assert sorted(losses) == [1, 2, 3, 4] and np.isfinite(list(losses.values())).all()
    assert sorted(logged(work / "out/half", "scale")) == [1, 2, 3, 4]
    checkpoint = work / "out/half/checkpoints/last.ckpt"
    assert {array.dtype for array in load_checkpoint_weights(checkpoint).values()} == {np.dtype(np.float32)}

    saved = ("--config_path", work / "out/half/config.yaml", "--checkpoint_path", checkpoint)
    images = ("--pred_input", f"{load_config(tiny).val_dataset}/data", "--test_cfg.score_thr", 0.0)
    scores = {}
    for level in ("O0", "O2"):
        path = work / f"{level}.json"
        run("infer.py", *saved, *images, "--pred_output", path, "--amp_infer", level, cwd=work)
        scores[level] = scores_of(path)
    best = [np.sort(one)[-20:] for one in scores.values()]
    np.testing.assert_allclose(*best, rtol=0.03)
    assert not np.array_equal(*best)

    _, err = run("export.py", *saved, "--amp_infer", "O1", "--file_format", "MINDIR", cwd=work, expect=2)
    assert "amp_infer O1 is for checkpoints; exported files compute in float32: O0" in err
    _, err = run("infer.py", *saved, *images, "--pred_output", work / "no.json", "--amp_infer", "O1",
                 "--amp_dtype", "bfloat16", cwd=work, expect=2)  # fmt: skip
    assert "amp_dtype bfloat16 works on GPU and Ascend" in err
