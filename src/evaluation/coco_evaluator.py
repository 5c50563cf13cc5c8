"""COCO detection metrics of a data set: detections collected batch by batch, then matched and averaged.

The 12 numbers equal pycocotools' to 1e-9 (tests/evaluation/test_coco_evaluator.py) at a fraction of its time
(benchmarks/coco_evaluation.py), since matching runs over the whole data set at once (see coco_matching).
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from pycocotools import mask as coco_mask

from src.common.errors import UserError
from src.data.detection_dataset import DetectionDataset
from src.evaluation.coco_annotations import (
    check_class_categories,
    check_segmentations,
    ground_truth,
    image_ids_of,
    image_sizes,
    read_annotations,
)
from src.evaluation.coco_matching import AREA_RANGES, Objects, match_objects
from src.evaluation.coco_precision import precision_and_recall
from src.evaluation.coco_results import result_columns
from src.evaluation.metrics import Metrics, coco_statistics, coco_table, mean_of_measured
from src.evaluation.voc_metrics import voc_precision
from src.schema.statistics import VOC_STATISTICS

if TYPE_CHECKING:
    from src.blocks.detections import Detections


class CocoEvaluator:
    """Collects detections and evaluates them against COCO annotations.

    Args:
        annotations: path of the annotation file, or its parsed content.
        class_names: foreground classes, label 0 first.
        category_ids: the annotations' category id of each class.
        iou_types: 'bbox', 'segm' or both; 'segm' needs masks with every detection.
        with_voc: report the mean AP of Pascal VOC too.
        origin: what messages call annotations that are given as content.
    """

    def __init__(
        self,
        annotations: str | Path | dict,
        class_names: list[str],
        category_ids: list[int],
        iou_types: Sequence[str] = ("bbox",),
        with_voc: bool = False,
        origin: str | Path = "annotations",
    ) -> None:
        self.origin = origin if isinstance(annotations, dict) else annotations
        self.annotations = read_annotations(annotations, origin)
        check_class_categories(self.annotations, class_names, category_ids)
        self.class_names, self.category_ids, self.iou_types = list(class_names), list(category_ids), tuple(iou_types)
        if "segm" in self.iou_types:
            check_segmentations(self.annotations, str(self.origin))
        self.with_voc = with_voc
        self.all_image_ids = image_ids_of(self.annotations)
        self._known: set[int] = set(self.all_image_ids.tolist())
        self._truth: dict[bool, Objects] = {}
        self.reset()

    @classmethod
    def for_dataset(cls, dataset: DetectionDataset, iou_types: Sequence[str] = ("bbox",)) -> "CocoEvaluator":
        """An empty evaluator against the ground truth of a data set.

        Args:
            dataset: an opened data set.
            iou_types: 'bbox', 'segm' or both.

        Raises:
            UserError: masks are to be evaluated and the annotations have none.
        """
        return cls(
            dataset.coco_annotations(),
            dataset.class_names,
            dataset.category_ids,
            iou_types,
            dataset.voc_metrics,
            origin=dataset.annotation_file,
        )

    def reset(self) -> None:
        """Forget all detections; the ground truth stays."""
        self._seen: set[int] = set()
        # one part per call: image id int64 [n], label int32 [n], score float64 [n], boxes xywh float64 [n, 4]
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._masks: list[dict] = []

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images added so far, with or without detections, sorted."""
        return sorted(self._seen)

    def add(
        self,
        image_ids: np.ndarray,
        detections: "Detections | tuple[np.ndarray, ...]",
        masks: list[list[dict | None]] | None = None,
    ) -> None:
        """Add a batch.

        An image that was added before is skipped (distributed samplers repeat images to fill the last batch).

        Args:
            image_ids: int [B]; -1 marks a filler, which is skipped.
            detections: `Detections` of numpy arrays: boxes float32 [B, M, 4] xyxy in original-image pixels, scores
                [B, M], labels [B, M] in 0..K-1, valid bool [B, M].
            masks: for each image one COCO run-length code a row (None where not valid).

        Raises:
            UserError: an image id is not in the annotations.
        """
        self._check_masks(masks)
        boxes, scores, labels, valid = (np.asarray(value) for value in detections[:4])
        for b, image_id in enumerate(np.asarray(image_ids).reshape(-1).tolist()):
            if image_id == -1 or image_id in self._seen:
                continue
            if image_id not in self._known:
                self._check_images(np.array([image_id]))
            self._seen.add(image_id)
            rows = np.flatnonzero(valid[b])
            xywh = boxes[b, rows].astype(np.float64)
            xywh[:, 2:] -= xywh[:, :2]
            ids = np.full(len(rows), image_id, np.int64)
            self._parts.append((ids, labels[b, rows].astype(np.int32), scores[b, rows].astype(np.float64), xywh))
            if masks is not None:
                self._masks.extend(cast(dict, masks[b][row]) for row in rows)  # only rows that are not valid have none

    def add_results(self, results: list[dict], origin: str | Path = "predictions") -> None:
        """Add detections in COCO's results format: dicts with image_id, category_id, bbox [x, y, w, h], score.

        Args:
            results: the dicts; with masks `segmentation`, a run-length code.
            origin: what messages call them.

        Raises:
            UserError: a result lacks one of these or has something else there, or its image or category is not in the
                annotations.
        """
        sizes = image_sizes(self.annotations) if "segm" in self.iou_types else None
        columns = result_columns(results, sizes, origin)
        label_of = {int(category): label for label, category in enumerate(self.category_ids)}
        unknown = sorted(set(columns.category_ids) - set(label_of))
        if unknown:
            raise UserError(
                f"{origin}: category ids {unknown[:10]} are not among the classes' {sorted(label_of)}; "
                "they were made with other classes or other annotations"
            )
        ids = np.array(columns.image_ids, np.int64)
        self._check_images(ids)
        if columns.masks is not None:
            self._masks.extend(columns.masks)
        labels = np.array([label_of[category] for category in columns.category_ids], np.int32)
        self._parts.append((ids, labels, columns.scores, columns.boxes))
        self._seen.update(columns.image_ids)

    def results(self) -> list[dict]:
        """All detections in COCO's results format, image by image in the order of the annotations."""
        ids, labels, scores, boxes = self._joined()
        categories = np.array(self.category_ids, np.int64)[labels].tolist()
        rows = zip(ids.tolist(), categories, boxes.tolist(), scores.tolist(), strict=True)
        results = [{"image_id": i, "category_id": c, "bbox": b, "score": s} for i, c, b, s in rows]
        for result, mask in zip(results, self._masks, strict=False):
            result["segmentation"] = _text_code(mask)
        place = {int(image["id"]): number for number, image in enumerate(self.annotations["images"])}
        return sorted(results, key=lambda result: place[result["image_id"]])

    def compute_metrics(self, image_ids: list[int] | None = None) -> Metrics:
        """Match what was added: the metrics over all images of the annotations, or only over `image_ids`."""
        evaluated = self.all_image_ids
        if image_ids is not None:
            wanted = np.unique(np.asarray(list(image_ids), np.int64))
            self._check_images(wanted)
            evaluated = wanted
        stats: dict[str, float] = {}
        tables: dict[str, str] = {}
        per_class: dict[str, tuple[dict[str, float], dict[str, float]]] = {}
        found = self.found(evaluated)
        for iou_type in self.iou_types:
            precision, recall = self._precision_and_recall(found, evaluated, iou_type)
            values = coco_statistics(precision, recall)
            stats.update({f"{iou_type}_{name}": value for name, value in values.items()})
            tables[iou_type] = coco_table(values)
            per_class[iou_type] = self._by_class(precision), self._by_class(precision[:1])
        voc = self._voc(found, evaluated) if self.with_voc else ({}, {})
        stats |= {
            name: mean_of_measured(np.array(list(ap.values())))
            for name, ap in zip(VOC_STATISTICS, voc, strict=True)
            if ap
        }
        per_class_ap, per_class_ap50 = per_class[self.iou_types[0]]
        return Metrics(
            stats,
            per_class_ap,
            per_class_ap50,
            tables,
            len(evaluated),
            len(found.image),
            *per_class.get("segm", ({}, {})),
            *voc,
        )

    def truth(self, evaluated: np.ndarray, with_masks: bool = False) -> Objects:
        """The objects in the images `evaluated` (ids, sorted), each image by its position there."""
        if with_masks not in self._truth:
            everything = ground_truth(self.annotations, self.all_image_ids, self.category_ids, with_masks, self.origin)
            self._truth[with_masks] = everything
        truth = self._truth[with_masks]
        if evaluated is self.all_image_ids:
            return truth
        ids = self.all_image_ids[truth.image]
        inside = np.flatnonzero(np.isin(ids, evaluated))
        return replace(truth.take(inside), image=np.searchsorted(evaluated, ids[inside]))

    def found(self, evaluated: np.ndarray) -> Objects:
        """The detections in the images `evaluated` (ids, sorted), each image by its position there."""
        ids, labels, scores, boxes = self._joined()
        position = np.searchsorted(evaluated, ids)
        inside = np.flatnonzero(np.isin(ids, evaluated))
        found = Objects(
            position,
            labels.astype(np.int64),
            boxes,
            boxes[:, 2] * boxes[:, 3],
            scores,
            np.zeros(len(ids), bool),
            self._masks if "segm" in self.iou_types else None,
        )
        return found.take(inside)

    def part(self) -> bytes:
        """What was added here, for another rank's `add_part`."""
        ids, labels, scores, boxes = self._joined()
        masks = json.dumps([_text_code(mask) for mask in self._masks])
        file = BytesIO()
        np.savez(
            file,
            seen=np.array(self.image_ids, np.int64),
            ids=ids,
            labels=labels,
            scores=scores,
            boxes=boxes,
            masks=np.frombuffer(masks.encode("ascii"), np.uint8),
        )
        return file.getvalue()

    def add_part(self, data: bytes) -> None:
        """Add the `part` of another evaluator; images that are here already are left out."""
        with np.load(BytesIO(data), allow_pickle=False) as part:
            seen, ids, labels, scores, boxes = (part[k] for k in ("seen", "ids", "labels", "scores", "boxes"))
            masks = json.loads(part["masks"].tobytes())
        new = ~np.isin(ids, np.array(self.image_ids, np.int64))
        self._parts.append((ids[new], labels[new], scores[new], boxes[new]))
        self._masks.extend(masks[i] for i in np.flatnonzero(new) if masks)
        self._seen.update(seen.tolist())

    def _precision_and_recall(
        self, found: Objects, evaluated: np.ndarray, iou_type: str
    ) -> tuple[np.ndarray, np.ndarray]:
        with_masks = iou_type == "segm"
        truth = self.truth(evaluated, with_masks)
        mask_iou = None
        if with_masks:
            mask_iou = coco_mask.iou
            areas = np.array(coco_mask.area(found.masks), np.float64) if found.masks else np.zeros(0)
            found = Objects(found.image, found.label, found.boxes, areas, found.score, found.crowd, found.masks)
        else:
            found = Objects(found.image, found.label, found.boxes, found.area, found.score, found.crowd)
        return precision_and_recall(match_objects(truth, found, len(evaluated), len(self.class_names), mask_iou))

    def _voc(self, found: Objects, evaluated: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
        """AP of each class at 11 and at all points."""
        result = voc_precision(self.truth(evaluated), found, len(evaluated), len(self.class_names))
        names = self.class_names
        at_points, area = result.ap_11_points.tolist(), result.ap_all_points.tolist()
        return dict(zip(names, at_points, strict=True)), dict(zip(names, area, strict=True))

    def _joined(self) -> tuple[np.ndarray, ...]:
        empty = (np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0), np.zeros((0, 4)))
        joined = tuple(np.concatenate(column) for column in zip(*self._parts, empty, strict=True))
        self._parts = [joined]
        return joined

    def _by_class(self, precision: np.ndarray) -> dict[str, float]:
        area = list(AREA_RANGES).index("all")
        return {name: mean_of_measured(precision[:, :, k, area]) for k, name in enumerate(self.class_names)}

    def _check_images(self, ids: np.ndarray) -> None:
        unknown = np.setdiff1d(ids, self.all_image_ids)
        if len(unknown):
            raise UserError(
                f"predictions: {len(unknown)} image ids are not in the annotations (such as {unknown[:3].tolist()}; "
                f"the annotations have {len(self.all_image_ids)}, such as {self.all_image_ids[:3].tolist()}): results "
                "do not correspond to the current COCO set; give the annotations that they were made for"
            )

    def _check_masks(self, masks: list | None) -> None:
        if "segm" in self.iou_types and (masks is None or any(mask is None for mask in masks)):
            raise UserError("predictions: no masks, but 'segm' is to be evaluated")


def _text_code(mask: dict) -> dict:
    """A run-length code as JSON can hold it."""
    counts = mask["counts"]
    return {"size": list(mask["size"]), "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}
