"""The address of machine 0, as each machine sees it."""

import socket

import pytest

from src.common.errors import UserError
from src.model_utils import master_address as module
from src.model_utils.master_address import master_address


@pytest.fixture
def addresses(monkeypatch):
    """node-a is machine 0, at an address that is looked up; this machine has those of the list."""
    mine = []
    names = {"node-a": "192.0.2.7", "localhost": "127.0.0.1", "::1": "::1"}
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda name, *_, **__: [(0, 0, 0, "", (names[name], 0))])
    monkeypatch.setattr(module, "is_local_address", lambda address: address in mine)
    return mine


def test_another_machine_looks_it_up(addresses):
    assert master_address("node-a", 8118, 1) == "192.0.2.7"


@pytest.mark.parametrize(("name", "found"), [("localhost", "127.0.0.1"), ("[::1]", "::1")])
def test_loopback_is_refused(name, found, addresses):
    with pytest.raises(UserError) as error:
        master_address(name, 8118, 0)
    assert str(error.value) == f"MASTER_ADDR: {name} is {found} here, where other machines cannot reach it"


def test_machine_0_alone_has_the_address(addresses, monkeypatch):
    with pytest.raises(UserError, match=r"^MASTER_ADDR: must be an address of machine 0, which is this one"):
        master_address("node-a", 8118, 0)
    addresses.append("192.0.2.7")
    with pytest.raises(UserError, match=r"^NODE_RANK: is 2, but this machine has MASTER_ADDR, node-a, so it is mach"):
        master_address("node-a", 8118, 2)


@pytest.mark.parametrize("offset", [0, 1])
def test_machine_0_needs_two_free_ports(offset):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"^MASTER_PORT: {port} of 127.0.0.1 is not free"):
            module.check_free("127.0.0.1", port - offset)
