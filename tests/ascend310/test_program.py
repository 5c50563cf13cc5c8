"""The Ascend 310 program from its command line, with a stand-in for the chip whose outputs show the network's input."""

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data.image import ImageError, load_image
from src.data.network_input import EvalTransform, Normalizer
from src.deploy.result_files import result_paths
from tests.ascend310.program import as_detections, built_program, configure, run_program, seen_input, write_network
from tests.data.coco_files import noise_image

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def write_images(folder: Path) -> list[Path]:
    """Images of many kinds and sizes."""
    folder.mkdir()
    image, large = noise_image(50, 80), noise_image(333, 517, 1)
    for suffix in (".jpg", ".JPEG", ".png", ".bmp", ".webp"):
        cv2.imencode(suffix.lower(), large)[1].tofile(folder / f"large{suffix[1:]}{suffix}")
    Image.fromarray(image).convert("L").save(folder / "grey.png")
    Image.fromarray(image).convert("L").save(folder / "grey_jpeg.jpg")
    Image.fromarray(np.dstack([image, image[..., 0]])).save(folder / "alpha.png")
    Image.fromarray(image).convert("P").save(folder / "palette.png")
    Image.fromarray(image).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(image).save(folder / "progressive.jpg", progressive=True, subsampling=2)
    cv2.imencode(".png", image.astype(np.uint16) * 257)[1].tofile(folder / "deep.png")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(image).save(folder / f"exif{orientation}.jpg", exif=exif)
    for height, width in ((1, 1), (1, 300), (300, 1), (64, 96), (63, 97), (128, 192)):
        cv2.imencode(".png", noise_image(height, width))[1].tofile(folder / f"size_{height}_{width}.png")
    (folder / "below").mkdir()
    cv2.imencode(".png", image)[1].tofile(folder / "below/ünder.v1.png")
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("input_hw", "keep_ratio", "to_rgb"), [((64, 96), True, True), ((64, 128), False, False), ((128, 96), True, False)]
)
def test_images_reach_the_network_as_in_python(tmp_path: Path, input_hw, keep_ratio, to_rgb) -> None:
    paths = write_images(tmp_path / "images")
    size_hw = (64, 96)
    network = write_network(tmp_path / "a.mindir", size_hw, input_hw, 6000, keep_ratio=keep_ratio, to_rgb=to_rgb)
    done = run_program("--mindir_path", network, "--dataset_path", "images", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{len(paths)} of {len(paths)} images predicted" in done.stdout
    prepare = EvalTransform(size_hw, input_hw, keep_ratio, Normalizer(MEAN, STD, to_rgb))
    for path in paths:
        expected = prepare(load_image(path))[0]
        found = seen_input(tmp_path, path.stem, input_hw)
        difference = np.abs(found - expected).max(axis=(1, 2)) * STD
        assert difference.max() < 1e-3, path  # of a pixel's 255; 1 is allowed
    assert len(list((tmp_path / "result_Files").iterdir())) == 2 * len(paths)
    times = (tmp_path / "time_Result/test_perform_static.txt").read_text()
    assert times.startswith("NN inference cost average time: ") and times.endswith(f" ms of infer_count {len(paths)}\n")


def test_image_info_and_detections(tmp_path: Path) -> None:
    """Five files of an image, in the types of the card; the stand-in shows both inputs, and labels and truth values."""
    paths, rows = write_images(tmp_path / "images"), 30
    network = write_network(tmp_path / "a.mindir", (64, 96), (64, 96))
    as_detections(network, rows)
    done = run_program("--mindir_path", network, "--dataset_path", "images", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    prepare = EvalTransform((64, 96), (64, 96), True, Normalizer(MEAN, STD))
    assert len(list((tmp_path / "result_Files").iterdir())) == 5 * len(paths)
    for path in paths:
        boxes, scores, labels, valid, masks = (
            np.fromfile(file, dtype)
            for file, dtype in zip(
                result_paths(tmp_path / "result_Files", path, 5), ("f4", "f4", "i4", "?", "f4"), strict=True
            )
        )
        assert [len(values) for values in (boxes, scores, labels, valid, masks)] == [120, 30, 30, 30, 30 * 28 * 28]
        np.testing.assert_array_equal(labels, np.arange(30) % 3)
        assert valid.all()
        image, info = prepare(load_image(path))
        seen = np.concatenate([boxes, scores, masks])
        np.testing.assert_array_equal(seen[image.size : image.size + 6], info, str(path))
        assert np.abs(seen[: image.size] - image.ravel()).max() < 1e-4


def test_detections_without_masks(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imencode(".png", noise_image(30, 40))[1].tofile(tmp_path / "images/a.png")
    network = write_network(tmp_path / "a.mindir")
    as_detections(network, 3, masks=False)
    done = run_program("--mindir_path", network, "--dataset_path", "images", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.stat().st_size for path in sorted((tmp_path / "result_Files").iterdir())] == [48, 12, 12, 3]


def test_broken_images_are_reported_and_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for suffix in (".jpg", ".png", ".bmp", ".webp"):
        encoded = cv2.imencode(suffix, noise_image(64, 80))[1].tobytes()
        for share in (0.0, 0.3, 0.9):
            (folder / f"cut{share}{suffix[1:]}{suffix}").write_bytes(encoded[: int(len(encoded) * share)])
        (folder / f"whole{suffix[1:]}{suffix}").write_bytes(encoded)
    (folder / "no_end.jpg").write_bytes((folder / "wholejpg.jpg").read_bytes()[:-2])
    (folder / "longer.jpg").write_bytes((folder / "wholejpg.jpg").read_bytes() + b"more")
    (folder / "text.jpg").write_text("not an image")
    broken = [path for path in sorted(folder.iterdir()) if is_broken(path)]
    assert len(broken) == 14
    done = run_program("--mindir_path", write_network(tmp_path / "a.mindir"), "--dataset_path", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert [line.split(": ")[1] for line in warnings] == [str(path) for path in broken]
    assert "5 of 19 images predicted" in done.stdout
    assert not (tmp_path / "result_Files/text_0.bin").exists()


def is_broken(path: Path) -> bool:
    try:
        load_image(path)
    except ImageError:
        return True
    return False


def test_annotations_decide_about_exif_rotation(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("turned.jpg", "stored.jpg", "wrong.jpg", "unknown.jpg"):
        Image.fromarray(noise_image(48, 90)).save(folder / name, exif=exif)
    sizes = {"turned.jpg": (90, 48), "stored.jpg": (48, 90), "wrong.jpg": (48, 91)}
    images = [
        {"id": i, "file_name": f"any/{n}", "height": h, "width": w} for i, (n, (h, w)) in enumerate(sizes.items())
    ]
    annotations = {"annotations": [{"id": 1, "images": "no list"}] * 3, "images": images, "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    network = write_network(tmp_path / "n.mindir")
    done = run_program("--mindir_path", network, "--dataset_path", folder, "--anno_path", "a.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    prepare = EvalTransform((64, 96), (64, 96), True, Normalizer(MEAN, STD))
    for name in ("turned.jpg", "stored.jpg", "unknown.jpg"):
        expected = prepare(load_image(folder / name, sizes.get(name)))[0]
        assert np.abs(seen_input(tmp_path, Path(name).stem, (64, 96)) - expected).max() < 1e-5
    with pytest.raises(ImageError) as ours:
        load_image(folder / "wrong.jpg", sizes["wrong.jpg"])
    assert done.stderr == f"warning: {ours.value}; skipped\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--mindir_path is missing"),
        (["--mindir_path", "n.mindir", "--dataset_path", "none"], "--dataset_path: no such folder: none"),
        (["--mindir_path", "n.mindir", "--dataset_path", "empty"], "empty: no image"),
        (["--mindir_path", "n.mindir", "--dataset_path", "texts"], "texts: none of its images could be read"),
        (["--mindir_path", "n.mindir", "--dataset_path", "twice"], "would have the same result files"),
        (["--mindir_path", "alone.mindir", "--dataset_path", "texts"], "alone.json: missing; export.py writes it"),
        (["--mindir_path", "cut.mindir", "--dataset_path", "texts"], "cut.json: not the description of an exported"),
        (["--mindir_path", "inside.mindir", "--dataset_path", "texts"], "outputs are not boxes [M, 4], scores, labels"),
        (["--mindir_path", "two.mindir", "--dataset_path", "texts"], "takes something else than an image"),
        (["--mindir_path", "four.mindir", "--dataset_path", "texts"], "outputs are not boxes [N, 4] and scores [N, 3]"),
        (["--mindir_path", "half.mindir", "--dataset_path", "texts"], "another type than float32, int32 or bool"),
        (["--mindir_path", "n.mindir", "--dataset_path", "texts", "--anno_path", "cut.json"], "not a COCO annotation"),
        (["--mindir_path", "n.mindir", "--dataset_path", "texts", "--device_id", "x"], "--device_id: must be a whole"),
    ],
)
def test_mistakes_get_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    for name in ("empty", "texts", "twice"):
        (tmp_path / name).mkdir()
    for name in ("texts/a.jpg", "twice/a.jpg", "twice/a.png", "empty/.hidden.jpg", "empty/a.txt"):
        (tmp_path / name).write_text("x")
    card = json.loads(write_network(tmp_path / "n.mindir").with_suffix(".json").read_text())
    variants = {
        "inside": {"form": "detections"},
        "two": {"inputs": card["inputs"] * 2},
        "half": {"outputs": [{**port, "dtype": "float16"} for port in card["outputs"]]},
        "four": {"outputs": card["outputs"] * 2},
    }
    for name, changes in variants.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(card | changes))
    (tmp_path / "cut.json").write_text(json.dumps(card)[:100])
    for name in ("alone", "cut", *variants):
        (tmp_path / f"{name}.mindir").write_bytes(b"a network")
    done = run_program(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]


def test_the_card_of_a_converted_network(tmp_path: Path) -> None:
    """Lite converts a.onnx to a.mindir; the card stays a.onnx.json, unless a.mindir has one of its own."""
    (tmp_path / "images").mkdir()
    cv2.imencode(".png", noise_image(30, 40))[1].tofile(tmp_path / "images/a.png")
    network = write_network(tmp_path / "a.mindir", anchors=3)
    network.with_suffix(".json").rename(tmp_path / "a.onnx.json")
    run_on = ("--mindir_path", network, "--dataset_path", "images", "--device", "CPU")
    done = run_program(*run_on, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result_Files/a_0.bin").stat().st_size == 3 * 4 * 4
    network.rename(tmp_path / "a.ms")
    for own in (False, True):  # of Lite's form for small devices, its own is a.ms.json
        words = ("--mindir_path", "a.ms", "--dataset_path", "images", "--device", "CPU")
        assert run_program(*words, cwd=tmp_path).returncode == 0
        if not own:
            (tmp_path / "a.onnx.json").rename(tmp_path / "a.ms.json")
    (tmp_path / "a.ms").rename(network)
    network.with_suffix(".json").write_text("no card")
    assert "a.json: not the description of an exported" in run_program(*run_on, cwd=tmp_path).stderr


def test_help(tmp_path: Path) -> None:
    done = run_program("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert all(f"--{name}" in done.stdout for name in ("mindir_path", "dataset_path", "device", "device_id", "threads"))


@pytest.mark.parametrize("name", ["unit_tests", "lite_predictor_tests"])
def test_unit_tests_of_the_parts(name: str) -> None:
    done = subprocess.run([built_program() / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_for_the_chip_wants_mindspore_lite(tmp_path: Path) -> None:
    built_program()  # skips where the other libraries are missing
    done = configure(tmp_path / "build", LITE_HOME="/nowhere", PATH="/usr/bin:/bin")
    assert done.returncode != 0
    assert "LITE_HOME: no MindSpore Lite in '/nowhere'" in " ".join(done.stderr.split())
