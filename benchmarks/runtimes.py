r"""NAS-FPN-RetinaNet at 640 pixels in ONNX Runtime and OpenVINO, in each precision, on the CPU.

    python benchmarks/runtimes.py --folder outputs/runtimes
    python benchmarks/runtimes.py --folder outputs/runtimes --torch_python /path/to/a/python/with/torch
    python benchmarks/runtimes.py --folder outputs/mine --files float32.onnx int8.onnx

The folder gets an untrained network's weights, whose batch normalizations have settled, the file that export.py makes
of them, and the same in 8-bit integers, calibrated on `--calibration_images`; what lies there is used again. Times do
not depend on weights. Each runtime has a process of its own, they take turns on the same cores, and a ratio is the
median over the rounds. OpenVINO is there where it is installed, bfloat16 where the processor has it. The peer in
PyTorch (peers/torch_nas_fpn.py) has the same weights. `--files` are another network's, which export.py wrote in both
precisions; the input is then noise. `--profile 1` says which operators ONNX Runtime spends its time in, from its own
profiler. `scores differ`: largest difference of a score from ONNX Runtime's in float32.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from retinanet_race import ROOT, make_inputs, overrides_of
from sides import Side, export_onnx, race, serve

CONFIG = ROOT / "configs/nas_fpn/default_config.yaml"
SIZE = 640
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
# Label: runtime, precision it computes in, precision of the file.
SIDES = {
    "ONNX Runtime, float32": ("onnxruntime", "float32", "float32"),
    "ONNX Runtime, int8": ("onnxruntime", "float32", "int8"),
    "OpenVINO, float32": ("openvino", "float32", "float32"),
    "OpenVINO, bfloat16": ("openvino", "bfloat16", "float32"),
    "OpenVINO, int8": ("openvino", "float32", "int8"),
}


class RuntimeSide:
    """A file in a runtime, in this process."""

    def __init__(self, folder: Path, runtime: str, precision: str, stored: str) -> None:
        from src.deploy.exported_model import open_model

        self.file = folder / f"network_{stored}.onnx"
        self.model = open_model(self.file, runtime, precision=precision)
        with np.load(folder / "inputs.npz") as inputs:
            self.image = inputs["image"][:1]

    def network(self, save_to: str | None) -> dict:
        """Boxes and scores of one image."""
        outputs = self.model.run(self.image)
        if save_to:
            np.save(save_to, outputs[1])
        return {}

    def profile(self, _: str | None) -> dict:
        """Seconds by operator type of one call, by ONNX Runtime's profiler."""
        import onnxruntime

        with tempfile.TemporaryDirectory() as name:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = len(os.sched_getaffinity(0))
            options.enable_profiling = True
            options.profile_file_prefix = f"{name}/profile"
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(str(self.file), options, providers=["CPUExecutionProvider"])
            for _ in range(3):
                session.run(None, {session.get_inputs()[0].name: self.image})
            events = json.loads(Path(session.end_profiling()).read_text())
        seconds: collections.Counter[str] = collections.Counter()
        for event in events:
            if event["name"].endswith("_kernel_time"):
                seconds[event["args"]["op_name"]] += event["dur"] / 3e6
        return {"operators": seconds.most_common(10)}


# --- the driver ---------------------------------------------------------------------------------------------------


def link_files(folder: Path, files: list[str]) -> None:
    """Let the folder have another network's files, and noise of their input's shape."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    for file, precision in zip(files, ("float32", "int8"), strict=True):
        link = folder / f"network_{precision}.onnx"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(file).resolve())
    sides = onnx.load(files[0], load_external_data=False).graph.input[0].type.tensor_type.shape.dim
    image = np.random.default_rng(1).standard_normal([side.dim_value or 1 for side in sides], np.float32)
    np.savez(folder / "inputs.npz", image=image)


def prepare(folder: Path, images: str, logits: tuple[float, float]) -> None:
    """Write what is missing in the folder: inputs, weights, and the network's files."""
    from src.config import load_config

    folder.mkdir(parents=True, exist_ok=True)
    config = load_config(CONFIG, overrides_of(SIZE))
    if not (folder / "weights.npz").exists():
        np.savez(folder / "inputs.npz", **make_inputs(SIZE, 1, config.weight_decay))
        script = (sys.executable, ROOT / "benchmarks/nas_fpn_speed.py", "--serve", folder, "--size", SIZE)
        command = (*script, "--checkpoint", folder / "network.ckpt", "--logits", *logits)
        subprocess.run([str(part) for part in command], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    whole, small = folder / "network_float32.onnx", folder / "network_int8.onnx"
    if not whole.exists():
        export_onnx(CONFIG, folder / "network.ckpt").rename(whole)
    if not small.exists():
        from src.deploy.onnx_precision import convert_precision

        convert_precision(whole, small, "int8", _calibration(images, config))


def _calibration(images: str, config) -> Iterator[list[np.ndarray]]:
    from src.data.image import load_image
    from src.data.image_files import find_images
    from src.data.network_input import EvalTransform

    transform = EvalTransform.from_config(config)
    for path in find_images(images, recursive=True, key="calibration_images")[:4]:
        yield [transform(load_image(path))[0][None]]


def possible_sides() -> dict[str, tuple[str, str, str]]:
    """Those of `SIDES` that work here."""
    able: list[str] = []
    if find_spec("openvino"):
        import openvino

        able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    lacking = {"openvino": not able, "bfloat16": "BF16" not in able}
    return {label: side for label, side in SIDES.items() if not any(lacking.get(part, False) for part in side)}


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Let all take turns, and print medians and ratios."""
    chosen = possible_sides()
    for label in sorted(SIDES.keys() - chosen.keys()):
        print(f"{label}: not possible here")
    labels = list(chosen)
    sides = [Side(sys.executable, sys.argv[0], "--folder", folder, "--serve", *side) for side in chosen.values()]
    if arguments.torch_python and not arguments.files:
        worker = (arguments.torch_python, ROOT / "benchmarks/peers/torch_worker.py", "torch_nas_fpn")
        sides.append(Side(*worker, folder / "weights.npz", folder / "inputs.npz", arguments.threads))
        labels.append("PyTorch, float32")
    for side in sides:
        side.answer()
    scores = []
    for number, side in enumerate(sides):  # the first calls prepare
        side.ask(f"network {folder}/scores_{number}.npy")
        scores.append(np.load(folder / f"scores_{number}.npy") if number < len(chosen) else None)
    seconds, _ = race("network", sides, arguments.rounds)
    print(f"\n{'':<24}{'ms':>9}{'of its float32':>16}{'of ONNX Runtime':>17}{'scores differ':>15}")
    for number, label in enumerate(labels):
        own = labels.index(f"{label.split(',')[0]}, float32")
        ratios = [np.median(seconds[:, number] / seconds[:, base]) for base in (own, 0)]
        differ = "" if scores[number] is None else f"{np.abs(scores[number] - scores[0]).max():.1e}"
        print(
            f"{label:<24}{1000 * np.median(seconds[:, number]):>9.1f}{ratios[0]:>16.2f}{ratios[1]:>17.2f}{differ:>15}"
        )
    if arguments.profile:
        for label, side in zip(labels[:2], sides[:2], strict=True):
            operators = side.ask("profile")["operators"]
            print(f"\n{label}: " + ", ".join(f"{name} {1000 * spent:.0f} ms" for name, spent in operators))
    for side in sides:
        side.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="where the network's files are, or will be")
    parser.add_argument("--files", nargs=2, metavar=("FLOAT32", "INT8"), help="another network's files")
    parser.add_argument("--calibration_images", default=str(ROOT / "datasets/blood_cells/train"), help="for int8")
    parser.add_argument("--torch_python", help="a Python that has torch and numpy, for the peer")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (7)")
    parser.add_argument("--threads", type=int, default=2, help="cores that all may use (2)")
    parser.add_argument("--profile", type=int, default=1, choices=(0, 1), help="1: also say where the time goes (1)")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = Path(arguments.folder).resolve()
    if arguments.serve:
        side = RuntimeSide(folder, *arguments.serve)
        serve({"network": side.network, "profile": side.profile})
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # the processes below inherit it
    if arguments.files:
        link_files(folder, arguments.files)
    else:
        prepare(folder, arguments.calibration_images, (-2.5, 1.3))
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    print(f"instructions: {', '.join(flag for flag in FLAGS if flag in flags)}")
    measure(folder, arguments)


if __name__ == "__main__":
    main()
