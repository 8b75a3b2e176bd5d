"""The processes of a training over several machines, as `TF_CONFIG` in the environment names them."""

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

VARIABLE = "TF_CONFIG"
EXAMPLE = """'{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'"""


class Cluster(NamedTuple):
    """The addresses `host:port` of all workers, the chief first, and which of them this process is.

    Only the chief, worker 0, reads and writes the folder of a run.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def chief(self) -> bool:
        return self.index == 0

    @property
    def port(self) -> int:
        """The port of this worker."""
        return _port(self.addresses[self.index])


def described(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster that an environment describes; None if it describes none, or one of a single worker.

    Raises:
        ValueError: something else than JSON; a task that the cluster does not have; an address without a port, or one that two
            workers share; tasks of other types, such as parameter servers.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = json.loads(text)
        tasks = {kind: list(addresses) for kind, addresses in value.get("cluster", {}).items() if addresses}
        kind, number = (value["task"]["type"], int(value["task"]["index"])) if tasks else ("", 0)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        reason = f"{text[:200]!r} ({type(error).__name__}: {error})"
        raise _unexpected(f"JSON with a cluster and a task in {VARIABLE}", reason) from None
    if not tasks:
        return None
    order = [name for name in ("chief", "worker") if name in tasks]
    if others := sorted(tasks.keys() - set(order)):
        raise _unexpected(f"tasks of the types chief and worker in {VARIABLE}", ", ".join(others))
    addresses = [address for name in order for address in tasks[name]]
    _require_addresses(addresses)
    if kind not in tasks or not 0 <= number < len(tasks[kind]):
        raise _unexpected(f"a task of the cluster in {VARIABLE}", f"{kind} {number}, of {', '.join(addresses)}")
    before = sum(len(tasks[name]) for name in order[: order.index(kind)])
    return Cluster(tuple(addresses), before + number) if len(addresses) > 1 else None


def _require_addresses(addresses: list) -> None:
    for number, address in enumerate(addresses):
        if not isinstance(address, str) or not 0 < _port(address) < 65536:
            raise _unexpected(f"addresses host:port in {VARIABLE}", repr(address))
        if address in addresses[:number]:
            raise _unexpected(f"an address of its own for each worker in {VARIABLE}", f"{address} twice")


def _port(address: str) -> int:
    host, _, port = address.rpartition(":")
    return int(port) if host and port.isascii() and port.isdecimal() else 0


def _unexpected(expected: str, received: str) -> ValueError:
    return ValueError(f"Expected {expected}. Received: {received}. Try {VARIABLE}={EXAMPLE}.")
