"""Documents packed into one sequence: each is computed as if it were alone, for any backbone."""

from itertools import pairwise
from random import Random

import pytest
import torch
from hypothesis import given, settings
from nn_samples import SMALL, backbone_of, seeds

from autobert_zero.nn import MaskedLM
from autobert_zero.nn.documents import layout, mark_counts
from autobert_zero.nn.encoder import Encoder, initialise
from autobert_zero.space import Backbone
from autobert_zero.training.half_weights import is_compiled


@given(seeds)
@settings(max_examples=60)
def test_a_packed_document_is_computed_as_if_alone(seed: int) -> None:
    random = Random(seed)
    torch.manual_seed(0)
    encoder = Encoder(backbone_of(seed, 2), SMALL).double()
    initialise(encoder, std=0.3)
    tokens = random.randint(2, 40)
    starts = torch.rand(2, tokens, generator=torch.Generator().manual_seed(seed)) < random.random() / 2
    starts[:, 0] = True
    ids = torch.randint(SMALL.vocab_size, (2, tokens), generator=torch.Generator().manual_seed(seed))
    positions, documents = layout(starts, fixed=random.random() < 0.5)
    packed = encoder(ids, positions=positions, documents=documents)
    for row in range(2):
        bounds = [*starts[row].nonzero()[:, 0].tolist(), tokens]
        for begin, end in pairwise(bounds):
            alone = encoder(ids[row : row + 1, begin:end])[0]
            torch.testing.assert_close(packed[row, begin:end], alone, rtol=1e-8, atol=1e-8)


@given(seeds)
@settings(max_examples=30)
def test_gradients_are_those_of_the_documents_alone(seed: int) -> None:
    """Padding, which is laid out beside a document, gives and gets none."""
    torch.manual_seed(0)
    model = MaskedLM(backbone_of(seed, 2), SMALL).double()
    initialise(model, std=0.3)
    generator = torch.Generator().manual_seed(seed)
    starts = torch.rand(2, 13, generator=generator) < 0.3
    starts[:, 0] = True
    ids = torch.randint(SMALL.vocab_size, (2, 13), generator=generator)
    positions, documents = layout(starts, fixed=seed % 2 == 0)
    weights = list(model.encoder.parameters())
    packed = model.encoder(ids, positions=positions, documents=documents).square().sum()
    alone = torch.zeros((), dtype=torch.float64)
    for row in range(2):
        for begin, end in pairwise([*starts[row].nonzero()[:, 0].tolist(), 13]):
            alone = alone + model.encoder(ids[row : row + 1, begin:end]).square().sum()
    for found, expected in zip(
        *(torch.autograd.grad(each, weights) for each in (packed, alone)), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_the_layout_by_hand() -> None:
    starts = torch.tensor([[1, 0, 0, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]]).bool()
    positions, documents = layout(starts)
    assert positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4], [0, 0, 1, 2, 3, 4, 5, 6]]
    # By length: up to an eighth of the row, a quarter, half, all.
    groups = documents.tokens.split([real.numel() for real in documents.real])
    found = [
        [row[keep].tolist() for row, keep in zip(group.view(real.shape), real, strict=True)]
        for group, real in zip(groups, documents.real, strict=True)
    ]
    assert found == [[[8]], [[0, 1, 2]], [[3, 4, 5, 6, 7], [9, 10, 11, 12, 13, 14, 15]]]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_chosen_rows_are_those_of_the_whole(checkpointing: bool) -> None:
    """Also in what the weights get as gradient."""
    torch.manual_seed(0)
    model = MaskedLM(backbone_of(3, 3), SMALL).double().train()
    model.encoder.checkpointing = checkpointing
    ids = torch.randint(SMALL.vocab_size, (3, 12))
    rows = torch.tensor([0, 5, 13, 35])
    fast = model(ids, rows)
    slow = model.predict(model.encoder(ids).flatten(0, 1)[rows])
    torch.testing.assert_close(fast, slow)
    weights = list(model.parameters())
    gradients = (torch.autograd.grad(each.square().sum(), weights) for each in (fast, slow))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_fixed_groups_depend_on_the_length_alone(share: float) -> None:
    starts = torch.rand(3, 40, generator=torch.Generator().manual_seed(0)) < share
    starts[:, 0] = True
    _, documents = layout(starts, fixed=True)
    assert [real.shape[1] for real in documents.real] == [5, 10, 20, 40]
    assert all(len(real) >= 2 and real.any(1).all() for real in documents.real)
    assert int(documents.filled.sum()) == starts.numel()


@pytest.mark.slow
def test_one_compiled_graph_serves_all_batches() -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    model = MaskedLM(Backbone.parse("conv 5\nsoftmax(scale(Q @ K.T)) @ V"), SMALL)
    graphs = 0

    def count(graph: torch.fx.GraphModule, inputs: object) -> object:
        nonlocal graphs
        graphs += 1
        return graph.forward

    model.compile(backend=count)
    assert is_compiled(model)
    generator = torch.Generator().manual_seed(0)
    for share in (0.0, 0.02, 0.1, 0.3, 0.6, 0.9):
        starts = torch.rand(2, 40, generator=generator) < share
        starts[:, 0] = True
        positions, documents = layout(starts, fixed=True)
        mark_counts(documents)
        ids = torch.randint(SMALL.vocab_size, (2, 40), generator=generator)
        rows = torch.arange(6)
        model(ids, rows, None, None, positions, documents).sum().backward()
    assert graphs == 1
