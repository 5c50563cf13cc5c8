"""MindRecord files: their layout, what is wrong with them, and how they take their place."""

import json
import os
import re
import shutil
import zlib
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.builders import build_eval_loader, build_train_loader
from src.data.mindrecord.create import create_mindrecord
from src.data.mindrecord.manifest import LeftOut, StoredFile, read_manifest, write_manifest
from src.data.mindrecord.publishing import PartialFolder
from src.data.mindrecord.rows import Row
from src.data.mindrecord.shard_file import read_shard
from src.data.mindrecord.writing import LARGEST_PAGE, ShardWriter, page_size_for
from src.data.open_dataset import check_or_pack_dataset, open_dataset
from tests.data.coco_files import NAMES, write_dataset
from tests.data.test_loader import make_config


@pytest.fixture
def config(tmp_path):
    """Configuration of a small data set that is stored as training data in two files, in tmp_path / packed."""
    values = make_config(write_dataset(tmp_path / "data"), mindrecord_dir=str(tmp_path / "packed"))
    create_mindrecord(values, shards=2)
    return values


@pytest.fixture
def packed(config, tmp_path):
    return tmp_path / "packed"


def test_layout_over_many_pages_and_mindspores_own_reader(tmp_path):
    from mindspore.mindrecord import FileReader

    rng = np.random.default_rng(0)
    images = [rng.bytes(int(rng.integers(1, 60_000))) for _ in range(150)]
    rows = []
    writer = ShardWriter(tmp_path, "x", 3, page_size_for(60_000, 1))
    for n, image in enumerate(images):
        text = json.dumps({"text": "é'\"\\" * int(rng.integers(0, 300)), "value": 0.1 * n})
        rows.append(Row(n, 2**40 + n, 480, 640, zlib.crc32(image), f"bild_ä {n}.jpg", f"/a b/bild_ä {n}.jpg", text))
        writer.add(rows[-1], image)
    writer.finish()
    shards = [tmp_path / f"x{k}" for k in range(3)]
    assert all(path.stat().st_size > 10 * 2**16 for path in shards)
    placed = sorted((one for path in shards for one in read_shard(path)), key=lambda one: one.row.position)
    assert [one.row for one in placed] == rows
    for one, image in zip(placed, images, strict=True):
        with Path(one.file).open("rb") as file:
            file.seek(one.offset)
            assert file.read(one.size) == image
    reader = FileReader([str(path) for path in shards])
    count = 0
    for fields in reader.get_next():
        n = fields.pop("position")
        assert fields.pop("image") == images[n]
        assert Row(n, **fields) == rows[n]
        count += 1
    reader.close()
    assert count == 150


def test_the_page_fits_the_largest_image():
    assert page_size_for(10, 10) == 2**16
    assert page_size_for(10, 2**40) == 2**25
    assert page_size_for(2**25, 10) == 2**26
    assert page_size_for(2**40, 10) == LARGEST_PAGE


def test_what_the_manifest_says(config, packed):
    manifest = read_manifest(packed / "train.mindrecord.json")
    assert (manifest.dataset, manifest.split, manifest.images, manifest.objects) == ("coco", "train", 6, 6)
    assert manifest.source == str(packed.parent / "data" / "labels.json")
    assert manifest.category_ids == {"cat": 7, "dog": 90, "owl": 12}
    assert manifest.objects_per_class == {"cat": 4, "dog": 2, "owl": 0}
    assert manifest.with_masks and not manifest.voc_metrics and manifest.left_out == []
    assert manifest.shards == ["train.mindrecord0", "train.mindrecord1"]
    assert {file.name: file.size for file in manifest.files} == {
        path.name: path.stat().st_size for path in packed.iterdir() if path.suffix != ".json"
    }
    assert all(path.stat().st_mode & 0o044 for path in packed.iterdir())


def alter(path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_files_that_are_missing_cut_off_or_altered(config, packed):
    shard = packed / "train.mindrecord1"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    with pytest.raises(UserError, match=rf"train\.mindrecord1: is {len(whole) - 10} bytes, .* says {len(whole)}"):
        check_or_pack_dataset(config, training=True)
    shard.unlink()
    with pytest.raises(UserError, match=r"train\.mindrecord1 is missing, but train\.mindrecord\.json lists it"):
        check_or_pack_dataset(config, training=True)
    shard.write_bytes(whole)
    index = packed / "train.mindrecord0.db"
    alter(index, 5000)
    with pytest.raises(UserError, match=r"train\.mindrecord0\.db: was altered"):
        check_or_pack_dataset(config, training=True)


def test_an_altered_image_is_found_when_it_is_read(config, packed):
    place = next(iter(read_shard(packed / "train.mindrecord0")))
    alter(packed / "train.mindrecord0", place.offset + place.size // 2)
    check_or_pack_dataset(config, training=True)
    loader = build_train_loader(config)
    with pytest.raises(
        UserError, match=r"\.png: its bytes in .*train\.mindrecord0 were altered or cut off.*skip_broken"
    ):
        list(loader.epoch(0))
    with pytest.raises(UserError, match=r"train\.mindrecord0: was altered, its checksum is not that of"):
        build_train_loader(config.model_copy(update={"mindrecord_verify": True}))


def test_altered_annotations_are_found_at_the_start(config, packed):
    path = packed / "train.mindrecord0"
    alter(path, path.read_bytes().index(b'"bbox":[5') + len('"bbox":['))
    with pytest.raises(UserError, match="the annotations in its MindRecord files were altered"):
        build_train_loader(config)
    alter(path, path.read_bytes().rindex(b"position") - 1)  # a length in MessagePack
    with pytest.raises(UserError, match=r"train\.mindrecord0: not a MindRecord file as create_data\.py writes it"):
        build_train_loader(config)


def test_other_classes(config):
    other = config.model_copy(update={"coco_classes": ["background", "cat", "dog", "eagle"]})
    with pytest.raises(UserError, match=r"only in coco_classes \['eagle'\], only in the data set \['owl'\]"):
        check_or_pack_dataset(other, training=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a manifest of create_data.py, version 2"),
        ("{}", "dataset: Field required"),
        ('{"version": 1}', r"version: Input should be 2"),
    ],
)
def test_no_manifest_of_this_version(config, packed, text, message):
    (packed / "train.mindrecord.json").write_text(text)
    with pytest.raises(UserError, match=message):
        check_or_pack_dataset(config, training=True)


def exchange_classes(content):
    ids = content["category_ids"]
    ids["cat"], ids["dog"] = ids["dog"], ids["cat"]


ALTERED = {
    "classes": exchange_classes,
    "fewer images": lambda content: content.update(images=4),
    "many images": lambda content: content.update(images=10**12),
    "objects": lambda content: content["objects_per_class"].update(cat=5),
    "source": lambda content: content.update(source="elsewhere"),
    "no checksum": lambda content: content.pop("sha256"),
}


@pytest.mark.parametrize("alteration", ALTERED.values(), ids=list(ALTERED))
@pytest.mark.parametrize("verify", [False, True])
def test_an_altered_manifest_is_found_at_the_start(config, packed, alteration, verify):
    path = packed / "train.mindrecord.json"
    content = json.loads(path.read_text())
    alteration(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"train\.mindrecord\.json: was altered, its checksum is not that"):
        check_or_pack_dataset(config.model_copy(update={"mindrecord_verify": verify}), training=True)
    with pytest.raises(UserError, match=r"train\.mindrecord\.json: was altered"):
        open_dataset(config, training=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 4}, "says 4 images, its MindRecord files have 6"),
        ({"images": 10**12}, "says 1000000000000 images, its MindRecord files have 6"),
        ({"objects": 7}, "objects by category id"),
        ({"objects_per_class": {"cat": 2, "dog": 4, "owl": 0}}, "says {7: 2, 90: 4} objects by category id, not"),
        ({"category_ids": {"cat": 90, "dog": 7, "owl": 12}}, "says {90: 4, 7: 2} objects by category id, not"),
        ({"left_out": [LeftOut(position=3, path="", reason="", entry={}, annotations=[])]}, "or there twice"),
    ],
)
def test_counts_are_compared_with_the_rows(config, packed, changes, message):
    """Also of a manifest whose checksum was made anew."""
    path = packed / "train.mindrecord.json"
    write_manifest(path, read_manifest(path).model_copy(update=changes))
    with pytest.raises(UserError, match=re.escape(message)):
        open_dataset(config, training=True)


def test_a_manifest_names_files_of_its_own_folder_only(config, packed):
    path = packed / "train.mindrecord.json"
    manifest = read_manifest(path)
    write_manifest(path, manifest.model_copy(update={"files": [StoredFile.model_construct(
        name="../precious", size=8, sha256="")]}))  # fmt: skip
    precious = packed.parent / "precious"
    precious.write_text("precious")
    with pytest.raises(UserError, match=r"files\.0\.name"):
        check_or_pack_dataset(config, training=True)
    create_mindrecord(config, overwrite=True)
    assert precious.read_text() == "precious"


def test_made_again_from_the_same_is_kept_and_from_something_else_refused(config, packed, capsys):
    before = {path: path.stat().st_mtime_ns for path in packed.iterdir()}
    create_mindrecord(config)
    assert "already there, complete, and made from the same" in capsys.readouterr().out
    write_dataset(packed.parent / "data", 7)
    with pytest.raises(UserError, match=r"6 images of .*labels\.json, which is not what .* is now; --overwrite 1"):
        create_mindrecord(config)
    assert before == {path: path.stat().st_mtime_ns for path in packed.iterdir()}
    create_mindrecord(config, overwrite=True)
    assert len(build_train_loader(config).records) == 7
    assert {path.name for path in packed.iterdir()} == {
        "train.mindrecord", "train.mindrecord.db", "train.mindrecord.json"
    }  # fmt: skip
    (packed / "train.mindrecord.json").write_text("broken")
    with pytest.raises(UserError, match="not a manifest"):
        create_mindrecord(config)
    create_mindrecord(config, overwrite=True)
    assert len(build_train_loader(config).records) == 7


def test_more_files_than_images(config, packed):
    create_mindrecord(config, name="eval.mindrecord", training=False, shards=20)
    assert len(list(packed.glob("eval.mindrecord?"))) == 6
    assert [record.image_id for record in build_eval_loader(config).records] == [10, 13, 16, 19, 22, 25]


def test_two_processes_at_once(config, packed):
    another = pytest.raises(UserError, match="another create_data.py is making this data set now")
    with PartialFolder(packed, "train.mindrecord"), another:
        create_mindrecord(config, overwrite=True)
    assert len(build_train_loader(config).records) == 6


def test_packing_leaves_nothing_hidden_and_the_next_start_clears_what_killed_ones_left(config, packed):
    shutil.rmtree(packed)
    check_or_pack_dataset(config, training=True)
    names = {path.name for path in packed.iterdir()}
    assert not [name for name in names if name.startswith(".")]
    for left in (".train.mindrecord.lock", ".train.mindrecord.done.json"):
        (packed / left).touch()
    check_or_pack_dataset(config, training=True)
    assert {path.name for path in packed.iterdir()} == names


def test_a_process_that_waited_does_not_pack_again(config, packed, monkeypatch):
    """Its turn comes after the others have left and cleared what they had noted."""
    before = {path.name: path.stat().st_mtime_ns for path in packed.iterdir()}
    manifest, exists = packed / "train.mindrecord.json", Path.exists
    answers = iter([False])  # as it was when this process looked first
    monkeypatch.setattr(Path, "exists", lambda path: next(answers, exists(path)) if path == manifest else exists(path))
    check_or_pack_dataset(config, training=True)
    assert {path.name: path.stat().st_mtime_ns for path in packed.iterdir()} == before


def manifest_of(config, names: list[str]):
    manifest = read_manifest(Path(config.mindrecord_dir) / "train.mindrecord.json")
    files = [StoredFile(name=name, size=1, sha256="") for name in names]
    return manifest.model_copy(update={"files": files})


@pytest.mark.parametrize("survivors", [0, 1, 2])
def test_killed_while_it_replaces_a_data_set(config, packed, monkeypatch, survivors):
    """A killed process runs nothing any more: not even the end of the `with` block."""
    old = {path.name for path in packed.iterdir()}
    killed = PartialFolder(packed, "train.mindrecord").__enter__()
    names = ["train.mindrecord", "train.mindrecord.db"]
    for name in names:
        (killed.path / name).write_text("x")
    manifest = manifest_of(config, names)
    moved = []

    def replace(source, target, really=os.replace):
        if ".partial" not in str(target):
            if len(moved) == survivors:
                raise SystemExit
            moved.append(target)
        really(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(SystemExit):
            killed.publish(manifest)
    os.close(killed._lock)
    with pytest.raises(UserError, match="no complete data set train.mindrecord.*--train_dataset is missing"):
        check_or_pack_dataset(config.model_copy(update={"train_dataset": ""}), training=True)
    create_mindrecord(config, shards=2)
    assert {path.name for path in packed.iterdir()} == old
    assert len(build_train_loader(config).records) == 6


def test_a_killed_process_before_that_leaves_the_old_data_set(config, packed):
    killed = PartialFolder(packed, "train.mindrecord").__enter__()
    (killed.path / "train.mindrecord0").write_text("half")
    os.close(killed._lock)
    check_or_pack_dataset(config, training=True)
    create_mindrecord(config, shards=2, overwrite=True)
    assert len(build_train_loader(config).records) == 6 and not killed.path.exists()


def test_files_of_somebody_else_are_not_replaced(config, packed):
    (packed / "eval.mindrecord").write_text("precious")
    with pytest.raises(UserError, match=r"eval\.mindrecord is in the way"):
        create_mindrecord(config, training=False)
    assert (packed / "eval.mindrecord").read_text() == "precious"
    assert not (packed / ".eval.mindrecord.partial").exists()


def test_no_room_and_no_folder(config, packed, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"MB are needed and 0\.0 MB are free"):
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        create_mindrecord(config, training=False)
    for folder in (packed / "train.mindrecord0", "/proc/no/folder"):
        elsewhere = config.model_copy(update={"mindrecord_dir": str(folder)})
        with pytest.raises(UserError, match="cannot be written"):
            create_mindrecord(elsewhere)


def test_a_disk_that_fills_up(config, packed, monkeypatch):
    """MindSpore's report, of eleven lines, becomes one."""
    report = (
        "Exception thrown from dataset pipeline. Refer to '...'\n\n------\n- Dataset Pipeline Error Message: \n------\n"
    )
    report += "[ERROR] No free disk to be used while writing mindrecord files, available free disk size: 1\n\n------\n"
    for text, reason in ((report, "No free disk to be used"), ("Unexpected", "no space left, a quota")):
        with monkeypatch.context() as patch:
            patch.setattr("mindspore.mindrecord.FileWriter.write_raw_data", Mock(side_effect=RuntimeError(text)))
            with pytest.raises(UserError, match=rf"eval\.mindrecord: cannot be written \(.*{reason}.*\)$"):
                create_mindrecord(config, training=False)
    assert not list(packed.glob("*eval*")) and not list(packed.glob(".*"))


def test_names_of_kinds_and_files(config):
    with pytest.raises(UserError, match="--create_dataset imagenet: must be coco, voc, other"):
        create_mindrecord(config, "imagenet")
    for name in ("a/b", "."):
        with pytest.raises(UserError, match="--prefix"):
            create_mindrecord(config, name=name)
    assert config.class_names == NAMES
