"""Bi-branch weight sharing: what is inherited, what is written back, what stays."""

from random import Random
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_samples import SMALL, backbone_of, layers_of, seeds
from torch import Tensor

from autobert_zero.nn import EncoderConfig, MaskedLM, Trained, WeightBank
from autobert_zero.space import INPUTS, KERNEL_SIZES, Backbone

LAYERS = 3
WIDTH = SMALL.width


def _bank(seed: int = 0) -> WeightBank:
    torch.manual_seed(seed)
    bank = WeightBank(SMALL, LAYERS)
    for tensor in bank.tensors.values():  # biases and norms too, so that every entry is told apart
        tensor.normal_(generator=torch.Generator().manual_seed(seed))
    return bank


def _copy(bank: WeightBank) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in bank.tensors.items()}


def _candidate(bank: WeightBank, backbone: Backbone) -> MaskedLM:
    model = MaskedLM(backbone, SMALL)
    bank.inherit(model)
    return model


def _train_a_step(model: MaskedLM) -> None:
    """Moves every weight; AdamW's decay reaches those without gradient too."""
    ids = torch.randint(SMALL.vocab_size, (2, 70))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    model(ids, torch.arange(140)).square().sum().backward()
    optimizer.step()


def _update(model: MaskedLM, optimizer: torch.optim.Optimizer, step: int) -> None:
    ids = torch.randint(SMALL.vocab_size, (2, 70), generator=torch.Generator().manual_seed(step))
    optimizer.zero_grad()
    model(ids, torch.arange(140)).square().sum().backward()
    optimizer.step()


def test_the_bank_holds_both_branches_at_their_largest() -> None:
    bank = _bank()
    for layer in range(LAYERS):
        prefix = f"encoder.layers.{layer}."
        assert bank.tensors[prefix + "attention.projection.weight"].shape == (4 * WIDTH, WIDTH)
        assert bank.tensors[prefix + "attention.output.weight"].shape == (WIDTH, WIDTH)
        assert bank.tensors[prefix + "convolution.projection.weight"].shape == (2 * WIDTH, WIDTH)
        assert bank.tensors[prefix + "convolution.kernel"].shape == (SMALL.heads, max(KERNEL_SIZES))
        assert bank.tensors[prefix + "convolution.output.weight"].shape == (WIDTH, WIDTH)


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_inherit_then_absorb_is_the_identity(seed: int) -> None:
    bank = _bank()
    before = _copy(bank)
    bank.absorb(Trained.of(_candidate(bank, backbone_of(seed, LAYERS))))
    assert before.keys() == bank.tensors.keys()
    assert all(torch.equal(before[name], bank.tensors[name]) for name in before)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_absorb_then_inherit_hands_the_trained_weights_on(seed: int) -> None:
    bank, backbone = _bank(), backbone_of(seed, LAYERS)
    model = _candidate(bank, backbone)
    _train_a_step(model)
    bank.absorb(Trained.of(model))
    heir = _candidate(bank, backbone)
    theirs = dict(model.named_parameters())
    assert all(torch.equal(parameter, theirs[name]) for name, parameter in heir.named_parameters())


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_what_is_not_used_stays_and_what_is_used_moves(seed: int) -> None:
    backbone = backbone_of(seed, LAYERS)
    bank = _bank()
    before = _copy(bank)
    model = _candidate(bank, backbone)
    _train_a_step(model)
    bank.absorb(Trained.of(model))
    for name, tensor in bank.tensors.items():
        used = torch.ones_like(tensor, dtype=torch.bool)
        if name.startswith("encoder.layers."):
            layer = backbone.layers[int(name.split(".")[2])]
            graph = getattr(layer, "graph", None)
            kernel = getattr(layer, "kernel", None)
            if ".attention." in name:
                used[:] = graph is not None
            if ".attention.projection." in name and graph is not None:
                for index, source in enumerate(INPUTS):
                    used[index * WIDTH : (index + 1) * WIDTH] = source in graph.inputs
            if ".convolution." in name:
                used[:] = kernel is not None
            if name.endswith(".convolution.kernel") and kernel is not None:
                used[:, : (65 - kernel) // 2] = False
                used[:, (65 + kernel) // 2 :] = False
        assert torch.equal(tensor[~used], before[name][~used]), name
        assert not (tensor == before[name])[used].any(), name


def test_adam_goes_on_where_another_candidate_left_it() -> None:
    """Two candidates in turn, of the same backbone, are one model trained without a break."""
    backbone = backbone_of(11, LAYERS)
    bank = _bank()
    whole = MaskedLM(backbone, SMALL)
    bank.inherit(whole)
    unbroken = torch.optim.AdamW(whole.parameters(), lr=0.01)
    for step in range(4):
        _update(whole, unbroken, step)
    for start in (0, 2):
        heir = MaskedLM(backbone, SMALL)
        optimizer = torch.optim.AdamW(heir.parameters(), lr=0.01)
        bank.inherit(heir, optimizer)
        for step in (start, start + 1):
            _update(heir, optimizer, step)
        bank.absorb(Trained.of(heir, optimizer))
    assert bank.updates == 4
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, dict(heir.named_parameters())[name]), name


def test_what_is_not_used_keeps_its_moments() -> None:
    bank = _bank()
    for moments in bank.moments.values():
        for tensor in moments.values():
            tensor.uniform_(generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in bank.state().items()}
    heir = MaskedLM(Backbone.parse("Q + V\nconv 9\nconv 65"), SMALL)
    optimizer = torch.optim.AdamW(heir.parameters(), lr=0.01)
    bank.inherit(heir, optimizer)
    _update(heir, optimizer, 0)
    bank.absorb(Trained.of(heir, optimizer))
    for key in ("exp_avg", "exp_avg_sq"):
        old, new = (
            state[f"{key}/encoder.layers.0.attention.projection.weight"] for state in (before, bank.state())
        )
        assert not (old == new)[:WIDTH].any()  # Q
        assert torch.equal(old[WIDTH : 2 * WIDTH], new[WIDTH : 2 * WIDTH])  # K
        assert torch.equal(old[3 * WIDTH :], new[3 * WIDTH :])  # P
        old, new = (state[f"{key}/encoder.layers.1.convolution.kernel"] for state in (before, bank.state()))
        assert torch.equal(old[:, :28], new[:, :28])
        assert not (old == new)[:, 28:37].any()


def test_the_state_is_the_bank() -> None:
    bank, other = _bank(1), _bank(2)
    bank.updates = 7
    other.load_state(bank.state())
    assert other.updates == 7
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in bank.state().items())
    with pytest.raises(ValueError, match="other sizes"):
        other.load_state(WeightBank(SMALL, LAYERS + 1).state())


@pytest.mark.parametrize("kernel", KERNEL_SIZES)
def test_a_kernel_is_the_centre_of_65(kernel: int) -> None:
    bank = _bank()
    model = _candidate(bank, Backbone.parse(f"conv {kernel}\n" * LAYERS))
    whole = bank.tensors["encoder.layers.1.convolution.kernel"]
    margin = (65 - kernel) // 2
    own = layers_of(model)[1].convolution.kernel
    assert own.shape == (SMALL.heads, kernel)
    assert torch.equal(own, whole[:, margin : 65 - margin])
    assert torch.equal(own[:, kernel // 2], whole[:, 32])


@pytest.mark.parametrize(
    ("formula", "inputs"),
    [
        ("Q + V", "QV"),
        ("V + Q", "QV"),
        ("K + P", "KP"),
        ("softmax(P @ Q.T) @ V", "QVP"),
        ("softmax(P @ K.T) @ (Q + V)", "QKVP"),
    ],
)
def test_inputs_take_the_rows_of_their_names(formula: str, inputs: str) -> None:
    bank = _bank()
    attention = layers_of(_candidate(bank, Backbone.parse("\n".join([formula] * LAYERS))))[2].attention
    assert "".join(attention.inputs) == inputs
    for part in ("weight", "bias"):
        rows = bank.tensors[f"encoder.layers.2.attention.projection.{part}"].split(WIDTH)
        expected = torch.cat([rows[INPUTS.index(name)] for name in inputs])
        assert torch.equal(getattr(attention.projection, part), expected)


def test_a_sub_network_is_the_extracted_model() -> None:
    """The candidate computes what the bank's branches compute with everything else cut away."""
    bank = _bank()
    with torch.no_grad():
        for tensor in bank.tensors.values():
            tensor.mul_(0.2)
    model = _candidate(bank, Backbone.parse("softmax(scale(V @ Q.T)) @ P\nconv 3\nK + P")).double()
    x = torch.randn(2, 9, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def shared(layer: int, name: str) -> Tensor:
        return bank.tensors[f"encoder.layers.{layer}.{name}"].double()

    def project(layer: int) -> dict[str, Tensor]:
        """All four projections, per head (B, H, n, d_h)."""
        weight, bias = (shared(layer, f"attention.projection.{part}") for part in ("weight", "bias"))
        heads = (x @ weight.T + bias).view(2, 9, 4, SMALL.heads, -1).permute(2, 0, 3, 1, 4)
        return dict(zip(INPUTS, heads, strict=True))

    def output(layer: int, branch: str, mixed: Tensor) -> Tensor:
        return mixed @ shared(layer, f"{branch}.output.weight").T + shared(layer, f"{branch}.output.bias")

    q, _, v, p = project(0).values()
    mixed = ((v @ q.mT / (WIDTH / SMALL.heads) ** 0.5).softmax(-1) @ p).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layers_of(model)[0].attention(x, None), output(0, "attention", mixed))

    _, k, _, p = project(2).values()
    mixed = (k + p).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layers_of(model)[2].attention(x, None), output(2, "attention", mixed))

    weight, bias = (shared(1, f"convolution.projection.{part}") for part in ("weight", "bias"))
    gated = torch.nn.functional.glu(x @ weight.T + bias, -1)
    kernel = shared(1, "convolution.kernel")[:, 31:34].softmax(-1).repeat_interleave(WIDTH // SMALL.heads, 0)
    mixed = torch.nn.functional.conv1d(gated.mT, kernel[:, None], padding=1, groups=WIDTH).mT
    torch.testing.assert_close(layers_of(model)[1].convolution(x, None), output(1, "convolution", mixed))


def test_two_candidates_share_what_both_use() -> None:
    """The second sees the projections of Q that the first trained, and the bank's own of K."""
    bank = _bank()
    before = _copy(bank)
    first = _candidate(bank, Backbone.parse("Q + V\nconv 9\nconv 65"))
    _train_a_step(first)
    bank.absorb(Trained.of(first))
    second = _candidate(bank, Backbone.parse("Q + K\nconv 31\nQ + K"))
    own = layers_of(second)[0].attention.projection.weight
    assert torch.equal(own[:WIDTH], layers_of(first)[0].attention.projection.weight[:WIDTH])
    name = "encoder.layers.0.attention.projection.weight"
    assert torch.equal(own[WIDTH:], before[name][WIDTH : 2 * WIDTH])
    kernel, trained = (layers_of(model)[1].convolution.kernel for model in (second, first))
    assert torch.equal(kernel[:, 11:20], trained)
    assert torch.equal(kernel[:, :11], before["encoder.layers.1.convolution.kernel"][:, 17:28])


def test_bank_and_candidate_do_not_share_memory() -> None:
    bank = _bank()
    before = _copy(bank)
    _train_a_step(_candidate(bank, backbone_of(4, LAYERS)))
    assert all(torch.equal(before[name], bank.tensors[name]) for name in before)
    assert not any(tensor.requires_grad for tensor in bank.tensors.values())


def test_a_seed_gives_the_same_bank() -> None:
    first, second = _bank(3), _bank(3)
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_another_depth_or_size_is_named() -> None:
    bank = _bank()
    with pytest.raises(ValueError, match="the bank holds 3 layers, the candidate has 4"):
        bank.inherit(MaskedLM(backbone_of(1, 4), SMALL))
    with pytest.raises(ValueError, match="the bank holds 3 layers, the candidate has 2"):
        bank.absorb(Trained.of(MaskedLM(backbone_of(1, 2), SMALL)))
    wider = EncoderConfig(vocab_size=23, width=16, heads=2, max_positions=80)
    with pytest.raises(ValueError, match="the bank holds weights for width 8, the candidate has 16"):
        bank.inherit(MaskedLM(backbone_of(1, LAYERS), wider))
    more_heads = EncoderConfig(vocab_size=23, width=8, heads=4, max_positions=80)
    with pytest.raises(ValueError, match="the bank holds weights for heads 2, the candidate has 4"):
        bank.inherit(MaskedLM(backbone_of(1, LAYERS), more_heads))
    dropping = EncoderConfig(vocab_size=23, width=8, heads=2, max_positions=80, dropout=0.1)
    bank.inherit(MaskedLM(backbone_of(1, LAYERS), dropping))


def test_random_order_of_candidates_keeps_each_others_weights() -> None:
    """Every used slice always holds what its last user wrote."""
    bank, random = _bank(), Random(0)
    for _ in range(10):
        backbone = backbone_of(random.randrange(2**32), LAYERS)
        model = _candidate(bank, backbone)
        _train_a_step(model)
        bank.absorb(Trained.of(model))
        check = _candidate(bank, backbone)
        pairs = zip(check.parameters(), model.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_the_mean_over_those_that_used_it() -> None:
    """Three candidates from one state of the bank: each part is the mean over the candidates that have it."""
    bank = _bank()
    before = _copy(bank)
    models = [
        _candidate(bank, Backbone.parse(text)) for text in ("Q + V\nconv 9\nK + V", "Q + K\nconv 3\nconv 5")
    ]
    models.append(_candidate(bank, Backbone.parse("conv 7\nconv 65\nconv 3")))
    for step, model in enumerate(models):
        for _ in range(step + 1):
            _train_a_step(model)
    bank.absorb(*map(Trained.of, models))
    first, second, _ = models
    name = "encoder.layers.0.attention.projection.weight"
    rows = bank.tensors[name].split(WIDTH)
    ours, theirs = (layers_of(model)[0].attention.projection.weight.split(WIDTH) for model in (first, second))
    torch.testing.assert_close(rows[0], (ours[0] + theirs[0]) / 2)  # Q
    torch.testing.assert_close(rows[1], theirs[1].detach())  # K, of the second alone
    torch.testing.assert_close(rows[2], ours[1].detach())  # V
    assert torch.equal(rows[3], before[name].split(WIDTH)[3])  # P, of none
    kernels = [layers_of(model)[1].convolution.kernel for model in models]
    shared = bank.tensors["encoder.layers.1.convolution.kernel"]
    torch.testing.assert_close(shared[:, 32], sum(k[:, k.shape[-1] // 2] for k in kernels) / 3)
    torch.testing.assert_close(shared[:, 28], (kernels[0][:, 0] + kernels[2][:, 28]) / 2)
    torch.testing.assert_close(shared[:, 0], kernels[2][:, 0].detach())


def test_the_order_of_those_that_are_averaged_does_not_matter() -> None:
    banks = [_bank(), _bank()]
    models = [_candidate(banks[0], backbone_of(seed, LAYERS)) for seed in (1, 2)]
    for model in models:
        _train_a_step(model)
    banks[0].absorb(*map(Trained.of, models))
    banks[1].absorb(*map(Trained.of, reversed(models)))
    assert all(torch.equal(tensor, banks[1].tensors[name]) for name, tensor in banks[0].tensors.items())


@given(st.lists(seeds, min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_the_mean_is_that_of_counted_users_bit_by_bit(numbers: list[int]) -> None:
    bank = _bank()
    models = [_candidate(bank, backbone_of(number, LAYERS)) for number in numbers]
    for model in models:
        _train_a_step(model)
    expected = _copy(bank)
    for name, tensor in expected.items():
        total, users = torch.zeros_like(tensor), torch.zeros_like(tensor)
        for model in models:
            owned = {own: p.detach() for own, p in model.named_parameters() if own == name}
            ones = {own: torch.ones_like(p) for own, p in owned.items()}
            for values, sums in ((owned, total), (ones, users)):
                for own, target in bank._pairs(model.encoder.backbone, values, {name: sums}):
                    target.add_(own)
        tensor.copy_(torch.where(users > 0, total / users.clamp_min(1), tensor))
    bank.absorb(*map(Trained.of, models))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in bank.tensors.items())


def test_a_bank_on_a_device_neither_waits_nor_copies_for_a_candidate(fake_accelerator: ModuleType) -> None:
    backbone = backbone_of(11, LAYERS)
    with fake_accelerator.fake_device() as counts, torch.autograd.set_multithreading_enabled(False):
        bank = WeightBank(SMALL, LAYERS, fake_accelerator.DEVICE)
        model = MaskedLM(backbone, SMALL).to(fake_accelerator.DEVICE)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
        counts.clear()
        bank.inherit(model, optimizer)
        assert counts.waits.total() == 0
        assert counts.launches.total() <= 2
        ids = torch.randint(SMALL.vocab_size, (2, 8)).to(fake_accelerator.DEVICE)
        model(ids, torch.arange(16, device=fake_accelerator.DEVICE)).square().sum().backward()
        optimizer.step()
        counts.clear()
        bank.absorb(Trained.of(model, optimizer))
        assert counts.waits.total() == 1  # how many updates there were
        assert bank.updates == 1
        heir = MaskedLM(backbone, SMALL).to(fake_accelerator.DEVICE)
        bank.inherit(heir)
        for own, theirs in zip(heir.parameters(), model.parameters(), strict=True):
            assert torch.equal(own.to("cpu"), theirs.to("cpu"))
