"""How the workers of a training find together before TensorFlow starts, which waits for a missing one without end.

Every worker says to the chief what it is about to do. When all have come, or the time is over, the chief answers them: what is
wrong, or that they may start, with the files of the run from which they go on. It is a line of JSON in each direction, on the
chief's port, which TensorFlow has afterwards.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from typing import BinaryIO, NamedTuple

from training.fitting.cluster import VARIABLE, Cluster

SECONDS = 30.0  # that workers wait for one another
MARGIN = 8.0  # longer, for those who wait for the chief's answer; also the time to take it
REACH = 5.0  # seconds for the chief to reach the workers that have come, each at its own address
GREETING = 1.0  # seconds in which a connection has to say what it wants
LINE = 1 << 20  # most bytes of a line
PAUSE = 0.2  # seconds between two attempts to reach the chief
SILENCE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}  # 30 s, after which a machine is taken to be gone

Facts = Mapping[str, str | int | float | bool | None]
Lines = Mapping[int, BinaryIO]


class Answer(NamedTuple):
    """What the chief says: what is wrong, if anything is, and what is known of the run, with its files by name."""

    trouble: str = ""
    trained: bool = False  # before: there is nothing to fit
    files: Mapping[str, bytes] = {}


def meet(cluster: Cluster, facts: Facts, answer: Answer, seconds: float = SECONDS) -> Answer:
    """As `met`, of whose connections none is kept."""
    with met(cluster, facts, answer, seconds) as (said, _):
        return said


@contextlib.contextmanager
def met(cluster: Cluster, facts: Facts, answer: Answer, seconds: float = SECONDS) -> Iterator[tuple[Answer, Lines]]:
    """Waits for all workers; a context with the chief's `answer`, for each of them, and with the connections over which it was
    given: those of the chief to all others, by their numbers, or that of another to the chief. The ports are free then.

    Args:
        facts: what must be the same on all workers, by name: versions, settings.
        answer: the chief's; that of others is not used.
        seconds: to wait; the limit for an error on every worker, with `MARGIN`.

    Raises:
        ValueError: workers that differ, or do not come; the trouble of the chief.
        OSError: this worker's port is in use.
    """
    facts = json.loads(json.dumps({**facts, f"addresses in {VARIABLE}": " ".join(cluster.addresses)}))
    with contextlib.ExitStack() as stack:
        with _listener(cluster) as listener:
            until = time.monotonic() + seconds
            if cluster.chief:
                answer, lines = _received(cluster, facts, answer, listener, until, stack)
            else:
                answer, lines = _asked(cluster, facts, until, stack)
        if answer.trouble:
            raise ValueError(answer.trouble)
        yield answer, lines


def _listener(cluster: Cluster) -> socket.socket:
    """The port of this worker, which must be free, whether or not anyone is to call it now."""
    dual = socket.has_dualstack_ipv6()
    try:
        family = socket.AF_INET6 if dual else socket.AF_INET
        return socket.create_server(("", cluster.port), family=family, dualstack_ipv6=dual)
    except OSError as error:  # whose own words name no worker
        place = f"port {cluster.port}, of worker {cluster.index} in {VARIABLE}"
        raise OSError(error.errno, os.strerror(error.errno), place) from None


# The chief


def _received(
    cluster: Cluster, facts: Facts, answer: Answer, listener: socket.socket, until: float, stack: contextlib.ExitStack
) -> tuple[Answer, Lines]:
    guests: dict[int, BinaryIO] = {}
    sockets: list[socket.socket] = []
    different: dict[int, str] = {}
    while len(guests) < len(cluster.addresses) - 1 and (left := until - time.monotonic()) > 0:
        listener.settimeout(left)
        with contextlib.suppress(TimeoutError, ConnectionError):
            guest = stack.enter_context(listener.accept()[0])
            index, said, stream = _greeted(guest)
            if index is None or not 0 < index < len(cluster.addresses):
                guest.close()
                continue
            if index in guests:
                _say(guests.pop(index), Answer(_trouble(f"each worker once in {VARIABLE}", f"worker {index} twice")))
            guests[index], different[index] = stream, difference(facts, said)
            sockets.append(guest)
    if not answer.trouble:
        answer = answer._replace(trouble=_refusal(cluster, guests, different) or _astray(cluster, guests))
    gone = [index for index, stream in guests.items() if not _say(stream, answer)]
    if gone and not answer.trouble:
        answer = Answer(_trouble("all workers to start", f"worker {gone[0]}, which has ended before"))
    for stream in guests.values():  # the last word: without it they do not start
        with contextlib.suppress(OSError):
            stream.write(b"\n" if not answer.trouble else b"")
            stream.flush()
    for stream in guests.values():
        stack.callback(_close, stream)
    for guest in sockets:
        _keep(guest, stack)
    return answer, guests


def _greeted(guest: socket.socket) -> tuple[int | None, Facts, BinaryIO]:
    """The number of a worker that calls, and what it says; None for a caller of another kind."""
    guest.settimeout(GREETING)
    stream = guest.makefile("rwb")
    try:
        said = json.loads(stream.readline(LINE))
        guest.settimeout(MARGIN)  # files take longer
        return int(said["index"]), dict(said["facts"]), stream
    except (OSError, ValueError, TypeError, KeyError):
        return None, {}, stream


def difference(facts: Facts, said: Facts) -> str:
    """What a worker says otherwise than the chief; empty if nothing."""
    names = [name for name in {**facts, **said} if facts.get(name) != said.get(name)]
    return ", ".join(f"{name} {said.get(name)}, not {facts.get(name)}" for name in names[:5])


def _refusal(cluster: Cluster, guests: Mapping[int, BinaryIO], different: Mapping[int, str]) -> str:
    if differing := [f"worker {index} with {text}" for index, text in sorted(different.items()) if text]:
        expected, advice = "the same installation and experiment on all workers", "the same packages and command everywhere"
        return _trouble(expected, "; ".join(differing), advice)
    missing = [f"worker {index} ({place})" for index, place in enumerate(cluster.addresses) if index and index not in guests]
    return _trouble("all workers to come in time", f"nothing from {', '.join(missing)}") if missing else ""


def _astray(cluster: Cluster, guests: Collection[int]) -> str:
    """Which of the workers that have come, and listen, is not to be reached at its address, where others would wait for it."""
    until = time.monotonic() + REACH  # for all of them: it may take a while until a name is known everywhere
    for index in sorted(guests):
        reason = "too late"
        while (left := until - time.monotonic()) > 0:
            try:
                _called(cluster.addresses[index], left).close()
                break
            except OSError as error:
                reason = _reason(error)
                time.sleep(PAUSE)
        else:
            received = f"no way to worker {index} at {cluster.addresses[index]} ({reason})"
            return _trouble("addresses at which workers reach one another", received, f"other addresses in {VARIABLE}")
    return ""


def _say(stream: BinaryIO, answer: Answer) -> bool:
    """Sends the chief's answer; returns whether it has been understood."""
    sizes = {name: len(content) for name, content in answer.files.items()}
    try:
        stream.write(json.dumps({"trouble": answer.trouble, "trained": answer.trained, "sizes": sizes}).encode() + b"\n")
        for content in answer.files.values():
            stream.write(content)
        stream.flush()
        return stream.readline(LINE) == b"\n"
    except OSError:
        return False


# The others


def _asked(cluster: Cluster, facts: Facts, until: float, stack: contextlib.ExitStack) -> tuple[Answer, Lines]:
    reason = "too late"
    while time.monotonic() < until:
        try:
            with contextlib.ExitStack() as call:
                answer, stream = _answered(cluster, facts, until, call)
                stack.enter_context(call.pop_all())
                return answer, {0: stream}
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = _reason(error)
        time.sleep(PAUSE)
    return Answer(_trouble("the chief to come in time", f"no answer at {cluster.addresses[0]} ({reason})")), {}


def _answered(cluster: Cluster, facts: Facts, until: float, call: contextlib.ExitStack) -> tuple[Answer, BinaryIO]:
    """What the chief says, and the connection to it. Whatever else answers there, such as an earlier training that is about to
    end, is none, and raises an error of any kind."""
    left = max(PAUSE, until - time.monotonic())
    connection = call.enter_context(_called(cluster.addresses[0], left))
    connection.settimeout(left + MARGIN)
    stream = connection.makefile("rwb")
    call.callback(_close, stream)
    stream.write(json.dumps({"index": cluster.index, "facts": facts}).encode() + b"\n")
    stream.flush()
    said = json.loads(stream.readline(LINE))
    contents = {name: stream.read(size) for name, size in said["sizes"].items()}
    stream.write(b"\n")
    stream.flush()
    if not said["trouble"] and stream.readline(LINE) != b"\n":
        raise ConnectionError("it has ended")
    _keep(connection, call)
    return Answer(said["trouble"], said["trained"], contents), stream


# All


def _called(address: str, seconds: float) -> socket.socket:
    """A connection to a worker."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), seconds)


def _reason(error: Exception) -> str:
    """Why a worker cannot be reached, in a few words."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else "what answers is no worker"


def _keep(connection: socket.socket, stack: contextlib.ExitStack) -> None:
    """Lets a connection wait for as long as the other side, and its machine, are there. In the end it is shut down, which also
    ends a thread that reads from it.
    """
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in SILENCE.items():
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    stack.callback(_shut_down, connection)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side is gone
        connection.shutdown(socket.SHUT_RDWR)


def _close(stream: BinaryIO) -> None:
    with contextlib.suppress(OSError):  # what it still held cannot be sent
        stream.close()


def _trouble(expected: str, received: str, advice: str = f"starting all of them at once, each with its own {VARIABLE}") -> str:
    return f"Expected {expected}. Received: {received}. Try {advice}."
