"""Rank tables: the JSON files in which HCCL, Ascend's collective communication, reads which devices take part.

    python -m src.model_utils.rank_table rank_table_8pcs.json 8

checks one against the number of devices and prints `rank device_id` for each device of this machine.
"""

import argparse
import errno
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from src.common.errors import UserError
from src.common.program import run_command

Value = TypeVar("Value")


@dataclass(frozen=True)
class RankedDevice:
    """One device of a rank table."""

    rank: int
    server: str  # its server_id, the address of the machine
    device_id: int  # on that machine
    ip: str  # of its network card; '' where the table leaves it out


def read_rank_table(path: str | Path, device_num: int | None = None) -> list[RankedDevice]:
    """Read and check a rank table.

    Both formats are read: `server_list` (version 1.0 and later, which MindSpore's hccl_tools.py writes) and the older
    `group_list` with an `instance_list`, where the ranks may be left out and then follow the order.

    Args:
        path: JSON file.
        device_num: number of devices that the table must have; None: any.

    Returns:
        The devices by rank.

    Raises:
        UserError: no rank table; a number that does not fit; ranks that are not 0 to n - 1; a device, a rank or an
            address that comes twice; an invalid address.
    """
    table = _read_json(Path(path))
    try:
        if table.get("status", "completed") != "completed":
            raise ValueError(
                f"status is '{table['status']}', not 'completed': it was made before the cluster was ready"
            )
        if "server_list" in table:
            devices = list(_from_servers(table))
        elif "group_list" in table:
            devices = list(_from_groups(table))
        else:
            raise ValueError("has neither server_list nor group_list, so it is no rank table")
        _check(devices, device_num)
    except ValueError as error:
        raise UserError(f"rank table {path}: {error}") from None
    return sorted(devices, key=lambda device: device.rank)


def local_devices(devices: list[RankedDevice], server: str = "") -> list[RankedDevice]:
    """The devices of one machine.

    Args:
        devices: of a checked rank table.
        server: server_id of the machine; '': the only one, or the one whose address is this machine's.

    Raises:
        UserError: the table has no such machine.
    """
    servers = list(dict.fromkeys(device.server for device in devices))
    if not server:
        here = servers if len(servers) == 1 else [name for name in servers if is_local_address(name)]
        if len(here) != 1:
            raise UserError(
                f"the rank table has the servers {', '.join(servers)}; which of them this machine is, its addresses do "
                "not tell: set SERVER_ID to one of them"
            )
        server = here[0]
    if server not in servers:
        raise UserError(f"SERVER_ID: the rank table has no server '{server}'; it has {', '.join(servers)}")
    return [device for device in devices if device.server == server]


def _read_json(path: Path) -> dict:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"rank table {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"rank table {path}: not a text file in UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"rank table {path}, line {error.lineno}: not valid JSON ({error.msg})") from None
    if not isinstance(table, dict):
        raise UserError(f"rank table {path}: must be a JSON object with server_list, not a {type(table).__name__}")
    return table


def _from_servers(table: dict) -> Iterator[RankedDevice]:
    servers = _entries(table, "server_list", "the table")
    names = [_server_id(server, f"server {position}") for position, server in enumerate(servers)]
    if twice := _first_duplicate(names):
        raise ValueError(f"server_id {twice} comes twice")
    count = table.get("server_count")
    if count is not None and _whole_number(count, "server_count") != len(servers):
        raise ValueError(f"server_count is {count}, but server_list has {len(servers)} servers")
    for name, server in zip(names, servers, strict=True):
        for position, device in enumerate(_entries(server, "device", f"server {name}")):
            where = f"device {position} of server {name}"
            if "rank_id" not in device:
                raise ValueError(f"{where} has no rank_id")
            yield _device(device, device["rank_id"], name, where)


def _from_groups(table: dict) -> Iterator[RankedDevice]:
    """Several instances may be on one server; a rank is given by an instance of one device, by its devices, or not."""
    next_rank = 0
    for number, group in enumerate(_entries(table, "group_list", "the table")):
        for position, instance in enumerate(_entries(group, "instance_list", f"group {number}")):
            where = f"instance {position} of group {number}"
            name, devices = _server_id(instance, where), _entries(instance, "devices", where)
            for place, device in enumerate(devices):
                alone = instance.get("rank_id") if len(devices) == 1 else None
                rank = device.get("rank_id", next_rank if alone is None else alone)
                yield _device(device, rank, name, f"device {place} of {where}")
                next_rank += 1


def _device(device: dict, rank: object, server: str, where: str) -> RankedDevice:
    if "device_id" not in device:
        raise ValueError(f"{where} has no device_id")
    device_id = _whole_number(device["device_id"], f"device_id of {where}")
    ip = str(device.get("device_ip", ""))
    if ip:
        try:
            ip_address(ip)
        except ValueError:
            raise ValueError(f"device_ip of {where}: '{ip}' is no address") from None
    return RankedDevice(_whole_number(rank, f"rank_id of {where}"), server, device_id, ip)


def _check(devices: list[RankedDevice], device_num: int | None) -> None:
    if device_num is not None and len(devices) != device_num:
        raise ValueError(f"lists {len(devices)} devices, but DEVICE_NUM is {device_num}")
    ranks = [device.rank for device in devices]
    if (twice := _first_duplicate(ranks)) is not None:
        raise ValueError(f"rank_id {twice} comes twice")
    if missing := sorted(set(range(len(devices))) - set(ranks)):
        raise ValueError(f"rank_id must be 0 to {len(devices) - 1}, each once; {missing[0]} is missing")
    places = [(device.server, device.device_id) for device in devices]
    if place := _first_duplicate(places):
        raise ValueError(f"device_id {place[1]} comes twice on server {place[0]}")
    addresses = [device.ip for device in devices if device.ip]
    if address := _first_duplicate(addresses):
        raise ValueError(f"device_ip {address} comes twice")
    needed = addresses or len({device.server for device in devices}) > 1
    if needed and (without := [device for device in devices if not device.ip]):
        raise ValueError(f"rank {without[0].rank} (device {without[0].device_id}) has no device_ip")


def _entries(holder: dict, name: str, where: str) -> list[dict]:
    entries = holder.get(name)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{name} of {where} must be a list of at least one object")
    return entries


def _server_id(server: dict, where: str) -> str:
    if not server.get("server_id"):
        raise ValueError(f"{where} has no server_id")
    return str(server["server_id"])


def _whole_number(value: object, name: str) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be a whole number from 0, not '{value}'")
    return int(text)


def _first_duplicate(values: list[Value]) -> Value | None:
    return next((value for position, value in enumerate(values) if value in values[:position]), None)


def is_local_address(address: str) -> bool:
    """Whether this machine has the address: only its own can be bound to."""
    try:
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except ValueError:
        return False
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def main() -> None:
    """Check a rank table and print the ranks and device ids of this machine."""
    parser = argparse.ArgumentParser(prog="python -m src.model_utils.rank_table", description=main.__doc__)
    parser.add_argument("file", help="the rank table")
    parser.add_argument("device_num", type=int, help="number of devices that it must have, on all machines together")
    arguments = parser.parse_args()
    devices = read_rank_table(arguments.file, arguments.device_num)
    for device in local_devices(devices, os.environ.get("SERVER_ID", "")):
        print(device.rank, device.device_id)


if __name__ == "__main__":
    run_command(main)
