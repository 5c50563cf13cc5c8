r"""MindSpore Lite beside ONNX Runtime on the CPU: seconds of a prediction, and how far apart their outputs are.

    export LITE_HOME=$PWD/lite/mindspore_lite
    python benchmarks/lite_speed.py --folder outputs/lite
    python benchmarks/lite_speed.py --folder outputs/lite --threads 1 --configs configs/demo/refinedet.yaml

Each configuration's network has random weights; those of mask models spread its scores, so that all rows are in use.
export.py makes two files of them, in the form that it takes unless told otherwise: an ONNX file, and one for Lite
(`--file_format LITE`); what lies in the folder is used again. Both find objects in the same drawn scene of the
configuration's size. Each runtime has a process of its own, held to as many cores as it has threads; they take turns.
Seconds are medians of the rounds after a first call, which prepares (Lite's takes seconds), `of ONNX Runtime` is the
median ratio to it, GB the most memory of the process. Lite's network runs in a further process, as for eval.py: what
its pipe takes is counted. Outputs are compared with those of ONNX Runtime row by row: boxes in pixels (of a box larger
than the input, as if it were as large), and how many rows have another label or are not valid in both.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from mmdetection_race import load_seeded_weights
from sides import Side, export_file, race, serve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CONFIGS = [
    ROOT / f"configs/{name}.yaml"
    for name in (
        "instaboost/mask_rcnn_r50_fpn",
        "nas_fpn/retinanet_r50_nasfpn_640",
        "spinenet_retinanet/retinanet_spinenet_49_640",
        "refinedet/refinedet_vgg16_320",
    )
]


def serve_file(config_path: str, file: str, threads: str) -> None:
    """Answer `predict` and `memory` with an exported file, on the first `threads` cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    from src.commands.export import check_inputs
    from src.config import load_config
    from src.deploy.exported_model import open_exported

    exported = open_exported(file)
    scene = check_inputs(load_config(config_path, {"device_target": "CPU"}))
    inputs = [scene[port.name] for port in exported.card.inputs]

    def predict(save_to: str | None) -> dict:
        outputs = exported.run(*inputs)
        if save_to:
            names = [port.name for port in exported.card.outputs]
            np.savez(save_to, side=max(inputs[0].shape[2:]), **dict(zip(names, outputs, strict=True)))
        return {}

    def memory(_: str | None) -> dict:
        process = getattr(exported.model, "process", None)  # Lite's own
        status = Path(f"/proc/{process.pid if process else 'self'}/status").read_text()
        return {"gigabytes": int(status.split("VmHWM:")[1].split()[0]) / 1e6}

    serve({"predict": predict, "memory": memory})


def prepare(config_path: Path, folder: Path) -> tuple[Path, Path]:
    """The ONNX file and the one for Lite, made where they are missing."""
    import src  # noqa: F401  before mindspore
    import mindspore as ms  # isort: skip

    from src.config import load_config
    from src.models import build_detector
    from src.weights.checkpoint import save_weights

    weights = folder / f"{config_path.stem}.ckpt"
    files = weights.with_suffix(".onnx"), weights.with_name(f"{config_path.stem}_lite.mindir")
    if not weights.exists():
        config = load_config(config_path, {"device_target": "CPU"})
        ms.set_seed(1)
        net = build_detector(config)
        if config.mask_options is not None:
            load_seeded_weights(net, config)
        save_weights(weights, {p.name: p.asnumpy() for p in net.get_parameters()}, config)
    for file, file_format in zip(files, ("ONNX", "LITE"), strict=True):
        if not file.exists():
            export_file(config_path, weights, file, file_format)
    return files


def differences(found: Path, expected: Path) -> str:
    """The largest differences of two sides' outputs."""
    with np.load(found) as ours, np.load(expected) as theirs:
        used, rows = slice(None), ""
        if "valid" in theirs.files:
            used = ours["valid"] & theirs["valid"] & (ours["labels"] == theirs["labels"])
            other = (ours["valid"] | theirs["valid"]) & ~used
            rows = f"; {used.sum()} detections, {other.sum()} other rows"
        apart = {n: np.abs(ours[n][used] - theirs[n][used]) for n in ("boxes", "scores", "masks") if n in theirs.files}
        longest = np.ptp(theirs["boxes"][used].reshape(-1, 2, 2), axis=1).max(axis=1)
        larger = np.maximum(longest / theirs["side"], 1)
        apart["boxes"] = apart["boxes"].reshape(-1, 4) / larger[:, None]
    return ", ".join(f"{name} {values.max(initial=0):.1e}" for name, values in apart.items()) + rows


def measure(config_path: Path, folder: Path, threads: int, rounds: int) -> None:
    """Let both runtimes take turns, and print a line for each."""
    files = prepare(config_path, folder)
    sides = [Side(sys.executable, __file__, "--serve", config_path, file, threads) for file in files]
    outputs = [folder / f"outputs_{number}.npz" for number in range(len(sides))]
    for side in sides:
        side.answer()
    first = [side.ask(f"predict {path}")["seconds"] for side, path in zip(sides, outputs, strict=True)]
    seconds, _ = race("predict", sides, rounds)
    for number, runtime in enumerate(("ONNX Runtime", "MindSpore Lite")):
        ratio, median = np.median(seconds[:, number] / seconds[:, 0]), np.median(seconds[:, number])
        apart = differences(outputs[number], outputs[0]) if number else ""
        memory = sides[number].ask("memory")["gigabytes"]
        line = f"{config_path.stem:<28}{runtime:<16}{threads:>8}{median:>9.3f}{first[number]:>9.2f}{ratio:>17.2f}"
        print(f"{line}{memory:>6.1f}  {apart}".rstrip(), flush=True)
    for side in sides:
        side.close()
    for path in outputs:
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are, or will be")
    parser.add_argument("--configs", nargs="+", type=Path, default=CONFIGS, help="whose networks (four published)")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="numbers of threads (1 2)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (5)")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_file(*arguments.serve)
        return
    if not arguments.folder:
        parser.error("--folder is needed")
    from src.common.program import run_command
    from src.deploy.lite import require_lite

    def run() -> None:
        require_lite()
        arguments.folder.mkdir(parents=True, exist_ok=True)
        print(f"{'':<44}{'threads':>8}{'s':>9}{'first s':>9}{'of ONNX Runtime':>17}{'GB':>6}  differs")
        for config in arguments.configs:
            for threads in arguments.threads:
                measure(config.resolve(), arguments.folder.resolve(), threads, arguments.rounds)

    run_command(run)


if __name__ == "__main__":
    main()
