"""A GPU that computes nothing: MindSpore's GPU plugin on libraries that only pretend to be CUDA's.

Their functions succeed, their memory is the host's and copies are real, but kernels do nothing, so that results are
zeros or what was in memory before. Compilation for GPUs, the choice of a kernel for every operator, and all that goes
on around the kernels are MindSpore's own: what has no kernel, or not for these types and attributes, fails as on a GPU.

By hand, in bash: `export $(python -m tests.fake_gpu.libraries FOLDER)`, then any program with `--device_target GPU`.
"""
