"""Asking a server, with a bound on how long that takes."""

import http.client
import queue
import threading
import urllib.request

# What a request can fail with.
NETWORK_ERRORS = (OSError, http.client.HTTPException)


def ask(url: str, seconds: float) -> None:
    """Return if the server answers soon.

    Name resolution has no timeout, and a connection tries each of a server's addresses in turn:
    where a firewall swallows packets that takes minutes. A thread bounds all of it together.

    Args:
        url: asked for by HEAD.
        seconds: to wait at most.

    Raises:
        OSError, http.client.HTTPException: no answer, or another than success.
    """
    answer: queue.SimpleQueue = queue.SimpleQueue()

    def request() -> None:
        try:
            head = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(head, timeout=seconds).close()
            answer.put(None)
        except NETWORK_ERRORS as error:
            answer.put(error)
        except ValueError as error:  # it sends us on to what is no address
            answer.put(http.client.HTTPException(f"an answer that cannot be read: {error}"))

    threading.Thread(target=request, daemon=True).start()
    try:
        error = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
