"""The numbers of an evaluation and their tables."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from src.common.atomic import atomic_path
from src.evaluation.coco_matching import AREA_RANGES
from src.schema.statistics import CLASS_STATISTICS, COCO_STATISTICS, VOC_STATISTICS

_LIMITS = (1, 10, 100)


@dataclass
class Metrics:
    """Result of an evaluation.

    Attributes:
        stats: the 12 COCO numbers of each kind of overlap, 'bbox_mAP' first; -1 where nothing could be measured. For
            Pascal VOC data also VOC07_mAP (11 points) and VOC_mAP (all points) of boxes at IoU 0.50.
        per_class: AP (0.50:0.95) of each class by name, of the first kind of overlap; -1 for a class without objects.
        per_class_50: the same at IoU 0.50.
        tables: the lines that pycocotools prints, of each kind.
        num_images, num_detections: what was evaluated.
        per_class_segm, per_class_segm_50: as `per_class`, for masks; empty without them.
        per_class_voc07, per_class_voc: what VOC07_mAP and VOC_mAP are the means of; empty for other data.
    """

    stats: dict[str, float]
    per_class: dict[str, float]
    per_class_50: dict[str, float]
    tables: dict[str, str]
    num_images: int
    num_detections: int
    per_class_segm: dict[str, float] = field(default_factory=dict)
    per_class_segm_50: dict[str, float] = field(default_factory=dict)
    per_class_voc07: dict[str, float] = field(default_factory=dict)
    per_class_voc: dict[str, float] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """A number by its name: one of `stats`, or `NAME/CLASS` for that of a class, such as bbox_mAP/cat."""
        name, of_class, class_name = name.partition("/")
        return self._of_classes()[name][class_name] if of_class else self.stats[name]

    def _of_classes(self) -> dict[str, dict[str, float]]:
        """{name in `stats`: its value of each class} for those that are means over classes."""
        boxes, masks, voc = (
            (self.per_class, self.per_class_50),
            (self.per_class_segm, self.per_class_segm_50),
            (self.per_class_voc07, self.per_class_voc),
        )
        names = [f"{kind}_{name}" for kind in ("bbox", "segm") for name in CLASS_STATISTICS]
        return dict(zip((*names, *VOC_STATISTICS), (*boxes, *masks, *voc), strict=True))

    @property
    def table(self) -> str:
        """All tables, under a line with their kind where there is more than one."""
        if len(self.tables) == 1:
            return next(iter(self.tables.values()))
        return "\n".join(f"Evaluate annotation type *{kind}*\n{table}" for kind, table in self.tables.items())

    @property
    def voc_table(self) -> str:
        """The two means of Pascal VOC, one per line; empty for other data."""
        if not self.per_class_voc:
            return ""
        ways = {"VOC07_mAP": "11 points", "VOC_mAP": "all points"}
        return "\n".join(
            f" {name:<9} @[ IoU=0.50 | {way:>10} ] = {self.stats[name]:0.3f}" for name, way in ways.items()
        )

    def per_class_table(self) -> str:
        """One line per class: name, AP, AP50, then those of masks where boxes were evaluated too, then Pascal VOC's."""
        columns = {"AP": self.per_class, "AP50": self.per_class_50}
        if len(self.tables) > 1:
            columns |= {"mask AP": self.per_class_segm, "mask AP50": self.per_class_segm_50}
        if self.per_class_voc:
            columns |= {"VOC07 AP": self.per_class_voc07, "VOC AP": self.per_class_voc}
        width = max([len(name) for name in self.per_class] + [len("class")])
        lines = [f" {'class':<{width}}" + "".join(f" {title:>{max(len(title), 6)}}" for title in columns)]
        for name in self.per_class:
            values = (f" {column[name]:{max(len(title), 6)}.3f}" for title, column in columns.items())
            lines.append(f" {name:<{width}}" + "".join(values))
        return "\n".join(lines)

    def to_json(self, path: str | Path) -> None:
        """Write everything but the table to `path`, atomically."""
        content = {
            "stats": self.stats,
            "per_class_AP": self.per_class,
            "per_class_AP50": self.per_class_50,
            "images": self.num_images,
            "detections": self.num_detections,
        }
        if self.per_class_segm:
            content["per_class_segm_AP"] = self.per_class_segm
            content["per_class_segm_AP50"] = self.per_class_segm_50
        if self.per_class_voc:
            content["per_class_VOC07_AP"] = self.per_class_voc07
            content["per_class_VOC_AP"] = self.per_class_voc
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def mean_of_measured(values: np.ndarray) -> float:
    """Mean of the measured values, -1 without any."""
    measured = values[values > -1]
    return float(measured.mean()) if len(measured) else -1.0


def coco_statistics(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    """The 12 numbers by name, from what `precision_and_recall` returns; -1 where nothing could be measured."""
    values = {}
    for name, kind, threshold, area, limit in COCO_STATISTICS:
        thresholds = slice(None) if threshold is None else slice(threshold, threshold + 1)
        a = list(AREA_RANGES).index(area)
        source = precision[thresholds, :, :, a] if kind == "AP" else recall[thresholds, :, a, _LIMITS.index(limit)]
        values[name] = mean_of_measured(source)
    return values


def coco_table(values: dict[str, float]) -> str:
    """The 12 lines that pycocotools prints."""
    lines = []
    for name, kind, threshold, area, limit in COCO_STATISTICS:
        title = "Average Precision" if kind == "AP" else "Average Recall"
        iou = "0.50:0.95" if threshold is None else f"{0.5 + 0.05 * threshold:.2f}"
        lines.append(
            f" {title:<18} ({kind}) @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>3} ] = {values[name]:0.3f}"
        )
    return "\n".join(lines)
