"""A transaction pooler, small: each transaction of a client runs on another connection to the server than the last.

What a client leaves behind on a connection is then somebody else's, and what it expects to find is not there. As with
pgbouncer in transaction mode, prepared statements are passed on as they are, and `options` are refused.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from queue import SimpleQueue

__all__ = ["Pooler"]

_PROTOCOL_3 = 196608
_REQUESTS = {80877103, 80877104}
"""For TLS or GSS encryption, which it has not."""
_ANSWER_S = 30


class _Connection:
    """Messages of PostgreSQL's protocol on a socket."""

    def __init__(self, one: socket.socket):
        self.socket = one
        one.settimeout(_ANSWER_S)
        self._file = one.makefile("rb")

    def startup(self) -> bytes:
        """The first packet of a client; empty when it has gone."""
        while len(head := self._file.read(8)) == 8:
            length, code = struct.unpack(">ii", head)
            if code not in _REQUESTS:
                return head + self._file.read(length - 8)
            self.socket.sendall(b"N")
        return b""

    def until(self, kinds: bytes) -> tuple[bytes, bytes]:
        """Messages up to one of these kinds, and that one's last byte; empty when the other side has gone."""
        found = b""
        while len(head := self._file.read(5)) == 5:
            body = self._file.read(struct.unpack(">i", head[1:])[0] - 4)
            found += head + body
            if head[:1] in (kinds[place : place + 1] for place in range(len(kinds))):
                return found, body[-1:]
        return b"", b""

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Pooler:
    """Listens on 127.0.0.1.

    Args:
        port: the server's; it lets everybody in.
        size: connections to it.
    """

    def __init__(self, port: int, size: int = 6):
        self._server = port
        self._size = size
        self._starting = threading.Lock()
        self._greeting = b""
        self._free: SimpleQueue[_Connection] = SimpleQueue()
        self._clients: list[_Connection] = []
        self.used: list[list[int]] = []
        """For each client, the connection that each of its transactions had."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(_Connection(client),))
            self._threads.append(thread)
            thread.start()

    def _connect(self, startup: bytes) -> None:
        connection = _Connection(socket.create_connection(("127.0.0.1", self._server)))
        connection.socket.sendall(startup)
        self._greeting, _ = connection.until(b"Z")
        self._free.put(connection)

    def _serve(self, client: _Connection) -> None:
        self._clients.append(client)
        with suppress(OSError, ValueError):  # one of them has gone
            startup = client.startup()
            if not startup or b"\0options\0" in startup:
                return
            with self._starting:
                while self._free.qsize() < self._size and not self._greeting:
                    for _ in range(self._size):
                        self._connect(startup)
            client.socket.sendall(self._greeting)
            self._transactions(client, startup)
        client.close()

    def _transactions(self, client: _Connection, startup: bytes) -> None:
        used: list[int] = []
        self.used.append(used)
        server: _Connection | None = None
        try:
            while True:
                asked, _ = client.until(b"QSX")
                if not asked or asked[:1] == b"X":
                    return
                if server is None:
                    server = self._free.get()
                    used.append(id(server))
                server.socket.sendall(asked)
                answer, status = server.until(b"Z")
                if not answer:
                    return
                if status == b"I":
                    self._free.put(server)
                    server = None
                client.socket.sendall(answer)
        finally:
            if server is not None:  # somebody left in the middle of a transaction
                server.close()
                self._connect(startup)

    def ask_all(self, statement: bytes) -> list[bytes]:
        """The answer of each connection, as the server sent it."""
        answers = []
        for _ in range(self._size):
            connection = self._free.get(timeout=_ANSWER_S)
            connection.socket.sendall(b"Q" + struct.pack(">i", len(statement) + 5) + statement + b"\0")
            answers.append(connection.until(b"Z")[0])
            self._free.put(connection)
        return answers

    def close(self) -> None:
        """Take it away."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            with suppress(OSError):
                client.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_ANSWER_S)
        while not self._free.empty():
            self._free.get().close()
