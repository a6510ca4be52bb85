"""How many processes train, by the environment that launchers leave."""

from pathlib import Path
from types import SimpleNamespace

import accelerate
import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy, transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.pretrain import launch
from autobert_zero.pretrain.launch import set_up_accelerator
from autobert_zero.space import Backbone
from autobert_zero.training.loop import Recipe, make_optimizer
from autobert_zero.training.precision import gradient_scaler
from autobert_zero.training.update import update_unless

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
    assert set_up_accelerator("cpu") is None


@pytest.mark.parametrize("value", ["two", "-1", "0", "1.5"])
def test_a_number_of_processes_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(UserError, match=r"WORLD_SIZE is .+ not a number of processes"):
        set_up_accelerator("cpu")


@pytest.mark.parametrize("value", ["True", "False"])
def test_a_launcher_that_started_one_of_several(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """`accelerate launch --num_processes 2`, with and without --cpu, leaves these, and no WORLD_SIZE."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", value)
    assert set_up_accelerator("cpu") is None
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(UserError, match="started one process where several were asked for"):
        set_up_accelerator("cpu")


@pytest.mark.parametrize("name", ["WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_accelerate_has_to_see_every_process(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given: dict[str, object] = {}

    def alone(**options: object) -> SimpleNamespace:
        given.update(options)
        return SimpleNamespace(num_processes=1, distributed_type=DistributedType.NO)

    monkeypatch.setattr(accelerate, "Accelerator", alone)
    monkeypatch.setenv(name, "2")
    with pytest.raises(UserError, match="2 processes were started, but Accelerate sees 1 on device 'cpu'"):
        set_up_accelerator("cpu")
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
    AcceleratorState._reset_state(reset_partial_state=True)  # of trainings of earlier tests
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(UserError, match=f"cannot join them .*{cause}.* or unset WORLD_SIZE"):
            set_up_accelerator("cpu")
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("device", "rank", "cards", "expected"),
    [
        ("auto", "1", 2, [1, "cuda:1"]),
        ("cuda", "0", 2, [0, "cuda:0"]),
        ("cuda", "5", 4, [1, "cuda:1"]),
        ("auto", "1", 0, ["auto"]),
        ("cpu", "1", 2, ["cpu"]),
        ("cuda", None, 2, ["cuda"]),
    ],
)
def test_each_process_opens_its_own_card_first(
    monkeypatch: pytest.MonkeyPatch, device: str, rank: str | None, cards: int, expected: list[object]
) -> None:
    opened: list[object] = []

    def find(name: str) -> SimpleNamespace:
        opened.append(name)
        return SimpleNamespace(type="cuda")

    monkeypatch.setattr(launch, "card_count", lambda: cards)
    monkeypatch.setattr(launch, "find_device", find)
    monkeypatch.setattr(torch.cuda, "set_device", opened.append)
    alone = SimpleNamespace(num_processes=2, distributed_type=DistributedType.MULTI_GPU)
    monkeypatch.setattr(accelerate, "Accelerator", lambda **options: alone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert set_up_accelerator(device) is alone
    assert opened == expected


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
        set_up_accelerator("cpu")


@pytest.mark.parametrize("policy", [None, transformer_auto_wrap_policy, size_based_auto_wrap_policy])
def test_weights_are_divided_by_layers_where_the_config_names_no_other_way(
    monkeypatch: pytest.MonkeyPatch, policy: object
) -> None:
    plugin = SimpleNamespace(fsdp_version=2, auto_wrap_policy=policy, transformer_cls_names_to_wrap=["Other"])
    made = SimpleNamespace(
        num_processes=2, distributed_type=DistributedType.FSDP, state=SimpleNamespace(fsdp_plugin=plugin)
    )
    monkeypatch.setattr(accelerate, "Accelerator", lambda **options: made)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert set_up_accelerator("cpu") is made
    assert plugin.auto_wrap_policy is (policy or transformer_auto_wrap_policy)
    assert plugin.transformer_cls_names_to_wrap == (["Other"] if policy else ["EncoderLayer"])


@pytest.mark.slow
def test_a_model_that_is_compiled_before_it_is_shared_has_a_graph_for_each_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So gradients of one graph are exchanged while those of another are computed."""
    monkeypatch.setattr(distributed, "_DEFAULT_FIRST_BUCKET_BYTES", 1000)
    graphs: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = MaskedLM(Backbone.from_list(["conv 3"] * 4), EncoderConfig(100, 32, 2, max_positions=16))
        model.compile(backend=backend)
        shared = DistributedDataParallel(model, bucket_cap_mb=0.02)
        shared(torch.randint(100, (2, 16)), torch.tensor([1, 5])).sum().backward()
    finally:
        distributed.destroy_process_group()
    assert len(graphs) > 4


@pytest.mark.slow
def test_an_update_of_divided_weights_can_be_left_out(tmp_path: Path) -> None:
    """The flag of a card that runs ahead is a plain tensor, the weights are those of FSDP."""

    def whole(tensor: torch.Tensor) -> torch.Tensor:
        assert isinstance(tensor, DTensor)
        return tensor.full_tensor().clone()

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = nn.Linear(4, 4)
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        optimizer = make_optimizer(model, Recipe(2, learning_rate=0.1))
        updates = []
        for stopped in (0.0, 1.0):
            model(torch.ones(2, 4)).sum().backward()
            norm = clip_grad_norm_(model.parameters(), 1.0)
            scaler = gradient_scaler("fp32", torch.device("cpu"))
            before = whole(model.weight)
            update_unless(optimizer, torch.tensor(stopped), whole(norm), None, scaler)
            updates.append(not torch.equal(whole(model.weight), before))
            optimizer.zero_grad()
    finally:
        distributed.destroy_process_group()
    assert updates == [True, False]
    assert {state["step"].item() for state in optimizer.state.values()} == {1.0}
