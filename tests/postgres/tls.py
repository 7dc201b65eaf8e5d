"""A wire that speaks TLS to the client and nothing of it to the server, whose binaries may not know it."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from contextlib import suppress
from pathlib import Path

__all__ = ["CERTIFICATES", "TlsWire"]

CERTIFICATES = Path(__file__).parent / "certificates"
_SSL_REQUEST = struct.pack(">ii", 8, 80877103)
_GSS_REQUEST = struct.pack(">ii", 8, 80877104)


class TlsWire:
    """Ends TLS in front of a server, as a load balancer would.

    Args:
        port: the server's, on 127.0.0.1.
        certificate: a file of the folder `certificates`, with a key.
    """

    def __init__(self, port: int, certificate: str):
        self._port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTIFICATES / certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.secure, self.plain, self.passed_on = 0, 0, 0
        """Connections with TLS, without it, and bytes that the server got."""
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(10)
            first = client.recv(8, socket.MSG_WAITALL)
            while first == _GSS_REQUEST:
                client.sendall(b"N")
                first = client.recv(8, socket.MSG_WAITALL)
            if first != _SSL_REQUEST:
                self.plain += bool(first)
                return
            client.sendall(b"S")
            with self._context.wrap_socket(client, server_side=True) as secure:
                self.secure += 1
                self._pass_on(secure)

    def _pass_on(self, client: ssl.SSLSocket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            while not self._ended.is_set():
                ready = [client] if client.pending() else select.select([client, server], [], [], 0.1)[0]
                for source, target in ((client, server), (server, client)):
                    if source in ready:
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        target.sendall(data)
                        self.passed_on += len(data) if target is server else 0

    def close(self) -> None:
        """Take it away."""
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)
