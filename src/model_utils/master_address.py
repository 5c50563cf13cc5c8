"""Where the machines of a training meet: the address of machine 0, as each of them sees it.

    python -m src.model_utils.master_address node0.cluster 8118 1

checks it on machine 1 and prints it as a number.
"""

import argparse
import socket
from ipaddress import ip_address

from src.common.errors import UserError
from src.common.program import run_command
from src.model_utils.rank_table import is_local_address


def master_address(address: str, port: int, machine: int) -> str:
    """Look up the address of machine 0.

    Args:
        address: its name or number.
        port: where its scheduler is going to listen; the watch over the machines listens at the next one.
        machine: number of this machine; machine 0 alone has the address.

    Returns:
        The address as a number, IPv4 or IPv6.

    Raises:
        UserError: an unknown name, an address that other machines cannot reach, one that is not this machine's though
            it is machine 0, or this machine's though it is another; a port that is in use.
    """
    try:
        found = str(socket.getaddrinfo(address.strip("[]"), None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError):
        raise UserError(f"MASTER_ADDR: this machine knows no address of '{address}'") from None
    if ip_address(found).is_loopback or ip_address(found).is_unspecified:
        raise UserError(f"MASTER_ADDR: {address} is {found} here, where other machines cannot reach it")
    local = is_local_address(found)
    if machine == 0 and not local:
        raise UserError(f"MASTER_ADDR: must be an address of machine 0, which is this one (NODE_RANK), not {address}")
    if machine > 0 and local:
        raise UserError(f"NODE_RANK: is {machine}, but this machine has MASTER_ADDR, {address}, so it is machine 0")
    if machine == 0:
        check_free(found, port)
    return found


def check_free(address: str, port: int) -> None:
    """Refuse a port that something listens at, or the one after it.

    Raises:
        UserError: one of both is not free.
    """
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    for wanted in (port, port + 1):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, wanted))
            except OSError as error:
                raise UserError(f"MASTER_PORT: {wanted} of {address} is not free ({error.strerror})") from None


def main() -> None:
    """Check the address of machine 0 and print it as a number."""
    parser = argparse.ArgumentParser(prog="python -m src.model_utils.master_address", description=main.__doc__)
    parser.add_argument("address", help="name or number")
    parser.add_argument("port", type=int, help="of the scheduler")
    parser.add_argument("machine", type=int, help="number of this machine")
    arguments = parser.parse_args()
    print(master_address(arguments.address, arguments.port, arguments.machine))


if __name__ == "__main__":
    run_command(main)
