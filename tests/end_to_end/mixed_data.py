"""A data set of landscape and portrait images with masks."""

import json
import shutil
from pathlib import Path

from src.data.synthetic import write_synthetic_dataset
from src.data.synthetic_scene import SceneOptions


def write_mixed_data(folder: Path, landscapes: int, portraits: int, split: str = "train") -> Path:
    """Synthetic images of 160 x 96 and of 96 x 160 pixels, alternating as far as they go; returns the data set."""
    parts = []
    for name, count, width, height in (("lying", landscapes, 160, 96), ("upright", portraits, 96, 160)):
        options = SceneOptions(width=width, height=height, max_object=48, crowd_share=0)
        write_synthetic_dataset(folder / name, count, 0, seed=len(parts) + 1, options=options)
        content = json.loads((folder / name / "train/labels.json").read_text())
        images = sorted(content["images"], key=lambda image: image["id"])
        parts.append([(name, number, image, content) for number, image in enumerate(images)])
    merged = sorted(parts[0] + parts[1], key=lambda part: (part[1], part[0]))
    result = {**merged[0][3], "images": [], "annotations": []}
    (folder / split / "data").mkdir(parents=True)
    for image_id, (name, _, image, content) in enumerate(merged, 1):
        own = [one for one in content["annotations"] if one["image_id"] == image["id"]]
        file_name = f"{image_id:03d}_{name}.jpg"
        shutil.copy(folder / name / "train/data" / Path(image["file_name"]).name, folder / split / "data" / file_name)
        result["images"].append({**image, "id": image_id, "file_name": file_name})
        for one in own:
            result["annotations"].append({**one, "id": len(result["annotations"]) + 1, "image_id": image_id})
    (folder / split / "labels.json").write_text(json.dumps(result))
    return folder / split
