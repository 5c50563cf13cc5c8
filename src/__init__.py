"""Detection model zoo. Importing it prepares the process for MindSpore, so import it before mindspore."""

import os
from pathlib import Path

# On AVX-512 machines oneDNN gives MindSpore's plain-layout convolutions a reference kernel, some 60 times slower than
# its AVX2 kernels. The variable is read once, when mindspore loads oneDNN. Other runtimes have a oneDNN of their own.
ONEDNN_LIMIT = "AVX2"
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", ONEDNN_LIMIT)
# Threads of OpenMP that wait by spinning, as is their habit, take the cores from MindSpore's own threads; those that
# sleep at once must be woken for every small operator. A few microseconds of spinning, then sleep, is the fastest.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ.setdefault("GOMP_SPINCOUNT", "300")
# Warnings of MindSpore's C++ side (GLOG levels: 0 debug, 1 info, 2 warning, 3 error) are not for a zoo's users.
os.environ.setdefault("GLOG_v", "3")
# On GPUs MindSpore 2.10 computes on several streams, and lets one write to memory that another still reads: within some
# twenty steps Mask R-CNN takes rows by indices that are none. MindSpore reads the variable, and shows it, when loaded.
if any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg")):  # dxg: under Windows
    os.environ.setdefault("MS_DEV_RUNTIME_CONF", "multi_stream:false")
