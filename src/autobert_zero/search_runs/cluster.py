"""The client of a Ray cluster, which runs in a process of its own.

Ray ends the process that talks to a cluster when the head node has been gone for a minute, prints what it
likes, and waits forever where only a part of the cluster died. The search must survive to say what happened.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autobert_zero.devices import release_cached_memory, threads
from autobert_zero.errors import UserError
from autobert_zero.training.pool import Report, WorkerDied

_RETRIES = 2
"""Number of times that Ray repeats a task whose worker or node died."""

_PATIENCE = 10.0
"""Number of seconds in which a cluster has to answer."""

_CHECKS = 3
"""Failed checks in a row after which a cluster counts as lost."""

_BETWEEN = 5.0
"""Seconds between two checks."""


def cluster_lost(address: str) -> UserError:
    """The message about a cluster that no longer answers."""
    return UserError(
        f"the Ray cluster {address} was lost: its head node, or Ray on this machine, no longer answers; all "
        "recorded trials are kept, continue with --resume when the cluster is there again"
    )


def connect(address: str, gpu_share: float, report: Report) -> None:
    """Connects this process to a cluster.

    Args:
        address: Address as `ray.init` accepts it; `local` starts a cluster on this machine.
        gpu_share: Share of a GPU that each task asks for, if the cluster has GPUs; 0: none.
        report: Unused.

    Raises:
        UserError: The cluster cannot be reached.
    """
    global _client
    silent = os.open(os.devnull, os.O_WRONLY)  # Ray's own processes and threads print here, too
    for stream in (1, 2):
        os.dup2(silent, stream)
    try:
        _client = _Client(address, gpu_share)
    except (OSError, ValueError, RuntimeError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        refused = "Failed to connect to Ray cluster" in cause  # it answered `_check_answers`
        hint = "; is it of this version of Ray, and does this machine have its token?" if refused else ""
        raise UserError(f"the Ray cluster {address} cannot be reached: {cause}{hint}") from None


def ask(method: str, arguments: tuple[Any, ...], report: Report) -> Any:
    """Calls a method of the connected client: `submit`, `take` or `close`; see `_Client`."""
    assert _client is not None, "connect comes first"
    return getattr(_client, method)(*arguments)


class _Client:
    """The connection of this process to a cluster; see `connect` for the arguments."""

    def __init__(self, address: str, gpu_share: float) -> None:
        import ray

        self._ray = ray
        self._address = address
        _check_answers(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        self._gpu_share = gpu_share if ray.cluster_resources().get("GPU", 0) > 0 else 0.0
        resources = [node["Resources"] for node in ray.nodes()]
        # A task that asks for more cores than any node has would wait forever.
        self._cores = max(1, *(int(each.get("CPU", 0)) for each in resources))
        # A process stays on the GPU that its first task used, whichever Ray gives to its next.
        several = self._gpu_share > 0 and any(each.get("GPU", 0) > 1 for each in resources)
        reuse = {"max_calls": 1} if several else {}
        self._task = ray.remote(max_retries=_RETRIES, **reuse)(_on_node)
        self._running: dict[Any, int] = {}

    def close(self) -> None:
        """Leaves the cluster, and ends one that `connect` started."""
        self._ray.shutdown()

    def submit(
        self,
        function: Callable[..., Any],
        first: tuple[Any, ...],
        snapshot: Path | None,
        calls: Sequence[tuple[Any, ...]],
        number: int,
    ) -> None:
        """Sends calls to the cluster, in place of those before.

        Args:
            function: Function that the nodes can import.
            first: The arguments with which all calls begin.
            snapshot: A file whose content, as bytes, comes after them; it is sent once.
            calls: The other arguments of each call.
            number: Number of PyTorch's threads for each call.
        """
        task = self._task.options(**self._needs(number))
        shared = () if snapshot is None else (self._ray.put(snapshot.read_bytes()),)
        self._running = {
            task.remote(number, function, *first, *shared, *call): index for index, call in enumerate(calls)
        }

    def _needs(self, number: int) -> dict[str, float]:
        """The resources that a task asks for: a share of a GPU, or a number of cores."""
        if self._gpu_share:
            return {"num_gpus": self._gpu_share}
        return {"num_cpus": min(number, self._cores)}

    def take(self) -> tuple[int, Any]:
        """Waits for any of the calls.

        Returns:
            The index of the call, and what it returned, or a `WorkerDied`.

        Raises:
            UserError: The cluster was lost, the nodes do not have this package, or the call raised it.
        """
        errors = self._ray.exceptions
        done = self._wait()
        index = self._running.pop(done)
        try:
            return index, self._ray.get(done)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError) as error:
            cause = str(error).splitlines()[0]
            return index, WorkerDied(f"its worker died {_RETRIES + 1} times: {cause}")
        except (ModuleNotFoundError, errors.RaySystemError) as error:
            if "No module named 'autobert_zero" not in str(error):
                raise RuntimeError(str(error)) from None
            raise UserError(
                "the nodes of the Ray cluster cannot import autobert_zero; install this version of the "
                "package on all of them"
            ) from None
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(f"on a node of the Ray cluster: {error.cause}") from None
            raise RuntimeError(str(error)) from None  # Ray's own kinds do not travel between processes

    def _wait(self) -> Any:
        """The first call that ended."""
        dead = 0
        while dead < _CHECKS:
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_BETWEEN)
            if done:
                return done[0]
            dead = 0 if self._alive() else dead + 1
        raise cluster_lost(self._address)

    def _alive(self) -> bool:
        """Whether the head node answers, and knows Ray on this machine as alive."""
        context = self._ray.get_runtime_context()
        client = self._address.startswith("ray://")  # Ray on the head node speaks for this machine
        try:
            _check_answers(self._address if client else context.gcs_address)
        except OSError:
            return False
        own = context.get_node_id()
        return client or any(node["Alive"] for node in self._ray.nodes() if node["NodeID"] == own)


_client: _Client | None = None


def _on_node(number: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Makes a call on a node."""
    with threads(number):
        result = function(*arguments)
    release_cached_memory()  # others may compute on the same GPU
    return result


def _check_answers(address: str) -> None:
    """Connects to an address of the form host:port; Ray itself waits for minutes if there is no answer.

    Raises:
        OSError: There is no answer.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()
