"""A wire between client and server that can be cut at a moment of the test's choice."""

from __future__ import annotations

import socket
import threading
from typing import Literal

__all__ = ["Wire"]

Moment = Literal["before", "after", "hold", "pass"]


class Wire:
    """Passes bytes on; cuts the connection in which a COMMIT comes by, as often as it was asked to.

    Args:
        port: the server's, on 127.0.0.1.
    """

    def __init__(self, port: int):
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts: list[Moment] = []
        """When to cut the next COMMITs: before the server has them, or after it has done them; or they are held until
        `release`, with nobody there any more who wants to know; or they pass."""
        self.held: list[tuple[socket.socket, bytes]] = []
        self.is_up = True
        """False: new connections are refused."""
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_up:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            gate = _Gate()
            for source, target, way in ((client, server, self._to_server), (server, client, self._to_client)):
                thread = threading.Thread(target=way, args=(source, target, gate), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _to_server(self, client: socket.socket, server: socket.socket, gate: _Gate) -> None:
        while data := _received(client):
            if b"COMMIT\0" in data and self.cuts:
                moment = self.cuts.pop(0)
                if moment == "before":
                    break
                if moment == "hold":
                    self.held.append((server, data))
                    _cut(client)
                    return
                gate.is_cut = moment == "after"
            try:
                server.sendall(data)
            except OSError:
                break
            if gate.is_cut:
                gate.answered.wait(10)
                break
        _cut(client)
        _cut(server)

    def _to_client(self, server: socket.socket, client: socket.socket, gate: _Gate) -> None:
        while data := _received(server):
            if gate.is_cut:
                gate.answered.set()
                return
            try:
                client.sendall(data)
            except OSError:
                break
        _cut(client)

    def release(self) -> None:
        """The server gets what was held, and nothing more on these connections."""
        while self.held:
            server, data = self.held.pop()
            server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Cut everything that is connected now."""
        for one in self._sockets[1:]:
            _cut(one)

    def close(self) -> None:
        """Take it away."""
        _cut(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()


class _Gate:
    """What the two directions of one connection share."""

    def __init__(self) -> None:
        self.is_cut = False
        self.answered = threading.Event()


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


def _cut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
