"""The connections between geth nodes on loopback, through here: they can be cut, healed and made slow.

Each node listens on another port than its peers know; on the one they know, this listens, and passes on. Who calls is found by the
socket that its process holds.
"""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

OFFSET = 5000  # from the port that peers know to the one where the node listens


class Links:
    """The links of a network in a folder, of whose members `process` gives the process id."""

    def __init__(self, network, process) -> None:
        self.process, self.delay, self.groups, self.ended = process, 0.0, [], False
        self.lock, self.open = threading.Lock(), []
        self.listeners = []
        for member in network.plan.members:
            config = network.folder / member.folder / "config.toml"
            text, count = re.subn(rf'(ListenAddr = ".*:){member.p2p_port}"', rf'\g<1>{member.p2p_port + OFFSET}"', config.read_text())
            assert count == 1
            config.write_text(text)
            listener = socket.create_server(("127.0.0.1", member.p2p_port))
            self.listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, member), daemon=True).start()

    def cut(self, *groups: tuple[int, ...]) -> None:
        """Nothing passes between these groups of members from now on."""
        with self.lock:
            self.groups = list(groups)
            for one, other, ends in self.open:
                if self._parted(one, other):
                    for end in ends:
                        with suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        self.cut()

    def close(self) -> None:
        self.ended = True
        for listener in self.listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _parted(self, one: int | None, other: int) -> bool:
        """A caller that is not known passes no cut."""
        places = [next((place for place, group in enumerate(self.groups) if number in group), None) for number in (one, other)]
        return bool(self.groups) and (None in places or places[0] != places[1])

    def _accept(self, listener: socket.socket, member) -> None:
        while not self.ended:
            try:
                near, (_, port) = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(near, port, member), daemon=True).start()

    def _join(self, near: socket.socket, port: int, member) -> None:
        caller = self._caller(port)
        with suppress(OSError), near, socket.create_connection(("127.0.0.1", member.p2p_port + OFFSET)) as far:
            with self.lock:
                if self._parted(caller, member.number):
                    return
                self.open.append((caller, member.number, (near, far)))
            back = threading.Thread(target=self._pass, args=(far, near), daemon=True)
            back.start()
            self._pass(near, far)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.delay:
                    time.sleep(self.delay * (0.5 + random.random()))
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _caller(self, port: int) -> int | None:
        """The member whose process holds the socket that is bound to this port. Source: proc(5), Linux."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {f"socket:[{row[9]}]" for row in rows if int(row[1].split(":")[1], 16) == port}
        for number in range(1, len(self.listeners) + 1):
            with suppress(OSError, TypeError):
                folder = Path(f"/proc/{self.process(number)}/fd")
                for entry in folder.iterdir():
                    with suppress(OSError):
                        if str(entry.readlink()) in inodes:
                            return number
        return None
