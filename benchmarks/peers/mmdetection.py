"""mmdetection's side of mmdetection_race.py: run by a Python that has mmdet 3.3.

    python mmdetection.py CONFIG WEIGHTS INPUTS THREADS

CONFIG is a file below mmdet's configs. A training step is what mmdetection's runner does with one batch: losses,
gradients, the clipping of the inputs' `grad_clip` (0: none), SGD.
"""

import copy
import sys
import warnings
from pathlib import Path

import mmdet
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch_worker import load_weights, make_optimizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sides import serve


def build(config: str) -> torch.nn.Module:
    """The detector of one of mmdet's own configurations, without downloading a backbone."""
    register_all_modules(init_default_scope=True)
    model = Config.fromfile(Path(mmdet.__file__).parent / ".mim/configs" / config).model
    model.backbone.init_cfg = None
    return MODELS.build(model)


def sample_of(data) -> DetDataSample:
    """The image's size and objects, as mmdet's data pipeline hands them over."""
    height, width = data["image"].shape[2:]
    shapes = {"img_shape": (height, width), "ori_shape": (height, width), "pad_shape": (height, width)}
    sample = DetDataSample(metainfo={**shapes, "batch_input_shape": (height, width), "scale_factor": (1.0, 1.0)})
    valid = data["valid"][0]
    boxes, labels = torch.from_numpy(data["boxes"][0][valid]), torch.from_numpy(data["labels"][0][valid]).long()
    masks = BitmapMasks(data["bitmaps"][0], height, width)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=masks)
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    return sample


def summed(value) -> torch.Tensor:
    """One loss, which may be a list of the levels' losses."""
    return sum(x.sum() for x in (value if isinstance(value, (list, tuple)) else [value]))


def main() -> None:
    config, weights, inputs, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    warnings.filterwarnings("ignore")
    torch.set_num_threads(threads)
    net = build(config)
    load_weights(net, weights)
    with np.load(inputs) as data:
        images, sample = torch.from_numpy(data["image"]), sample_of(data)
        rate, weight_decay, clip = float(data["lr"]), float(data["weight_decay"]), float(data["grad_clip"])
    optimizer = make_optimizer(net, rate, weight_decay)

    def predict(save_to: str | None) -> dict:
        net.eval()
        with torch.no_grad():
            found = net.predict(images, [copy.deepcopy(sample)], rescale=True)[0].pred_instances
        if save_to:
            np.savez(save_to, boxes=found.bboxes.numpy(), scores=found.scores.numpy(), labels=found.labels.numpy())
        return {"detections": len(found)}

    def train(_: str | None) -> dict:
        net.train()
        terms = {name: summed(v) for name, v in net.loss(images, [copy.deepcopy(sample)]).items() if "loss" in name}
        optimizer.zero_grad()
        sum(terms.values()).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        return {"losses": {name: float(value) for name, value in terms.items()}}

    serve({"predict": predict, "train": train})


if __name__ == "__main__":
    main()
