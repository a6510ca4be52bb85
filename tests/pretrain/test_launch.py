"""How many processes train, by the environment that launchers leave."""

from types import SimpleNamespace

import accelerate
import pytest
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from autobert_zero.errors import UserError
from autobert_zero.pretrain.launch import launched

PLACE = ("MASTER_PORT", "RANK", "LOCAL_RANK")
"""What a launcher says of a process, besides the number of them."""


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "WORLD_SIZE",
        "PMI_SIZE",
        "OMPI_COMM_WORLD_SIZE",
        "MASTER_ADDR",
        "ACCELERATE_USE_CPU",
        *PLACE,
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("value", [None, "", " ", "1"])
def test_one_process(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("WORLD_SIZE", value)
    assert launched("cpu") is None


@pytest.mark.parametrize("value", ["two", "-1", "0", "1.5"])
def test_a_number_of_processes_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(UserError, match=r"WORLD_SIZE is .+ not a number of processes"):
        launched("cpu")


@pytest.mark.parametrize("value", ["True", "False"])
def test_a_launcher_that_started_one_of_several(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """`accelerate launch --num_processes 2`, with and without --cpu, leaves these, and no WORLD_SIZE."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", value)
    assert launched("cpu") is None
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(UserError, match="started one process where several were asked for"):
        launched("cpu")


@pytest.mark.parametrize("name", ["WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_accelerate_has_to_see_every_process(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given: dict[str, object] = {}

    def alone(**options: object) -> SimpleNamespace:
        given.update(options)
        return SimpleNamespace(num_processes=1, distributed_type=DistributedType.NO)

    monkeypatch.setattr(accelerate, "Accelerator", alone)
    monkeypatch.setenv(name, "2")
    with pytest.raises(UserError, match="2 processes were started, but Accelerate sees 1 on device 'cpu'"):
        launched("cpu")
    assert given["cpu"] is True


@pytest.mark.parametrize(
    ("environment", "cause"),
    [
        ({"RANK": "0", "LOCAL_RANK": "0"}, "MASTER_ADDR"),
        ({"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "http"}, "http"),
    ],
)
def test_processes_that_no_launcher_started(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], cause: str
) -> None:
    """As in a job of a scheduler that sets the number of processes only."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(UserError, match=f"cannot join them .*{cause}.* or unset WORLD_SIZE"):
            launched("cpu")
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("kind", "version", "message"),
    [
        (DistributedType.DEEPSPEED, 2, "cannot use DEEPSPEED"),
        (DistributedType.MEGATRON_LM, 2, "cannot use MEGATRON_LM"),
        (DistributedType.FSDP, 1, "needs FSDP version 2"),
    ],
)
def test_what_a_training_cannot_use(
    monkeypatch: pytest.MonkeyPatch, kind: DistributedType, version: int, message: str
) -> None:
    state = SimpleNamespace(fsdp_plugin=SimpleNamespace(fsdp_version=version))
    monkeypatch.setattr(
        accelerate,
        "Accelerator",
        lambda **options: SimpleNamespace(num_processes=2, distributed_type=kind, state=state),
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=message):
        launched("cpu")
