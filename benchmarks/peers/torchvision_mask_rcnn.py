"""The torchvision peer of mask_rcnn_speed.py: maskrcnn_resnet50_fpn, in the parts that the other side has too.

The first process makes the weights (weights.npz under torchvision's names), later ones load them. They are random, but
so that counts are those of a trained network: batch normalizations hold the statistics of the images, the last layers
of the region proposal network are fitted to the objects (so that proposals overlap with them), and the box head's
scores differ enough between regions to give some tens of detections.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import maskrcnn_inference, paste_masks_in_image, project_masks_on_boxes
from torchvision.ops import FrozenBatchNorm2d

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sides import serve, time_parts

NUM_CLASSES = 81
CLASS_SPREAD = 2.0  # deviation of a class's logit over the regions
DETECTIONS = 50
NUM_ANCHORS = 3
OBJECTNESS = 4.0  # logit of an object


def fit(features: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Least squares [C+1,D] from features [P,C] and a constant to wanted [P,D], rows weighted by [P]."""
    inputs = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    weighted = inputs * weight[:, None]
    gram = weighted.T @ inputs
    gram += 1e-4 * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    return torch.linalg.solve(gram, weighted.T @ wanted.double()).float()


def fit_rpn(net: MaskRCNN, images: ImageList, features: dict, targets: list[dict]) -> None:
    """Set the region proposal network's last layers to what its anchors should say of `images`."""
    head, levels = net.rpn.head, list(features.values())
    anchors = net.rpn.anchor_generator(images, levels)
    labels, boxes = net.rpn.assign_targets_to_anchors(anchors, targets)
    deltas = torch.cat(net.rpn.box_coder.encode(boxes, anchors)).reshape(-1, NUM_ANCHORS, 4)
    labels = torch.cat(labels).reshape(-1, NUM_ANCHORS)
    hidden = [head.conv(level).flatten(2).transpose(1, 2) for level in levels]
    inputs = torch.cat(hidden, 1).flatten(0, 1)  # by image, level, position, as the anchors
    for a in range(NUM_ANCHORS):
        positive, negative = (labels[:, a] == value for value in (1, 0))
        if not positive.any():
            continue
        weight = positive / positive.sum() + negative / negative.sum()
        solution = OBJECTNESS * fit(inputs, (2.0 * positive - 1)[:, None], weight)
        head.cls_logits.weight[a, :, 0, 0], head.cls_logits.bias[a] = solution[:-1, 0], solution[-1, 0]
        solution = fit(inputs, deltas[:, a], positive.float())
        rows = slice(4 * a, 4 * a + 4)
        head.bbox_pred.weight[rows, :, 0, 0], head.bbox_pred.bias[rows] = solution[:-1].T, solution[-1]


def make_weights(images: torch.Tensor, targets: list[dict]) -> dict[str, np.ndarray]:
    """Torchvision's initial weights made to find something in `images`."""
    torch.manual_seed(1)
    # The names before torchvision 0.13 belong to published weights; these are today's.
    net = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=NUM_CLASSES)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        net.backbone.train()(images)
        net.eval()
        features = net.backbone(images)
        sizes = [tuple(images.shape[2:])] * len(images)
        fit_rpn(net, ImageList(images, sizes), features, targets)
        proposals, _ = net.rpn(ImageList(images, sizes), features)
        predictor = net.roi_heads.box_predictor
        pooled = net.roi_heads.box_head(net.roi_heads.box_roi_pool(features, proposals, sizes))
        logits, deltas = predictor(pooled)
        factor = CLASS_SPREAD / logits.std(0)
        predictor.cls_score.weight *= factor[:, None]
        predictor.cls_score.bias.copy_(predictor.cls_score.bias * factor - logits.mean(0) * factor)
        logits = predictor.cls_score(pooled)
        low, high = 0.0, 30.0  # of the background's logit: the higher, the fewer detections
        for _ in range(20):
            shift = torch.zeros(NUM_CLASSES)
            shift[0] = (low + high) / 2
            found = net.roi_heads.postprocess_detections(logits + shift, deltas, proposals, sizes)
            many = len(found[0][0]) > DETECTIONS
            low, high = (float(shift[0]), high) if many else (low, float(shift[0]))
        predictor.cls_score.bias += shift
    return {k: v.numpy() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


class Peer:
    """torchvision's detector as it is trained from published weights: frozen batch normalizations and first stage."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "inputs.npz") as data:
            self.images = torch.from_numpy(data["image"])
            valid = data["valid"]
            self.targets = [
                {
                    "boxes": torch.from_numpy(data["boxes"][i][valid[i]]),
                    "labels": torch.from_numpy(data["labels"][i][valid[i]]).long() + 1,
                    "masks": torch.from_numpy(data["bitmaps"][i]),
                }
                for i in range(len(valid))
            ]
        if not (folder / "weights.npz").exists():
            np.savez(folder / "weights.npz", **make_weights(self.images, self.targets))
        backbone = resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3
        )
        self.net = MaskRCNN(backbone, NUM_CLASSES)
        with np.load(folder / "weights.npz") as arrays:
            self.net.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
        self.sizes = [tuple(self.images.shape[2:])] * len(self.images)
        self.image_list = ImageList(self.images, self.sizes)
        self.trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(self.trained, lr=0.0001, momentum=0.9, weight_decay=1e-4)
        self.detections: list[dict] = []

    @torch.inference_mode()
    def network(self, _: str | None) -> dict:
        """All layers and the proposals; the mask head on the detections of `predict`."""
        net, heads = self.net.eval(), self.net.roi_heads
        features = net.backbone(self.images)
        proposals, _ = net.rpn(self.image_list, features)
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, self.sizes)))
        F.softmax(logits, -1)
        heads.box_coder.decode(deltas, proposals)
        boxes = [found["boxes"] for found in self.detections]
        masks = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, boxes, self.sizes)))
        maskrcnn_inference(masks, [found["labels"] for found in self.detections])
        return {}

    @torch.inference_mode()
    def predict(self, save_to: str | None) -> dict:
        """Detections with masks of 28 x 28."""
        net = self.net.eval()
        features = net.backbone(self.images)
        proposals, _ = net.rpn(self.image_list, features)
        self.detections, _ = net.roi_heads(features, proposals, self.sizes)
        if save_to:
            np.savez(save_to, **{name: value.numpy() for name, value in self.detections[0].items()})
        return {"detections": [len(found["boxes"]) for found in self.detections]}

    @torch.inference_mode()
    def paste(self, _: str | None) -> dict:
        """Detections with masks as large as the image."""
        answer = self.predict(None)
        for found, size in zip(self.detections, self.sizes, strict=True):
            paste_masks_in_image(found["masks"], found["boxes"], size)
        return answer

    def train(self, _: str | None) -> dict:
        """One update."""
        net = self.net.train()
        features = net.backbone(self.images)
        proposals, rpn_losses = net.rpn(self.image_list, features, self.targets)
        _, losses = net.roi_heads(features, proposals, self.sizes, self.targets)
        terms = {**rpn_losses, **losses}
        self.optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        self.optimizer.step()
        return {"losses": {name: float(value) for name, value in terms.items()}}

    @torch.no_grad()
    def counts(self, _: str | None) -> dict:
        """Proposals of prediction and of training, and the regions that train."""
        features = self.net.backbone(self.images)
        tested, _ = self.net.eval().rpn(self.image_list, features)
        proposals, _ = self.net.train().rpn(self.image_list, features, self.targets)
        regions, _, labels, _ = self.net.roi_heads.select_training_samples(list(proposals), self.targets)
        return {
            "test proposals": sum(map(len, tested)),
            "training proposals": sum(map(len, proposals)),
            "regions": sum(map(len, regions)),
            "positives": sum(int((x > 0).sum()) for x in labels),
        }

    def parts(self, rows: str | None) -> dict:
        """Seconds of each part, forward and with gradient; the mask head on `rows` regions."""
        net, heads = self.net.train(), self.net.roi_heads
        body, fpn, head = net.backbone.body, net.backbone.fpn, net.rpn.head
        with torch.no_grad():
            maps = body(self.images)
            features = fpn(maps)
            logits, deltas = head(list(features.values()))
            proposals, _ = net.rpn(self.image_list, features, self.targets)
            regions, _, _, _ = heads.select_training_samples(list(proposals), self.targets)
            tested, _ = net.eval().rpn(self.image_list, features)
            net.train()
            few = [torch.cat(regions)[: int(rows)]]  # of one image, whichever they come from
            pooled = heads.box_roi_pool(features, regions, self.sizes)
            mask_pooled = heads.mask_roi_pool(features, few, self.sizes)
            anchors = net.rpn.anchor_generator(self.image_list, list(features.values()))
            matched = torch.zeros(int(rows), dtype=torch.int64)
            classes = torch.zeros(int(rows), dtype=torch.int64)

        def rpn_targets() -> None:
            labels, boxes = net.rpn.assign_targets_to_anchors(anchors, self.targets)
            net.rpn.box_coder.encode(boxes, anchors)
            net.rpn.fg_bg_sampler(labels)

        names = list(maps)
        levels = list(features)
        forward: dict[str, tuple[Callable, tuple]] = {
            "backbone": (lambda x: body(x), (self.images,)),
            "FPN": (lambda *x: fpn(dict(zip(names, x, strict=True))), tuple(maps.values())),
            "RPN head": (lambda *x: [level for levels in head(list(x)) for level in levels], tuple(features.values())),
            "RoIAlign 7x7": (
                lambda *x: heads.box_roi_pool(dict(zip(levels, x, strict=True)), regions, self.sizes),
                tuple(features.values()),
            ),
            "RoIAlign 7x7, prediction": (
                lambda *x: heads.box_roi_pool(dict(zip(levels, x, strict=True)), tested, self.sizes),
                tuple(features.values()),
            ),
            "box head": (lambda x: heads.box_predictor(heads.box_head(x)), (pooled,)),
            "RoIAlign 14x14": (
                lambda *x: heads.mask_roi_pool(dict(zip(levels, x, strict=True)), few, self.sizes),
                tuple(features.values()),
            ),
            "mask head": (
                lambda x: heads.mask_predictor(heads.mask_head(x))[torch.arange(len(x)), classes],
                (mask_pooled,),
            ),
        }

        def no_gradient(name: str) -> None:
            work, inputs = forward[name]
            with torch.no_grad():
                work(*inputs)

        def gradient(name: str) -> None:
            work, inputs = forward[name]
            inputs = tuple(x.detach().requires_grad_(name != "backbone") for x in inputs)
            outputs = work(*inputs)
            outputs = list(outputs.values()) if isinstance(outputs, dict) else outputs
            outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
            outputs = [x for x in outputs if x.requires_grad]  # the first stage is frozen
            torch.autograd.backward(outputs, [x.detach() for x in outputs])
            self.optimizer.zero_grad(set_to_none=True)

        def without(work: Callable) -> Callable:
            return torch.no_grad()(work)

        tasks = {name: (lambda n=name: no_gradient(n), lambda n=name: gradient(n)) for name in forward}
        tasks["proposals"] = (without(lambda: self._propose(logits, deltas, anchors, True)), None)
        tasks["proposals, prediction"] = (without(lambda: self._propose(logits, deltas, anchors, False)), None)
        tasks["RPN targets"] = (without(rpn_targets), None)
        tasks["RoI targets"] = (
            without(lambda: heads.select_training_samples(list(proposals), self.targets)),
            None,
        )
        tasks["mask targets"] = (
            without(lambda: project_masks_on_boxes(self.targets[0]["masks"], few[0], matched, 28)),
            None,
        )
        return {"parts": time_parts(tasks)}

    def _propose(self, logits: list, deltas: list, anchors: list, training: bool) -> None:
        rpn = self.net.rpn.train(training)
        per_level = [x[0].numel() for x in logits]
        flat = [
            torch.cat([x.unflatten(1, (3, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in levels], 1)
            for levels in (logits, deltas)
        ]
        boxes = rpn.box_coder.decode(flat[1].flatten(0, 1), anchors).view(len(self.images), -1, 4)
        rpn.filter_proposals(boxes, flat[0].flatten(0, 1), self.sizes, per_level)
        self.net.train()


def main() -> None:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    peer = Peer(folder)
    serve({name: getattr(peer, name) for name in ("network", "predict", "paste", "train", "counts", "parts")})


if __name__ == "__main__":
    main()
