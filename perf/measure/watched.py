"""A run that is watched as hard as it is meant to be: its page is open, and Prometheus scrapes it every second."""

import http.client
import socket
import threading
from contextlib import contextmanager, suppress

EVERY = 1.0
AGAIN = 0.1


@contextmanager
def watched():
    """Yields the settings with which a run is watched; what it serves is read until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    over = threading.Event()
    watchers = [threading.Thread(target=watch, args=(port, over)) for watch in (scrape, listen)]
    for watcher in watchers:
        watcher.start()
    try:
        yield ("--set", f"monitoring.listen=127.0.0.1:{port}")
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()


def scrape(port, over):
    while not over.wait(EVERY):
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=EVERY)
            connection.request("GET", "/metrics")
            connection.getresponse().read()
            connection.close()


def listen(port, over):
    """Reads the events as a browser does; a stream that is over, or not there yet, is opened again."""
    while not over.wait(AGAIN):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2 * EVERY) as stream:
            stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while not over.is_set() and stream.recv(1 << 20):
                pass
