"""Tells the machines of a training how each other's part of it ends; scripts/launch.sh runs it beside the training.

    python -m src.model_utils.machine_watch 10.0.0.1 8119 1 out/run/processes

Machine 0 listens, the others connect to it. Each sends an empty line every few seconds, and 'STATUS MESSAGE' at its
end. One that sends nothing for `SILENCE` seconds, or leaves without that last line, is lost. FOLDER/failed then gets a
line, as it does for an end with a status other than 0, and the launching script ends this machine's processes.
MindSpore's scheduler notices the loss of a process too, but names no machine, and one that compiles hears nothing.

Signals: SIGTERM sends what FOLDER/ending has as this machine's last line; SIGUSR1, once FOLDER has
`joined`, asks machine 0 to stop the training.
"""

import argparse
import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import cast

from src.common.program import run_command

BEAT = 5.0  # seconds between two signs of life
# Seconds without one after which a machine is lost. MindSpore gives up after 30, without saying which machine it was.
SILENCE = 20.0
STOP = "stop"


class MachineWatch:
    """This machine's part of the watch.

    Args:
        machine: its number.
        folder: where `failed` is written and `ending` is read.
    """

    def __init__(self, machine: int, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        self.launcher = os.getppid()
        self.writers: set[asyncio.StreamWriter] = set()
        self.talks: set[asyncio.Task] = set()
        self.ended = asyncio.Event()

    async def run(self, address: str, port: int) -> None:
        """Watch until SIGTERM or the end of the launching script."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.ended.set)
        loop.add_signal_handler(signal.SIGUSR1, self._send, STOP)
        tasks = [asyncio.create_task(self._listen(address, port)), asyncio.create_task(self._beat())]
        await self.ended.wait()
        if os.getppid() == self.launcher:  # one that was killed has no last words
            ending = self.folder / "ending"
            self._send(ending.read_text(errors="replace").strip() if ending.is_file() else "1 ended")
            for writer in self.writers:
                writer.write_eof()
            if self.talks:  # each machine that has heard closes its connection
                await asyncio.wait(self.talks, timeout=2)
        for task in tasks:
            task.cancel()

    async def _listen(self, address: str, port: int) -> None:
        if self.machine == 0:
            server = await asyncio.start_server(self._talk, address, port)
            await server.serve_forever()
        while (connection := await _connection(address, port)) is None:
            await asyncio.sleep(1)  # machine 0 starts later
        await self._talk(*connection)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Exchange names with another machine, then follow it to its end."""
        writer.write(f"{self.machine} {socket.gethostname()}\n".encode())
        number, _, host = (await _next_line(reader) or "").partition(" ")
        if not number.isdecimal() or not host:  # something else that tried the port
            writer.close()
            return
        name = f"machine {number} ({host})"
        task = cast(asyncio.Task, asyncio.current_task())
        self.talks.add(task)
        task.add_done_callback(self.talks.discard)
        print(f"{name} has joined", flush=True)
        self.writers.add(writer)
        (self.folder / "joined").touch()
        while (line := await _next_line(reader)) is not None:
            status, _, message = line.partition(" ")
            if line == STOP:
                os.kill(self.launcher, signal.SIGTERM)
            elif line and status.isdecimal():
                if status != "0":
                    self._note(f"{status} {name}: {message}")
                break
        else:
            if not self.ended.is_set():
                self._note(f"1 {name} no longer answers")
        self.writers.discard(writer)
        writer.close()

    def _note(self, line: str) -> None:
        with (self.folder / "failed").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def _send(self, line: str) -> None:
        for writer in self.writers:
            writer.write(f"{line}\n".encode())

    async def _beat(self) -> None:
        waited = 0.0
        while os.getppid() == self.launcher:
            if waited >= BEAT:
                self._send("")
                waited = 0.0
            await asyncio.sleep(0.5)
            waited += 0.5
        self.ended.set()


async def _connection(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    try:
        return await asyncio.open_connection(address, port)
    except OSError:
        return None


async def _next_line(reader: asyncio.StreamReader) -> str | None:
    """The next line without its end; None: there will be none."""
    try:
        line = await asyncio.wait_for(reader.readline(), SILENCE)
    except (asyncio.TimeoutError, OSError, ValueError):  # ValueError: a line without end
        return None
    return line.decode(errors="replace").rstrip("\n") if line.endswith(b"\n") else None


def main() -> None:
    """Watch the machines of a training."""
    parser = argparse.ArgumentParser(prog="python -m src.model_utils.machine_watch", description=main.__doc__)
    parser.add_argument("address", help="of machine 0, as a number")
    parser.add_argument("port", type=int, help="of machine 0, for this watch alone")
    parser.add_argument("machine", type=int, help="number of this machine")
    parser.add_argument("folder", type=Path, help="of the notes of this machine's processes")
    arguments = parser.parse_args()

    async def watch() -> None:
        await MachineWatch(arguments.machine, arguments.folder).run(arguments.address, arguments.port)

    asyncio.run(watch())


if __name__ == "__main__":
    run_command(main)
