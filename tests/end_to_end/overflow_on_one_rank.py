"""Started by msrun: three updates of a toy, of which the second overflows on rank 1 alone; writes OUT/RANK.npz."""

import sys
from pathlib import Path

import numpy as np
from mindspore import nn

from src.config import load_config
from src.engine.loss_scale import DynamicLossScale, ScaleRules
from src.engine.train_step import Updater
from src.model_utils.device_adapter import setup_device
from src.weights.checkpoint import TrainingState
from tests.conftest import ROOT
from tests.engine.test_averaged_weights import NormalizedDetector
from tests.engine.toy_detector import toy_batch

out = Path(sys.argv[1])
device = setup_device(load_config(ROOT / "configs/demo/nas_fpn.yaml", {"run_distribute": 1, "device_target": "CPU"}))
net = NormalizedDetector()
net.set_train(True)
scaling = DynamicLossScale(ScaleRules(start=1024.0))
optimizer = nn.Adam(net.trainable_params(), learning_rate=0.1)
update = Updater(net, optimizer, scaling, world=device.world, rank=device.rank)
values: dict[str, np.ndarray] = {}
for step in range(3):
    batch = toy_batch(4, 10 * step + device.rank)
    if step == 1 and device.rank == 1:
        batch["image"][-1] = np.inf
    update([batch], 0.1, step)
    state = TrainingState()
    scaling.note_in(state)
    values[f"{step} scale"] = np.array([state.loss_scale, state.skipped_steps])
    for name, parameter in (net.parameters_dict() | optimizer.parameters_dict()).items():
        values[f"{step} {name}"] = parameter.asnumpy().copy()
np.savez(out / f"{device.rank}.npz", **values)
