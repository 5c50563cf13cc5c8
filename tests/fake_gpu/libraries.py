"""Builds the libraries with the C compiler, from the names that MindSpore's plugin looks for."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
RELEASE = "11.6"  # of CUDA, whose plugin is loaded
# Where a function belongs, by the first of these that its name starts with.
LIBRARIES = {
    "cublas": "libcublas.so.11",
    "cudnn": "libcudnn.so.8",
    "cusolver": "libcusolver.so.11",
    "cusparse": "libcusparse.so.11",
    "cufft": "libcufft.so.10",
    "nvrtc": "libnvrtc.so.11.2",
    "curand": "libcurand.so.10",
    "cuda": "libcudart.so.11.0",
    "cu": "libcuda.so.1",
}
SPECIAL = {"libcudart.so.11.0": HERE / "cudart.c", "libcudnn.so.8": HERE / "cudnn.c"}
NVCC = f"""#!/bin/sh
echo "Cuda compilation tools, release {RELEASE}, V{RELEASE}.124"
"""
# What compiles this project's own kernels.
COMPILER = """#!/bin/sh
case "$*" in
    *--list-gpu-arch*) echo compute_90; exit ;;
    *--version*) echo pretended; exit ;;
esac
for output; do :; done
echo 'int RoiAlign(void) { return 0; } int RoiAlignGrad(void) { return 0; }' | cc -shared -fPIC -x c -o "$output" -
"""


def build(folder: Path) -> dict[str, str]:
    """Write the libraries below `folder`; the environment in which MindSpore finds a GPU."""
    import mindspore

    plugins = Path(mindspore.__file__).parent / "lib/plugin"
    plugin, kernels = plugins / f"libmindspore_gpu.so.{RELEASE}", plugins / "gpu/libcuda_ops.so.11"
    libraries = folder / "lib64"
    libraries.mkdir(parents=True)
    wanted, versions = _undefined(plugin)
    by_library = defaultdict(set)
    for name in wanted | _undefined(kernels)[0]:
        prefix = next((one for one in LIBRARIES if re.match(rf"(__)?{one}" + "[A-Z]" * (one == "cu"), name)), None)
        if prefix:
            by_library[LIBRARIES[prefix]].add(name)
    for library in LIBRARIES.values():
        _compile(libraries / library, by_library[library], versions)
    (libraries / "libcudart.so.11.6.55").symlink_to("libcudart.so.11.0")
    launchers = folder / "kernels.so"
    mangled = wanted & _defined(kernels)
    _compile_text(launchers, "".join(f'int f{i}(void) __asm__("{n}"); int f{i}(void) {{ return 0; }}\n'
                                     for i, n in enumerate(sorted(mangled))))  # fmt: skip
    (folder / "bin").mkdir()
    for name, text in (("bin/nvcc", NVCC), ("compiler", COMPILER)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {
        **os.environ,
        "CUDA_HOME": str(folder),
        "LD_LIBRARY_PATH": str(libraries),
        "LD_PRELOAD": str(launchers),  # before the plugin's own library, which holds CUDA's run time within
        "NVCC": str(folder / "compiler"),
        "CUSTOM_LIBRARY_DIR": str(folder / "custom"),
    }


def _symbols(library: Path) -> Iterable[tuple[str, bool]]:
    """Name (with its version) of each dynamic symbol, and whether it is undefined."""
    listed = subprocess.run(["readelf", "-W", "--dyn-syms", library], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        columns = line.split()
        if len(columns) >= 8 and columns[0].rstrip(":").isdigit():
            yield columns[7], columns[6] == "UND"


def _undefined(library: Path) -> tuple[set[str], dict[str, str]]:
    """Names, and the versions of those that have one."""
    named = [name.split("@") for name, undefined in _symbols(library) if undefined]
    return {parts[0] for parts in named}, {parts[0]: parts[-1] for parts in named if len(parts) > 1}


def _defined(library: Path) -> set[str]:
    """The project's functions in C++, and none of the standard library's."""
    names = {name.split("@")[0] for name, undefined in _symbols(library) if not undefined}
    return {name for name in names if re.match(r"_Z(?!N?K?St)|Cal|[A-Z]", name)}


def _compile(path: Path, names: set[str], versions: dict[str, str]) -> None:
    """A library of these functions: its own where they are written out, else ones that succeed or make something."""
    special = SPECIAL[path.name].read_text(encoding="utf-8") if path.name in SPECIAL else ""
    written = set(re.findall(r"^(?:\w[\w *]*?[ *]|[A-Z]+\()(\w+)[()]", special, re.MULTILINE))
    lines = ["static char made[4096];"]
    for name in sorted(names - written):
        if "Create" in name:
            lines.append(f"int {name}(void **to) {{ *to = made; return 0; }}")
        elif name.startswith("cuda") and name.endswith(("ErrorString", "ErrorName")):
            lines.append(f'const char *{name}(int code) {{ return "pretended"; }}')
        else:
            lines.append(f"int {name}(void) {{ return 0; }}")
    version = next((versions[name] for name in sorted(names) if name in versions), "")
    _compile_text(path, "\n".join(lines) + "\n" + special, version)


def _compile_text(path: Path, text: str, version: str = "") -> None:
    script = path.with_suffix(".map")
    script.write_text(f"{version} {{ global: *; }};\n")
    command = ["cc", "-w", "-shared", "-fPIC", "-x", "c", "-", "-o", path, f"-Wl,-soname,{path.name}"]
    subprocess.run([*command, f"-Wl,--version-script,{script}"], input=text, text=True, check=True)
    script.unlink()


if __name__ == "__main__":
    for name, value in build(Path(sys.argv[1]).resolve()).items():
        if os.environ.get(name) != value:
            print(f"{name}={value}")
