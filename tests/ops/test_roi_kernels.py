"""RoIAlign's libraries: building, the CPU kernels under sanitizers, the CUDA kernels emulated and compiled."""

import ctypes
import multiprocessing
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from src.ops import kernel_library as custom_library
from src.ops.kernel_library import library
from tests.blocks.oracle import arrays
from tests.scripts.shell import run_script

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "src/ops/roi_align"
NATIVE = Path(__file__).parent / "native"
STRIDES = (4, 8, 16, 32)

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


def has_nvcc() -> bool:
    try:
        custom_library.find_compiler("GPU")
    except UserError:
        return False
    return True


def compile_with(*arguments: object) -> None:
    done = subprocess.run(["g++", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Entries:
    """The entries of a library, called as MindSpore calls them."""

    def __init__(self, path: Path) -> None:
        self.kernels = ctypes.CDLL(str(path))

    def call(self, name: str, *operands: np.ndarray) -> int:
        count = len(operands)
        shapes = [(ctypes.c_int64 * a.ndim)(*a.shape) for a in operands]
        return getattr(self.kernels, name)(
            count,
            (ctypes.c_void_p * count)(*[a.ctypes.data for a in operands]),
            (ctypes.c_int * count)(*[a.ndim for a in operands]),
            (ctypes.c_void_p * count)(*[ctypes.addressof(s) for s in shapes]),
            (ctypes.c_char_p * count)(*[a.dtype.name.encode() for a in operands]),
            None,
            None,
        )

    def pool(self, levels: list[np.ndarray], rois: np.ndarray, settings: np.ndarray, bins: int) -> np.ndarray:
        out = np.full((len(rois), levels[0].shape[1], bins, bins), np.nan, levels[0].dtype)
        assert self.call("RoiAlign", *levels, rois, settings, out) == 0
        return out

    def spread(
        self, levels: list[np.ndarray], rois: np.ndarray, settings: np.ndarray, dout: np.ndarray
    ) -> list[np.ndarray]:
        gradients = [np.full_like(level, np.nan) for level in levels]
        assert self.call("RoiAlignGrad", *levels, rois, settings, dout, *gradients) == 0
        return gradients


def relative_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual.astype(np.float32) - expected).max() / np.abs(expected).max())


# --- building -----------------------------------------------------------------------------------------------------


def build_and_report(folder: str) -> tuple[str, bool]:
    os.environ[custom_library.CACHE_VARIABLE] = folder
    path, built = custom_library._library.__wrapped__("CPU")
    return str(path), built


@needs_compiler
def test_first_use_builds_once_whoever_comes(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        answers = pool.map(build_and_report, [str(tmp_path / "new/folder")] * 3)
    assert len({path for path, _ in answers}) == 1
    assert [built for _, built in answers].count(True) == 1
    assert Path(answers[0][0]).parent == tmp_path / "new/folder"
    left = {path.suffix for path in (tmp_path / "new/folder").iterdir()}
    assert left == {".so", ".lock"}


@needs_compiler
def test_library_is_named_after_source_and_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "g++"
    other.write_text("#!/bin/sh\necho 'another compiler 1.0'\n")
    other.chmod(0o755)
    compiler = custom_library.find_compiler("CPU")
    assert custom_library._hash_of_compiler("CPU", compiler) != custom_library._hash_of_compiler("CPU", str(other))
    before = custom_library._hash_of_source("CPU")
    edited = tmp_path / "roi_align.cc"
    edited.write_text(custom_library.SOURCES["CPU"].read_text() + "\n")
    monkeypatch.setitem(custom_library.SOURCES, "CPU", edited)
    assert custom_library._hash_of_source("CPU") != before


def test_library_of_another_machine_does_without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv(custom_library.CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match="install the package g"):
        custom_library._library.__wrapped__("CPU")
    built = tmp_path / f"roi_align_cpu_{custom_library._hash_of_source('CPU')}_0123.so"
    built.touch()
    assert custom_library._library.__wrapped__("CPU") == (built, False)


def test_read_only_project_builds_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(custom_library.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert custom_library.cache_folders() == [ROOT / "build/custom", tmp_path / "mindspore_detection/custom"]
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv(custom_library.CACHE_VARIABLE, str(blocked))
    with pytest.raises(UserError, match=f"can be written; set {custom_library.CACHE_VARIABLE}"):
        custom_library._library.__wrapped__("CPU")


@needs_compiler
def test_script_builds_and_says_so(tmp_path: Path) -> None:
    variables = {"CUSTOM_LIBRARY_DIR": str(tmp_path / "cache"), "NVCC": "no-such-nvcc", "CXX": None}
    first = run_script("build_custom.sh", cwd=tmp_path, **variables)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"cpu: built: {tmp_path}/cache/roi_align_cpu_")
    assert "cuda: skipped: no nvcc" in first.stdout
    second = run_script("build_custom.sh", "cpu", cwd=tmp_path, **variables)
    assert second.stdout.startswith("cpu: already there: ")
    missing = run_script("build_custom.sh", "cuda", cwd=tmp_path, **variables)
    assert missing.returncode == 2
    assert "put the CUDA toolkit's bin on PATH" in missing.stderr


@pytest.mark.parametrize(
    ("argument", "compiler", "message"),
    [
        ("cpu", "no-such-compiler", "install the package g++"),
        ("cpu", "false", "could not compile"),
        ("metal", "g++", "there are cpu and cuda"),
    ],
)
def test_script_says_what_is_wrong(argument: str, compiler: str, message: str, tmp_path: Path) -> None:
    done = run_script("build_custom.sh", argument, cwd=tmp_path, CXX=compiler, CUSTOM_LIBRARY_DIR=str(tmp_path))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("*.so"))


# --- the kernels --------------------------------------------------------------------------------------------------


@needs_compiler
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    sources = [f"-I{KERNELS}", NATIVE / "roi_align_edges.cc", KERNELS / "cpu/roi_align.cc"]
    common = ["-std=c++17", "-fopenmp", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
    checks = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
    for name, options in {"checked": ["-O1", "-g1", *checks], "portable": ["-O1", "-DROI_ALIGN_PORTABLE"]}.items():
        compile_with(*common, *options, *sources, "-o", tmp_path / name)
        done = subprocess.run([tmp_path / name], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr[:2000]


def test_wrong_arguments_are_refused() -> None:
    entries = Entries(library("CPU"))
    features, rois = np.zeros((1, 2, 8, 8), np.float32), np.zeros((3, 5), np.float32)
    settings, out = np.float32([0, 1, 56, 4]), np.zeros((3, 2, 7, 7), np.float32)
    assert entries.call("RoiAlign", features, rois, settings, out) == 0
    assert entries.call("RoiAlign", features.astype(np.float16), rois, settings, out) == 1
    assert entries.call("RoiAlign", features, rois[:, :4].copy(), settings, out) == 1
    assert entries.call("RoiAlign", features, rois, settings[:3].copy(), out) == 1
    assert entries.call("RoiAlign", features, rois, settings, out[:, :1].copy()) == 1
    assert entries.call("RoiAlign", rois, settings, out) == 1
    assert entries.call("RoiAlignGrad", features, rois, settings, out, features[:, :1].copy()) == 1


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Entries:
    """The CUDA kernels with threads emulated on the CPU."""
    if shutil.which("g++") is None or "f16c" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs g++ and a processor with float16 conversions")
    path = tmp_path_factory.mktemp("emulated") / "roi_align.so"
    compile_with(
        *("-x", "c++", "-O2", "-std=c++20", "-mf16c", "-shared", "-fPIC", "-Wno-unknown-pragmas"),
        *(f"-I{NATIVE / 'cuda_emulation'}", KERNELS / "cuda/roi_align.cu", "-o", path),
    )
    return Entries(path)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 2e-3)])
def test_cuda_logic_matches_mmdetection(emulated: Entries, dtype: str, tolerance: float) -> None:
    expected = arrays("roi_align")
    levels = [expected[f"ext/feat_s{stride}"].astype(dtype) for stride in STRIDES]
    settings = np.float32([0, 1, 56, *STRIDES])
    out = emulated.pool(levels, expected["ext/rois"], settings, 7)
    assert relative_difference(out, expected["ext/out7"]) < tolerance
    found = emulated.spread(levels, expected["ext/rois"], settings, expected["ext/grad_out7"].astype(dtype))
    for stride, gradient in zip(STRIDES, found, strict=True):
        assert relative_difference(gradient, expected[f"ext/grad_feat_s{stride}"]) < tolerance


@pytest.mark.parametrize(
    ("channels", "bins", "ratio", "aligned", "width"),
    [(3, 7, 0, 1, 30), (17, 1, 0, 1, 33), (1, 28, 2, 0, 70), (2, 7, 0, 1, 1400), (2, 40, 0, 1, 300), (2, 3, 9, 1, 20)],
)
def test_cuda_logic_matches_the_cpu(
    emulated: Entries, channels: int, bins: int, ratio: int, aligned: int, width: int
) -> None:
    """Wide maps among them, whose weights do not fit into shared memory, and more RoIs than threads."""
    rng = np.random.default_rng(bins)
    count = 300 if width < 50 else 12
    corner = rng.uniform(-20, 80, (count, 2))
    sides = rng.uniform(0, 120, (count, 2)) * [width / 30, 1]
    rois = np.concatenate([rng.integers(-1, 3, (count, 1)), corner, corner + sides], 1).astype(np.float32)
    rois[:3, 3:] = [[5, 5], [-200, 40], [1e30, 1e30]]
    levels = [rng.standard_normal((2, channels, 20, width), np.float32)]
    settings = np.float32([ratio, aligned, 56, 4])
    cpu = Entries(library("CPU"))
    assert (
        relative_difference(emulated.pool(levels, rois, settings, bins), cpu.pool(levels, rois, settings, bins)) < 1e-5
    )
    dout = rng.standard_normal((count, channels, bins, bins), np.float32)
    found, expected = (entries.spread(levels, rois, settings, dout)[0] for entries in (emulated, cpu))
    assert relative_difference(found, expected) < 1e-5


@pytest.mark.skipif(not has_nvcc(), reason="no nvcc here")
def test_cuda_source_compiles(tmp_path: Path) -> None:
    nvcc = custom_library.find_compiler("GPU")
    newest = custom_library.cuda_architectures(nvcc)[-1]
    command = custom_library.command_line("GPU", nvcc, (newest,))
    done = subprocess.run([*command, "-o", tmp_path / "roi.so"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entries = ctypes.CDLL(str(tmp_path / "roi.so"))
    assert entries.RoiAlign and entries.RoiAlignGrad
    targets = [argument for argument in custom_library.command_line("GPU", nvcc) if argument.startswith("-gencode")]
    assert targets[-1].endswith(f"code=compute_{newest}")
