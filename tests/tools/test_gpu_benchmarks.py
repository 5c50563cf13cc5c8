"""benchmarks/gpu/run_all.sh, without a GPU: what it would run, and that no failure keeps the other steps back."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/gpu/run_all.sh"
DETECTORS = ("spinenet", "nas_fpn", "mask_rcnn", "cascade_mask_rcnn", "refinedet")


def run_all(folder: Path, *steps: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SCRIPT, folder, *steps], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


def test_it_would_run_every_step(tmp_path: Path) -> None:
    done = run_all(tmp_path / "found", DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    steps = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert steps[:3] == ["roi_align", "smoke", "datasink"] and steps[-2:] == ["evaluation", "training"]
    for detector in DETECTORS:
        assert {f"step_{detector}_O0", f"step_{detector}_O2"} <= set(steps)
        assert ({f"peer_{detector}_float32", f"peer_{detector}_autocast"} <= set(steps)) == (detector[:7] != "cascade")
    assert not (tmp_path / "found").exists()


def test_one_failure_does_not_keep_the_others_back(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(
        """#!/bin/sh
case "$*" in
    *smoke*) echo broken >&2; exit 1 ;;
    *summary*) exec python3 "$@" ;;
    *) echo words; echo "@{\\"step_s\\": 0.5}" ;;
esac
"""
    )
    program.chmod(0o755)
    folder = tmp_path / "found"
    done = run_all(folder, "smoke", "step_nas_fpn_O2", PYTHON=str(program), BCCD=str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = {step["step"]: step for step in json.loads((folder / "results.json").read_text())}
    assert list(results) == ["smoke", "step_nas_fpn_O2"]
    assert (results["smoke"]["end"], results["smoke"]["last"]) == ("failed (1)", "broken")
    assert results["step_nas_fpn_O2"]["end"] == "done" and results["step_nas_fpn_O2"]["found"] == {"step_s": 0.5}
    assert "step_s 0.5" in (folder / "table.txt").read_text()


def test_it_needs_a_folder(tmp_path: Path) -> None:
    done = subprocess.run(["bash", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: run_all.sh takes a folder for what it writes\n")
