"""Token uniformity against a loop over all pairs, and at its bounds."""

from itertools import combinations

import pytest
import torch
from easy import LENGTH, SIZE
from nn_samples import positions_of
from torch.nn import functional as F

from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.uniformity import token_uniformity

SIZES = EncoderConfig(vocab_size=SIZE, width=16, heads=2, max_positions=LENGTH, dropout=0.5)
BACKBONE = Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V\nconv 9")


@pytest.fixture
def model() -> MaskedLM:
    torch.manual_seed(0)
    return MaskedLM(BACKBONE, SIZES)


def test_it_is_the_mean_over_all_pairs(model: MaskedLM) -> None:
    ids = torch.randint(SIZE, (3, LENGTH))
    found = token_uniformity(model, ids)
    states = [model.eval().encoder.embeddings(ids)]
    for layer in model.encoder.layers:
        states.append(layer(states[-1], None))
    expected = [
        torch.stack(
            [
                F.cosine_similarity(row[i], row[j], dim=0)
                for row in x
                for i, j in combinations(range(LENGTH), 2)
            ]
        ).mean()
        for x in states
    ]
    assert found == pytest.approx([value.item() for value in expected], abs=1e-5)
    assert torch.equal(states[-1], model.encoder(ids)), "these are the states of the model"


def test_equal_tokens_are_wholly_uniform(model: MaskedLM) -> None:
    with torch.no_grad():
        positions_of(model.encoder.embeddings).zero_()
    ids = torch.full((2, LENGTH), 7)
    assert token_uniformity(model, ids)[0] == pytest.approx(1.0, abs=1e-5)


def test_opposite_tokens_have_the_lowest_value(model: MaskedLM) -> None:
    with torch.no_grad():
        embeddings = model.encoder.embeddings
        positions_of(embeddings).zero_()
        embeddings.segment.weight.zero_()
        embeddings.token.weight[1] = -embeddings.token.weight[0]
    ids = torch.arange(LENGTH).remainder(2).expand(2, LENGTH)
    half = LENGTH // 2
    alike = 2 * (half * (half - 1) // 2) if LENGTH % 2 == 0 else half * half
    pairs = LENGTH * (LENGTH - 1) // 2
    expected = (alike - (pairs - alike)) / pairs
    assert token_uniformity(model, ids)[0] == pytest.approx(expected, abs=1e-5)
