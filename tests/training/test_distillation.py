"""Losses of a distillation: plain formulas, parts of a batch, texts of packed sequences, learning."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn import MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.distillation import LOSSES, Distillation, DistillationLoss, Student, agreement
from autobert_zero.training.distillation_losses import (
    embedding_loss,
    prediction_loss,
    relation_loss,
    relative_error,
)
from autobert_zero.training.loop import Recipe, train
from autobert_zero.training.teacher import keep_embeddings
from autobert_zero.training.texts import texts_of

CLS, SEP, MASK = 1, 2, 3
BERT = "softmax(scale(Q @ K.T)) @ V"


def masked_lm(layers: list[str], width: int, seed: int) -> MaskedLM:
    torch.manual_seed(seed)
    return MaskedLM(Backbone.from_list(layers), EncoderConfig(30, width, 2, max_positions=16)).eval()


def packed(rows: list[list[int]], isolated: bool = True) -> MaskedBatch:
    """A batch whose third token is masked in every row."""
    ids = torch.tensor(rows)
    starts = torch.zeros_like(ids, dtype=torch.bool)
    starts[:, 0] = True
    starts[:, 1:] = ids[:, :-1] == SEP
    places = torch.arange(len(ids)) * ids.shape[1] + 2
    labels = ids.flatten()[places]
    ids.view(-1)[places] = MASK
    return MaskedBatch(ids, places, labels, starts=starts if isolated else None)


ROWS = [
    [CLS, 10, 11, 12, SEP, 13, 14, 15, 16, SEP],
    [CLS, 17, 18, 19, 20, 21, 22, 23, 24, SEP],
    [CLS, 10, 11, SEP, 25, SEP, 26, 27, 28, SEP],
    [CLS, 12, 13, 14, 15, SEP, 16, 17, SEP, SEP],
]


def test_texts_of_isolated_documents() -> None:
    """Masks are undone, each document begins with [CLS], and what is too short is left out."""
    texts = [
        ids[real].tolist()
        for group in texts_of(packed(ROWS), CLS)
        for ids, real in zip(group.ids, group.mask, strict=True)
    ]
    assert sorted(texts) == sorted(
        [
            [CLS, 10, 11, 12, SEP],
            [CLS, 13, 14, 15, 16, SEP],
            ROWS[1],
            [CLS, 10, 11, SEP],
            [CLS, 26, 27, 28, SEP],
            [CLS, 12, 13, 14, 15, SEP],
            [CLS, 16, 17, SEP],
        ]
    )
    assert max(group.ids.shape[1] for group in texts_of(packed(ROWS), CLS)) == len(ROWS[1])


def test_without_documents_a_sequence_is_a_text() -> None:
    (group,) = texts_of(packed(ROWS, isolated=False), CLS)
    assert group.ids.tolist() == ROWS
    assert group.mask.all()


def test_losses_by_hand() -> None:
    student, teacher = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    assert relative_error(student, teacher).item() == pytest.approx(2 / 25)
    assert embedding_loss(student, teacher).item() == pytest.approx(1 - 24 / 25 + 2 / 25)
    p, q = torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5])
    expected = (q * (q / p).log()).sum().item()
    assert prediction_loss(p.log()[None], q.log()[None], 1.0).item() == pytest.approx(expected)
    assert prediction_loss(p.log()[None] * 2, q.log()[None] * 2, 2.0).item() == pytest.approx(4 * expected)


def test_relations_by_hand() -> None:
    """One head, width 1: scores are plain products; padding counts in no softmax."""
    mask = torch.tensor([[True, True, False]])
    student = torch.tensor([[[1.0], [0.0], [5.0]]])
    teacher = torch.tensor([[[2.0], [1.0], [-7.0]]])

    def rows(states: Tensor) -> Tensor:
        real = states[0, :2, 0]
        return torch.softmax(real[:, None] * real[None], -1)  # (2, 2)

    p, q = rows(student), rows(teacher)
    expected = (q * (q / p).log()).sum().item()
    assert relation_loss(student, teacher, mask, 1).item() == pytest.approx(expected, rel=1e-5)


def loss_of(
    weights: dict[str, float], teacher: MaskedLM, layers: tuple[int, ...] = (0, 1)
) -> DistillationLoss:
    every = dict.fromkeys(LOSSES, 0.0) | weights
    return DistillationLoss(teacher, Distillation(every, layers, 2, 1.0, CLS), "fp32")


@pytest.mark.parametrize("isolated", [True, False])
def test_a_copy_has_no_distance(isolated: bool) -> None:
    teacher, copy = masked_lm([BERT, "conv 3"], 8, seed=1), masked_lm([BERT, "conv 3"], 8, seed=2)
    copy.load_state_dict(teacher.state_dict())
    objective = loss_of(dict.fromkeys(("embedding", "hidden", "relations", "logits"), 1.0), teacher)
    result = agreement(Student(copy, 8, objective.distillation), objective, [packed(ROWS, isolated)])
    assert result.loss == pytest.approx(0, abs=1e-5)
    assert result.cosine == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_parts_add_up_to_the_whole(name: str) -> None:
    teacher, student = masked_lm([BERT, BERT], 8, seed=1), masked_lm(["conv 3", BERT], 12, seed=2)
    objective = loss_of({name: 2.0}, teacher)
    learner = Student(student, 8, objective.distillation).eval()
    batch = packed(ROWS)
    whole = objective(learner, batch, batch)
    halves = objective(learner, batch.part(0, 2), batch) + objective(learner, batch.part(2, 4), batch)
    assert whole.item() > 0
    torch.testing.assert_close(halves, whole, rtol=1e-5, atol=1e-6)


def test_what_is_projected() -> None:
    same = loss_of({"embedding": 1.0, "hidden": 1.0}, masked_lm([BERT, BERT], 8, seed=1))
    assert not Student(masked_lm([BERT, BERT], 8, seed=2), 8, same.distillation).projections
    wider = Student(masked_lm([BERT, BERT], 12, seed=2), 8, same.distillation).projections
    shapes = {name: tuple(layer.weight.shape) for name, layer in wider.items()}
    assert shapes == dict.fromkeys(("embedding", "layer0", "layer1"), (8, 12))


def test_a_student_learns_and_the_teacher_stays() -> None:
    teacher, student = masked_lm([BERT, BERT], 8, seed=1), masked_lm(["conv 3"], 8, seed=2)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    objective = loss_of({"embedding": 1.0, "hidden": 1.0}, teacher, (1,))
    learner = Student(student, 8, objective.distillation)
    batch = packed(ROWS)
    begin = agreement(learner, objective, [batch])
    train(learner, iter([batch] * 60), Recipe(60, 4, 1e-2), objective)
    end = agreement(learner, objective, [batch])
    assert end.loss < begin.loss / 2
    assert end.cosine is not None
    assert end.cosine > 0.9
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_agreement_weighs_batches_by_their_sequences() -> None:
    teacher, student = masked_lm([BERT], 8, seed=1), masked_lm(["conv 3"], 8, seed=2)
    objective = loss_of({"embedding": 3.0}, teacher, (0,))
    learner = Student(student, 8, objective.distillation)
    one, three = packed(ROWS[:1]), packed(ROWS[1:])
    single = [agreement(learner, objective, [batch]).loss for batch in (one, three)]
    assert agreement(learner, objective, [one, three]).loss == pytest.approx((single[0] + 3 * single[1]) / 4)
    assert math.isfinite(single[0])


@pytest.mark.parametrize("isolated", [True, False])
def test_kept_embeddings_are_those_of_whole_batches_and_the_same_from_the_disk(
    isolated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOBERT_ZERO_CACHE", str(tmp_path))
    teacher, student = masked_lm([BERT, "conv 3"], 8, seed=1), masked_lm(["conv 3"], 8, seed=2)
    plain = loss_of({"embedding": 1.0}, teacher, (0,))
    batch = packed(ROWS, isolated)
    learner = Student(student, 8, plain.distillation).eval()
    losses = []
    for limit in (10**6, 10**6, 0):
        embeddings = keep_embeddings(teacher.encoder, "digest", CLS, "fp32", limit)
        objective = replace(plain, embeddings=embeddings)
        losses.append(objective(learner, batch, batch).item())
        halves = [objective(learner, batch.part(start, start + 2), batch) for start in (0, 2)]
        torch.testing.assert_close(sum(halves), torch.tensor(losses[-1]), rtol=1e-5, atol=1e-6)
    assert losses[0] == losses[1] == losses[2]
    assert losses[0] == pytest.approx(plain(learner, batch, batch).item(), rel=1e-5)
    again = keep_embeddings(teacher.encoder, "digest", CLS, "fp32", 10**6)
    assert len(again.kept) == len(ROWS)
    monkeypatch.setattr(type(again), "_compute", lambda *given: pytest.fail("it is kept"))
    assert replace(plain, embeddings=again)(learner, batch, batch).item() == losses[0]
