"""Rank tables: what is read of the formats there are, and each mistake in one line."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.model_utils.rank_table import local_devices, read_rank_table

ROOT = Path(__file__).parents[2]


def server(name: str, first_rank: int, device_ids: list[int]) -> dict:
    devices = [
        {"device_id": str(number), "device_ip": f"192.1.{first_rank + i}.6", "rank_id": str(first_rank + i)}
        for i, number in enumerate(device_ids)
    ]
    return {"server_id": name, "device": devices, "host_nic_ip": "reserve"}


def table_of(*servers: dict) -> dict:
    return {"version": "1.0", "server_count": str(len(servers)), "server_list": list(servers), "status": "completed"}


def written(folder: Path, table: object) -> Path:
    path = folder / "rank_table.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return path


def found(path: Path) -> list[tuple[int, str, int]]:
    return [(device.rank, device.server, device.device_id) for device in read_rank_table(path)]


def test_one_server(tmp_path: Path) -> None:
    path = written(tmp_path, table_of(server("10.0.0.1", 0, [4, 5, 6, 7])))
    assert found(path) == [(rank, "10.0.0.1", rank + 4) for rank in range(4)]
    assert read_rank_table(path, 4)[3].ip == "192.1.3.6"


def test_order_is_that_of_the_ranks(tmp_path: Path) -> None:
    table = table_of(server("10.0.0.1", 0, [0, 1, 2]))
    table["server_list"][0]["device"].reverse()
    assert [device.rank for device in read_rank_table(written(tmp_path, table))] == [0, 1, 2]


def test_addresses_may_be_left_out_on_one_server(tmp_path: Path) -> None:
    table = table_of(server("10.0.0.1", 0, [0, 1]))
    for device in table["server_list"][0]["device"]:
        del device["device_ip"]
    assert found(written(tmp_path, table)) == [(0, "10.0.0.1", 0), (1, "10.0.0.1", 1)]


def test_super_pods_have_more_keys(tmp_path: Path) -> None:
    table = table_of(server("10.0.0.1", 0, [0, 15]))
    table["version"] = "1.2"
    table["server_list"][0]["device"][0]["super_device_id"] = "0"
    table["super_pod_list"] = [{"super_pod_id": "0", "server_list": [{"server_id": "10.0.0.1"}]}]
    assert found(written(tmp_path, table)) == [(0, "10.0.0.1", 0), (1, "10.0.0.1", 15)]


GROUPS = {
    "status": "completed",
    "group_count": "1",
    "group_list": [
        {
            "group_name": "job",
            "instance_list": [
                {"server_id": "10.0.0.1", "devices": [{"device_id": "0", "device_ip": "192.1.0.6"}], "rank_id": "1"},
                {"server_id": "10.0.0.1", "devices": [{"device_id": "1", "device_ip": "192.2.0.6"}], "rank_id": "0"},
            ],
        }
    ],
}


def test_groups_with_a_rank_an_instance(tmp_path: Path) -> None:
    assert found(written(tmp_path, GROUPS)) == [(0, "10.0.0.1", 1), (1, "10.0.0.1", 0)]


def test_groups_without_ranks_follow_the_order(tmp_path: Path) -> None:
    table = copy.deepcopy(GROUPS)
    table["group_list"][0]["instance_list"] = [
        {
            "pod_name": f"pod{pod}",
            "server_id": f"10.0.0.{pod}",
            "devices": [{"device_id": str(i), "device_ip": f"192.{pod}.{i}.6"} for i in range(2)],
        }
        for pod in (1, 2)
    ]
    expected = [(0, "10.0.0.1", 0), (1, "10.0.0.1", 1), (2, "10.0.0.2", 0), (3, "10.0.0.2", 1)]
    assert found(written(tmp_path, table)) == expected


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("server_list", 0, "device", 1, "rank_id"), "0", "rank_id 0 comes twice"),
        (("server_list", 0, "device", 1, "rank_id"), "2", "rank_id must be 0 to 1, each once; 1 is missing"),
        (
            ("server_list", 0, "device", 1, "rank_id"),
            "one",
            "rank_id of device 1 of server 10.0.0.1 must be a whole number from 0, not 'one'",
        ),
        (("server_list", 0, "device", 1, "rank_id"), None, "device 1 of server 10.0.0.1 has no rank_id"),
        (("server_list", 0, "device", 1, "device_id"), "0", "device_id 0 comes twice on server 10.0.0.1"),
        (
            ("server_list", 0, "device", 0, "device_id"),
            "-1",
            "device_id of device 0 of server 10.0.0.1 must be a whole number from 0, not '-1'",
        ),
        (("server_list", 0, "device", 0, "device_id"), None, "device 0 of server 10.0.0.1 has no device_id"),
        (("server_list", 0, "device", 1, "device_ip"), "192.1.0.6", "device_ip 192.1.0.6 comes twice"),
        (
            ("server_list", 0, "device", 1, "device_ip"),
            "192.1.0.600",
            "device_ip of device 1 of server 10.0.0.1: '192.1.0.600' is no address",
        ),
        (("server_list", 0, "device", 1, "device_ip"), None, "rank 1 (device 1) has no device_ip"),
        (
            ("server_list", 0, "device"),
            [],
            "device of server 10.0.0.1 must be a list of at least one object",
        ),
        (("server_list", 0, "server_id"), None, "server 0 has no server_id"),
        (("server_list",), {}, "server_list of the table must be a list of at least one object"),
        (("server_list",), None, "has neither server_list nor group_list, so it is no rank table"),
        (("server_count",), "2", "server_count is 2, but server_list has 1 servers"),
        (
            ("status",),
            "initializing",
            "status is 'initializing', not 'completed': it was made before the cluster was ready",
        ),
    ],
)
def test_mistakes(tmp_path: Path, where: tuple, value: object, message: str) -> None:
    table = table_of(server("10.0.0.1", 0, [0, 1]))
    holder = table
    for step in where[:-1]:
        holder = holder[step]
    if value is None:
        del holder[where[-1]]
    else:
        holder[where[-1]] = value
    path = written(tmp_path, table)
    with pytest.raises(UserError) as caught:
        read_rank_table(path)
    assert str(caught.value) == f"rank table {path}: {message}"


def test_a_server_comes_once(tmp_path: Path) -> None:
    path = written(tmp_path, table_of(server("10.0.0.1", 0, [0]), server("10.0.0.1", 1, [1])))
    with pytest.raises(UserError, match="server_id 10.0.0.1 comes twice"):
        read_rank_table(path)


def test_several_servers_need_addresses(tmp_path: Path) -> None:
    table = table_of(server("10.0.0.1", 0, [0]), server("10.0.0.2", 1, [0]))
    for entry in table["server_list"]:
        del entry["device"][0]["device_ip"]
    with pytest.raises(UserError, match=r"rank 0 \(device 0\) has no device_ip"):
        read_rank_table(written(tmp_path, table))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"server_list":\n[,]}', ", line 2: not valid JSON "),
        ("[]", ": must be a JSON object with server_list, not a list"),
    ],
)
def test_no_rank_table(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_rank_table(path)
    assert str(caught.value).startswith(f"rank table {path}{message}")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.json: cannot be read"):
        read_rank_table(tmp_path / "none.json")


def test_number_of_devices(tmp_path: Path) -> None:
    path = written(tmp_path, table_of(server("10.0.0.1", 0, [0, 1])))
    with pytest.raises(UserError, match="lists 2 devices, but DEVICE_NUM is 8"):
        read_rank_table(path, 8)


class TestSeveralServers:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return written(tmp_path, table_of(server("192.0.2.1", 0, [0, 1]), server("127.0.0.1", 2, [4, 6])))

    def test_this_machine_is_found_by_its_address(self, path: Path) -> None:
        assert [device.rank for device in local_devices(read_rank_table(path))] == [2, 3]

    def test_or_named(self, path: Path) -> None:
        assert [device.rank for device in local_devices(read_rank_table(path), "192.0.2.1")] == [0, 1]
        with pytest.raises(UserError, match="no server 'x'; it has 192.0.2.1, 127.0.0.1"):
            local_devices(read_rank_table(path), "x")

    def test_another_machine(self, tmp_path: Path) -> None:
        path = written(tmp_path, table_of(server("192.0.2.1", 0, [0]), server("first", 1, [0])))
        with pytest.raises(UserError, match="has the servers 192.0.2.1, first; .* set SERVER_ID to one of them"):
            local_devices(read_rank_table(path))


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "src.model_utils.rank_table", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip


def test_the_command_prints_this_machines_devices(tmp_path: Path) -> None:
    path = written(tmp_path, table_of(server("192.0.2.1", 0, [0, 1]), server("192.0.2.2", 2, [4, 6])))
    done = command(path, 4, SERVER_ID="192.0.2.2")
    assert (done.returncode, done.stdout) == (0, "2 4\n3 6\n")
    done = command(path, 8)
    assert done.returncode == 2
    assert done.stderr == f"error: rank table {path}: lists 4 devices, but DEVICE_NUM is 8\n"
