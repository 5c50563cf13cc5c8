"""ModelArts with a stand-in for moxing: `obs://bucket/...` is a folder, copies are copies."""

import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.common.errors import UserError
from src.common.program import Terminated
from src.config import config_from_command_line, load_config
from src.model_utils.moxing_adapter import on_modelarts, result_path, unpack
from src.schema import Config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs/demo/spinenet_retinanet.yaml"


class Bucket:
    """moxing.file, over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copied: list[tuple[str, str]] = []
        self.broken = ""

    def local(self, url: str) -> Path:
        return self.folder / url.removeprefix("obs://bucket/") if url.startswith("obs://") else Path(url)

    def copy_parallel(self, source: str, target: str) -> None:
        self.copied.append((source, target))
        if self.broken and self.broken in (source, target):
            raise OSError("403 Forbidden\nrequest id 7")
        shutil.copytree(self.local(source), self.local(target), dirs_exist_ok=True)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket with a data set in coco2017/."""
    for name in ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "MS_ROLE", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    bucket = Bucket(tmp_path / "bucket")
    (bucket.folder / "coco2017/val2017").mkdir(parents=True)
    (bucket.folder / "coco2017/val2017/1.jpg").write_bytes(b"jpeg")
    monkeypatch.setitem(sys.modules, "moxing", types.SimpleNamespace(file=bucket))
    return bucket


def config_of(tmp_path: Path, **keys) -> Config:
    paths = {"data_path": tmp_path / "cache/data", "output_path": tmp_path / "cache/train"}
    paths |= {"load_path": tmp_path / "cache/checkpoint_path"}
    urls = {"data_url": "obs://bucket/coco2017", "train_url": "obs://bucket/results"}
    values = {"enable_modelarts": True, **urls, **{key: str(path) for key, path in paths.items()}, **keys}
    return load_config(CONFIG, values)


def write_result(config: Config) -> None:
    folder = Path(config.train_outputs) / config.brief
    folder.mkdir(parents=True)
    (folder / "train.log").write_text("done")


def test_off_it_does_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path, enable_modelarts=False)
    before = config.model_dump()
    with on_modelarts(config):
        assert config.model_dump() == before
    assert list(tmp_path.iterdir()) == []


def test_the_published_spellings(tmp_path: Path) -> None:
    words = "--run_online=True --data_url=obs://xxx/coco2017 --distribute=True --epoch_size=500"
    config = config_from_command_line("", [f"--_config_path={CONFIG}", *words.split()])
    assert config.enable_modelarts and config.run_distribute
    assert (config.data_url, config.epoch_size) == ("obs://xxx/coco2017", 500)


def test_two_configurations_are_one_too_many() -> None:
    with pytest.raises(UserError, match="_config_path is a.yaml, but config_path is b.yaml"):
        config_from_command_line("", ["--config_path", "b.yaml", "--_config_path", "a.yaml"])


def test_data_comes_and_results_go(tmp_path: Path, bucket: Bucket) -> None:
    config = config_of(tmp_path, train_outputs="out", brief="first", save_checkpoint_path="", pred_output="found.json")
    with on_modelarts(config):
        assert (tmp_path / "cache/data/val2017/1.jpg").read_bytes() == b"jpeg"
        assert config.pred_output == str(tmp_path / "cache/train/found.json")
        assert config.save_checkpoint_path == ""
        write_result(config)
    assert (bucket.folder / "results/out/first/train.log").read_text() == "done"


def test_absolute_outputs_stay(tmp_path: Path, bucket: Bucket) -> None:
    checkpoints = str(tmp_path / "cache/train/checkpoint")
    config = config_of(tmp_path, save_checkpoint_path=checkpoints)
    with on_modelarts(config):
        assert config.save_checkpoint_path == checkpoints
        assert config.checkpoint_folder == Path(checkpoints)


def test_results_beside_inputs_go_to_the_outputs(tmp_path: Path) -> None:
    output = tmp_path / "cache/train"
    metrics = tmp_path / "cache/data/checkpoint/best_metrics.json"
    config = config_of(tmp_path)
    assert result_path(config, metrics) == output / "best_metrics.json"
    assert result_path(config, output / "deep/best_metrics.json") == output / "deep/best_metrics.json"
    assert result_path(config_of(tmp_path, enable_modelarts=False), metrics) == metrics


@pytest.mark.parametrize("inside", [True, False])
def test_an_archive_is_unpacked(tmp_path: Path, bucket: Bucket, inside: bool) -> None:
    """Whether the archive holds its folder or only what belongs in it."""
    with zipfile.ZipFile(bucket.folder / "coco2017/packed.zip", "w") as archive:
        prefix = "packed/" if inside else ""
        archive.writestr(f"{prefix}retinanet.mindrecord0", "records")
        archive.writestr(f"{prefix}annotations/instances_val2017.json", "{}")
    packed = tmp_path / "cache/data/packed"
    config = config_of(tmp_path, modelarts_dataset_unzip_name="packed", coco_root=str(packed))
    with on_modelarts(config):
        assert sorted(path.name for path in packed.iterdir()) == ["annotations", "retinanet.mindrecord0"]
    assert [path.name for path in packed.parent.glob(".*")] == []


class TestArchivesThatPathsNeed:
    """As in NAS-FPN's command for evaluation, which names no archive."""

    def pack(self, bucket: Bucket, **files: str) -> None:
        with zipfile.ZipFile(bucket.folder / "coco2017/packed.zip", "w") as archive:
            for name, content in {"retinanet.mindrecord0": "records", **files}.items():
                archive.writestr(name, content)

    def test_they_are_unpacked(self, tmp_path: Path, bucket: Bucket) -> None:
        self.pack(bucket)
        packed = tmp_path / "cache/data/packed"
        config = config_of(tmp_path, mindrecord_dir=str(packed))
        with on_modelarts(config):
            assert (packed / "retinanet.mindrecord0").read_text() == "records"

    def test_others_are_not(self, tmp_path: Path, bucket: Bucket) -> None:
        self.pack(bucket)
        shutil.copyfile(bucket.folder / "coco2017/packed.zip", bucket.folder / "coco2017/val2017.zip")
        with on_modelarts(config_of(tmp_path, val_dataset=str(tmp_path / "cache/data/val2017"))):
            assert not (tmp_path / "cache/data/packed").exists()
            assert [path.name for path in (tmp_path / "cache/data/val2017").iterdir()] == ["1.jpg"]

    def test_a_new_archive_replaces_what_an_earlier_run_unpacked(self, tmp_path: Path, bucket: Bucket) -> None:
        found = []
        for content in ("old", "new"):
            self.pack(bucket, version=content)
            with on_modelarts(config_of(tmp_path, mindrecord_dir=str(tmp_path / "cache/data/packed"))):
                found.append((tmp_path / "cache/data/packed/version").read_text())
        assert found == ["old", "new"]

    @pytest.mark.parametrize("inside", [False, True])
    def test_annotations_may_lie_beside_the_archive(self, tmp_path: Path, bucket: Bucket, inside: bool) -> None:
        annotations = bucket.folder / "coco2017/annotations"
        annotations.mkdir()
        (annotations / "instances_val2017.json").write_text("{}")
        self.pack(bucket, **({"annotations/instances_val2017.json": "{}"} if inside else {}))
        data = tmp_path / "cache/data"
        expected = str(data / "packed/annotations/instances_{}.json")
        config = config_of(tmp_path, mindrecord_dir=str(data / "packed"), instance_set=expected)
        with on_modelarts(config):
            assert config.instance_set == (expected if inside else str(data / "annotations/instances_{}.json"))
            assert config.mindrecord_dir == str(data / "packed")


class TestArchives:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="modelarts_dataset_unzip_name: .*packed.zip does not exist"):
            unpack(tmp_path, "packed")

    def test_damaged(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", "a" * 1000)
            archive.writestr("b", bytes(range(256)) * 40)
        data = bytearray((tmp_path / "packed.zip").read_bytes())
        data[200:220] = bytes(20)
        (tmp_path / "packed.zip").write_bytes(data)
        (tmp_path / "packed").mkdir()
        (tmp_path / "packed/before").touch()
        with pytest.raises(UserError, match="packed.zip cannot be unpacked") as caught:
            unpack(tmp_path, "packed")
        assert "\n" not in str(caught.value)
        assert [path.name for path in (tmp_path / "packed").iterdir()] == ["before"]
        assert not (tmp_path / ".packed.partial").exists()

    def test_paths_do_not_leave_the_folder(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
            archive.writestr("../../outside", "x")
        unpack(tmp_path, "packed")
        assert (tmp_path / "packed/outside").is_file()


class TestDataRoot:
    """RefineDet's command names no path in the container."""

    def test_the_download_becomes_the_root(self, tmp_path: Path, bucket: Bucket) -> None:
        config = config_of(tmp_path, coco_root="/data/coco2017")
        with on_modelarts(config):
            assert config.coco_root == str(tmp_path / "cache/data")
            assert config.train_dataset == config.val_dataset == ""

    def test_lists_too(self, tmp_path: Path, bucket: Bucket) -> None:
        config = config_of(tmp_path, dataset="other", anno_path="train.txt")
        with on_modelarts(config):
            assert config.image_dir == str(tmp_path / "cache/data")
            assert config.anno_path == str(tmp_path / "cache/data/train.txt")

    def test_unless_a_path_lies_in_it(self, tmp_path: Path, bucket: Bucket) -> None:
        val = str(tmp_path / "cache/data/val2017")
        config = config_of(tmp_path, val_dataset=val, coco_root="/elsewhere")
        with on_modelarts(config):
            assert (config.val_dataset, config.coco_root) == (val, "/elsewhere")


def test_checkpoints_come_too(tmp_path: Path, bucket: Bucket) -> None:
    (bucket.folder / "weights").mkdir()
    (bucket.folder / "weights/x.ckpt").write_bytes(b"x")
    config = config_of(tmp_path, checkpoint_url="obs://bucket/weights")
    with on_modelarts(config):
        assert (tmp_path / "cache/checkpoint_path/x.ckpt").is_file()


@pytest.mark.parametrize("end", [Terminated, KeyboardInterrupt, ValueError])
def test_results_of_a_run_that_ended_early_go_too(tmp_path: Path, bucket: Bucket, end: type[BaseException]) -> None:
    config = config_of(tmp_path, brief="first")
    with pytest.raises(end), on_modelarts(config):
        write_result(config)
        raise end
    assert list(bucket.folder.glob("results/**/train.log"))


@pytest.mark.parametrize(("rank", "uploads"), [("0", True), ("1", False)])
def test_rank_0_sends_the_results(tmp_path: Path, bucket: Bucket, monkeypatch, rank: str, uploads: bool) -> None:
    for name, value in {"RANK_ID": rank, "RANK_SIZE": "2", "DEVICE_ID": rank}.items():
        monkeypatch.setenv(name, value)
    config = config_of(tmp_path)
    with on_modelarts(config):
        write_result(config)
    assert (bucket.folder / "results").exists() == uploads


def test_msruns_scheduler_copies_nothing(tmp_path: Path, bucket: Bucket, monkeypatch) -> None:
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    with on_modelarts(config_of(tmp_path)):
        pass
    assert bucket.copied == []


def test_a_failed_download_is_one_line(tmp_path: Path, bucket: Bucket) -> None:
    bucket.broken = "obs://bucket/coco2017"
    with pytest.raises(UserError) as caught, on_modelarts(config_of(tmp_path)):
        pass
    data = tmp_path / "cache/data"
    assert str(caught.value) == f"obs://bucket/coco2017 cannot be copied to {data} (403 Forbidden)"


def test_a_failed_upload_says_where_the_results_are(tmp_path: Path, bucket: Bucket, capsys) -> None:
    bucket.broken = "obs://bucket/results"
    config = config_of(tmp_path, train_outputs="out")
    with pytest.raises(UserError, match="the results are still in .*cache/train"), on_modelarts(config):
        write_result(config)
    shutil.rmtree(tmp_path / "cache")
    config = config_of(tmp_path, train_outputs="out")
    with pytest.raises(ValueError, match="what ended it"), on_modelarts(config):
        write_result(config)
        raise ValueError("what ended it")
    assert "error: " in capsys.readouterr().err


def test_without_a_place_for_results_they_stay(tmp_path: Path, bucket: Bucket, capsys) -> None:
    config = config_of(tmp_path, train_url="")
    with on_modelarts(config):
        write_result(config)
    assert f"warning: train_url is not set, so the results stay in {tmp_path}/cache/train" in capsys.readouterr().out


@pytest.mark.parametrize("program", ["train.py", "eval.py", "infer.py", "export.py"])
def test_elsewhere_the_programs_say_what_is_missing(program: str, tmp_path: Path) -> None:
    """They are run without moxing."""
    command = [sys.executable, ROOT / program, "--config_path", CONFIG, "--enable_modelarts=True"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "error: enable_modelarts: the package moxing is not here; only ModelArts has it, elsewhere leave this key out\n"
    )


@pytest.mark.parametrize("name", ["../keep", "/keep", "..", "a/b", "."])
def test_the_name_of_an_archive_is_no_path(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    (tmp_path / "keep").mkdir()
    for place in (tmp_path / "keep.zip", data / "a" / "b.zip", data / "...zip"):
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("x", "x")
    with pytest.raises(UserError, match="modelarts_dataset_unzip_name: .* is not the name of an archive"):
        unpack(data, name)
    assert list((tmp_path / "keep").iterdir()) == []


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10**7))
    monkeypatch.setattr("src.model_utils.moxing_adapter.HARMLESS_BYTES", 10**6)
    with pytest.raises(
        UserError, match=r"bomb\.zip cannot be unpacked: its 0\.0 MB would become 10\.0 MB, over 100 times"
    ):
        unpack(tmp_path, "bomb")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(UserError, match=r"bomb\.zip cannot be unpacked: 10\.0 MB are needed, 1\.0 MB are free"):
        unpack(tmp_path, "bomb")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.zip"]


def test_broken_archives_are_one_line(tmp_path: Path) -> None:
    """Every tenth byte flipped, one at a time; whatever zipfile raises is a UserError, and the old folder stays."""
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/a.txt", "text " * 50)
        archive.writestr("data/b.txt", "other " * 50, zipfile.ZIP_LZMA)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 5):
        for flip in (0x01, 0xFF):
            broken = bytearray(whole)
            broken[place] ^= flip
            path.write_bytes(broken)
            try:
                unpack(tmp_path, "data")
            except UserError as error:
                refused += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert refused > len(whole) // 10
    assert not (tmp_path / ".data.partial").exists()


def test_links_in_place_of_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "precious").write_text("precious")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("x", "x")
    for name in (".data.partial", "data"):
        link = tmp_path / name
        link.symlink_to(tmp_path / "others")
        with pytest.raises(UserError, match="is a symbolic link"):
            unpack(tmp_path, "data")
        link.unlink()
    assert [path.name for path in (tmp_path / "others").iterdir()] == ["precious"]
