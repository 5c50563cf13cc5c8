"""Configurations that would cost hours, all memory, or a wrong number are refused at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.config import load_config
from tests.conftest import ROOT

RETINANET = ROOT / "configs/spinenet_retinanet/default_config.yaml"
NAS_FPN = ROOT / "configs/nas_fpn/default_config.yaml"
MASKS = ROOT / "configs/instaboost/default_config.yaml"
REFINEDET = ROOT / "configs/refinedet/refinedet_vgg16_320.yaml"


@pytest.mark.parametrize(
    ("base", "key", "value"),
    [
        (MASKS, "neck.fpn.num_outs", "100000"),
        (RETINANET, "bbox_head.stacked_convs", "1000000"),
        (NAS_FPN, "neck.nas_fpn.stack_times", "100000"),
        (RETINANET, "img_mean", "[.nan, 0, 0]"),
        (RETINANET, "img_std", "[.nan, 1, 1]"),
        (RETINANET, "img_std", "[0, 1, 1]"),
        (RETINANET, "img_std", "[1.0e-300, 1, 1]"),
        (RETINANET, "lr", ".inf"),
        (RETINANET, "lr", "1.0e+300"),
        (RETINANET, "weight_decay", ".inf"),
        (RETINANET, "loss_scale", ".inf"),
        (RETINANET, "loss_scale", "dynamical"),
        (RETINANET, "loss_scale", "[1]"),
        (RETINANET, "scale_start", "0.5"),
        (RETINANET, "grad_clip", ".nan"),
        (RETINANET, "bbox_head.bbox_coder.target_stds", "[0, 1, 1, 1]"),
        (REFINEDET, "bbox_head.bbox_coder.target_stds", "[1, 1, 1, 0]"),
        (MASKS, "rpn.bbox_coder.target_means", "[.inf, 0, 0, 0]"),
        (MASKS, "rpn.anchor_generator.scales", "[.inf]"),
        (RETINANET, "bbox_head.anchor_generator.octave_base_scale", "1.0e+9"),
        (RETINANET, "num_gts", "1000000000"),
        (RETINANET, "divider", "100000000"),
        (RETINANET, "ratio_range", "[1, 1.0e+9]"),
        (RETINANET, "img_width", "1000000000"),
        (RETINANET, "batch_size", "1000000000000"),
        (RETINANET, "category_ids", "[99999999999999999999]"),
        (RETINANET, "brief", "../elsewhere"),
        (RETINANET, "brief", "x" * 256),
        (RETINANET, "seed", "9" * 5000),
        (RETINANET, "lr_steps", "[" * 5000),
        (RETINANET, ".".join("a" * 5000), "1"),
    ],
)
def test_the_key_is_named(base: Path, key: str, value: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(base, {key: value})
    message = str(caught.value)
    assert key[:80] in message and "\n" not in message and len(message) < 400


BOMBS = {
    "aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "itself": "a: &a [*a]\n",
    "deep flow": "a: " + "[" * 100_000,
    "deep block": "\n".join(f"{' ' * i}a:" for i in range(1000)),
    "long": "coco_classes:\n" + "- a\n" * 120_000,
    "digits": "seed: " + "9" * 5000,
    "hexadecimal": "seed: 0x" + "f" * 50_000,
    "sexagesimal": "seed: 1" + ":59" * 50_000,
    "date": "brief: 2024-02-30",
    "NUL": 'train_outputs: "a\\0b"',
    "key": f"? {'k' * 100_000}\n: 1",
    "classes": "num_classes: 100000\ncoco_classes: [background" + ", a" * 40_000 + "]",
    "detector": "detector: [a]\nbackbone: {type: resnet}",
    "section": "backbone: 5",
}
LOAD_ALL = """
import sys, time
from pathlib import Path
from src.common.errors import UserError
from src.config import load_config

for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        load_config(path)
        print("accepted", path)
    except UserError as error:
        message = str(error)
        assert message.startswith(str(path)) and len(message) < 500 and "\\n" not in message, message
    if (seconds := time.process_time() - start) > 1:
        print("slow", path, seconds)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


def test_bombs_are_refused_in_little_time_and_memory(tmp_path: Path) -> None:
    """One process for all, so that its peak of memory is that of the worst."""
    for name, text in BOMBS.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    done = subprocess.run([sys.executable, "-c", LOAD_ALL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *complaints, megabytes = done.stdout.split("\n")[:-1]
    assert complaints == []
    assert int(megabytes) < 200
