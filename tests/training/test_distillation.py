"""Losses of a distillation: plain formulas, parts of a batch, texts of packed sequences, learning."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.encoder_config import EncoderConfig, Norm
from autobert_zero.errors import UserError
from autobert_zero.nn import Encoder, MaskedLM
from autobert_zero.nn.source_files import SOURCE_FILES
from autobert_zero.shared_config import LOSSES, DistilConfig
from autobert_zero.space import Backbone
from autobert_zero.training import teacher_embeddings
from autobert_zero.training.agreement import agreement_on
from autobert_zero.training.distillation import Distillation, DistillationLoss, Student
from autobert_zero.training.distillation_losses import (
    embedding_loss,
    prediction_loss,
    relation_loss,
    relative_error,
    state_error,
)
from autobert_zero.training.loop import Recipe, train
from autobert_zero.training.precision import Precision, resolve_precision
from autobert_zero.training.teacher_embeddings import keep_embeddings
from autobert_zero.training.texts import texts_of

CLS, SEP, MASK = 1, 2, 3
BERT = "softmax(scale(Q @ K.T)) @ V"


def masked_lm(layers: list[str], width: int, seed: int) -> MaskedLM:
    torch.manual_seed(seed)
    return MaskedLM(Backbone.from_list(layers), EncoderConfig(30, width, 2, max_positions=16)).eval()


def strong(model: MaskedLM) -> MaskedLM:
    """With weights so large that every layer changes its states much."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20)
    return model


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


SHORT = [[CLS, SEP, 10, SEP, 11, SEP, 12, SEP, 13, SEP], [CLS, 14, SEP, 15, SEP, 16, SEP, 17, SEP, SEP]]
"""Documents of three tokens at most, [CLS] included."""


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
    weights: dict[str, float],
    teacher: MaskedLM,
    layers: tuple[int, ...] = (0, 1),
    heads: int = 2,
    temperature: float = 1.0,
) -> DistillationLoss:
    off = dict.fromkeys(LOSSES, 0.0)
    settings = DistilConfig.model_validate(
        {"teacher": "teacher", **off, **weights, "relation_heads": heads, "temperature": temperature}
    )
    return DistillationLoss(teacher, Distillation(settings, layers, CLS), "fp32")


@pytest.mark.parametrize("isolated", [True, False])
def test_a_copy_has_no_distance(isolated: bool) -> None:
    teacher, copy = strong(masked_lm([BERT, "conv 3"], 8, seed=1)), masked_lm([BERT, "conv 3"], 8, seed=2)
    copy.load_state_dict(teacher.state_dict())
    objective = loss_of(dict.fromkeys(("embedding", "hidden", "relations", "logits"), 1.0), teacher)
    result = agreement_on(Student(copy, 8, objective.distillation), objective, [packed(ROWS, isolated)])
    assert result.parts == pytest.approx(dict.fromkeys(result.parts, 0.0), abs=1e-6)
    assert result.cosine == pytest.approx(1, abs=1e-6)


def test_states_are_compared_with_those_of_the_named_layers() -> None:
    """The first layers of a student are the teacher's: right only where each is compared with its own."""
    teacher = strong(masked_lm([BERT, "conv 3", BERT], 8, seed=1))
    student = masked_lm([BERT, "conv 3"], 8, seed=2)
    shared = {name: teacher.state_dict()[name] for name in student.state_dict()}
    student.load_state_dict(shared)

    def hidden(layers: tuple[int, ...]) -> float:
        objective = loss_of({"hidden": 1.0}, teacher, layers)
        return agreement_on(Student(student, 8, objective.distillation), objective, [packed(ROWS)]).loss

    assert hidden((0, 1)) == pytest.approx(0, abs=1e-9)
    assert min(hidden((0, 2)), hidden((1, 2)), hidden((1, 0))) > 0.1


def test_heads_and_temperature_reach_their_losses() -> None:
    """By the formulas, on the whole batch: sequences without padding, one group."""
    teacher, student = strong(masked_lm([BERT], 8, seed=1)), strong(masked_lm(["conv 3"], 8, seed=2))
    batch = packed(ROWS, isolated=False)
    ids, mask = torch.tensor(ROWS), torch.ones(4, 10, dtype=torch.bool)
    with torch.no_grad():
        states = [model.encoder(ids) for model in (student, teacher)]
        logits = [model(batch.ids, batch.rows) for model in (student, teacher)]
    seen = set()
    for heads, temperature in ((1, 1.0), (4, 1.0), (4, 3.0)):
        objective = loss_of({"relations": 1.0, "logits": 1.0}, teacher, (0,), heads, temperature)
        parts = agreement_on(Student(student, 8, objective.distillation), objective, [batch]).parts
        relations = relation_loss(states[0], states[1], mask, heads).item() / ids.numel()
        predictions = prediction_loss(logits[0], logits[1], temperature).item() / len(batch.labels)
        assert parts == pytest.approx({"relations": relations, "logits": predictions}, rel=1e-5)
        seen |= {round(relations, 7), round(predictions, 7)}
    assert len(seen) == 4  # the cases differ


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("name", LOSSES)
def test_all_that_is_trained_gets_a_gradient(name: str, norm: Norm) -> None:
    """As several processes need it, also of a part without any text that is long enough."""
    teacher = masked_lm([BERT, BERT], 8, seed=1)
    config = EncoderConfig(30, 12, 2, max_positions=16, norm=norm)
    objective = loss_of({name: 1.0}, teacher)
    learner = Student(MaskedLM(Backbone.from_list([BERT, "conv 3"]), config), 8, objective.distillation)
    batch = packed([*ROWS, *SHORT])
    for part, counts in ((batch, True), (batch.slice(len(ROWS), len(batch)), name in ("logits", "masked"))):
        learner.zero_grad()
        loss = objective(learner, part, batch)
        loss.backward()
        trained = {key: p.grad for key, p in learner.named_parameters() if p.requires_grad}
        assert [key for key, gradient in trained.items() if gradient is None] == []
        assert (loss.item() > 0) is counts
        assert any(bool(gradient.any()) for gradient in trained.values() if gradient is not None) is counts


def test_text_that_is_too_short_has_no_distance_and_cannot_be_measured() -> None:
    teacher, student = masked_lm([BERT], 8, seed=1), masked_lm(["conv 3"], 8, seed=2)
    objective = loss_of({"embedding": 1.0, "relations": 1.0}, teacher, (0,))
    learner = Student(student, 8, objective.distillation)
    short, long = packed(SHORT), packed(ROWS)
    train(learner, iter([short]), Recipe(1, 2), objective)  # nothing to learn, and no error
    assert agreement_on(learner, objective, [short, long, short]) == agreement_on(learner, objective, [long])
    for nothing in ([short], []):
        with pytest.raises(UserError, match="no text of 4 tokens or more"):
            agreement_on(learner, objective, nothing)
    predicts = loss_of({"masked": 1.0}, teacher, (0,))
    none = torch.empty(0, dtype=torch.long)
    with pytest.raises(UserError, match="no token to predict"):
        agreement_on(learner, predicts, [replace(long, rows=none, labels=none)])


def test_padding_has_no_error_and_no_gradient() -> None:
    mask = torch.tensor([[True, True, False]])
    states = torch.randn(1, 3, 4)
    states[0, 2] = math.nan
    student = (states + 1).requires_grad_()
    expected = relative_error(student[mask], states[mask])
    found = state_error(student, states, mask)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    assert student.grad is not None
    assert not student.grad[0, 2].any()
    assert student.grad[0, :2].isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_parts_add_up_to_the_whole(name: str) -> None:
    teacher, student = masked_lm([BERT, BERT], 8, seed=1), masked_lm(["conv 3", BERT], 12, seed=2)
    objective = loss_of({name: 2.0}, teacher)
    learner = Student(student, 8, objective.distillation).eval()
    batch = packed(ROWS)
    whole = objective(learner, batch, batch)
    halves = objective(learner, batch.slice(0, 2), batch) + objective(learner, batch.slice(2, 4), batch)
    assert whole.item() > 0
    torch.testing.assert_close(halves, whole, rtol=1e-5, atol=1e-6)


def test_what_is_projected() -> None:
    same = loss_of({"embedding": 1.0, "hidden": 1.0}, masked_lm([BERT, BERT], 8, seed=1))
    assert not Student(masked_lm([BERT, BERT], 8, seed=2), 8, same.distillation).projections
    wider = Student(masked_lm([BERT, BERT], 12, seed=2), 8, same.distillation).projections
    shapes = {name: tuple(weight.shape) for name, weight in wider.named_parameters()}
    assert shapes == dict.fromkeys(("embedding.weight", "layer0.weight", "layer1.weight"), (8, 12))


def test_a_student_learns_and_the_teacher_stays() -> None:
    teacher, student = masked_lm([BERT, BERT], 8, seed=1), masked_lm(["conv 3"], 8, seed=2)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    objective = loss_of({"embedding": 1.0, "hidden": 1.0}, teacher, (1,))
    learner = Student(student, 8, objective.distillation)
    batch = packed(ROWS)
    begin = agreement_on(learner, objective, [batch])
    train(learner, iter([batch] * 60), Recipe(60, 4, 1e-2), objective)
    end = agreement_on(learner, objective, [batch])
    assert end.loss < begin.loss / 2
    assert end.cosine is not None
    assert end.cosine > 0.9
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_agreement_weighs_batches_by_their_sequences() -> None:
    teacher, student = masked_lm([BERT], 8, seed=1), masked_lm(["conv 3"], 8, seed=2)
    objective = loss_of({"embedding": 3.0}, teacher, (0,))
    learner = Student(student, 8, objective.distillation)
    one, three = packed(ROWS[:1]), packed(ROWS[1:])
    single = [agreement_on(learner, objective, [batch]).loss for batch in (one, three)]
    assert agreement_on(learner, objective, [one, three]).loss == pytest.approx(
        (single[0] + 3 * single[1]) / 4
    )
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
        halves = [objective(learner, batch.slice(start, start + 2), batch) for start in (0, 2)]
        torch.testing.assert_close(sum(halves), torch.tensor(losses[-1]), rtol=1e-5, atol=1e-6)
    assert losses[0] == losses[1] == losses[2]
    assert losses[0] == pytest.approx(plain(learner, batch, batch).item(), rel=1e-5)
    again = keep_embeddings(teacher.encoder, "digest", CLS, "fp32", 10**6)
    assert len(again.kept) == len(ROWS)
    monkeypatch.setattr(type(again), "_compute", lambda *given: pytest.fail("it is kept"))
    assert replace(plain, embeddings=again)(learner, batch, batch).item() == losses[0]


def test_what_is_kept_is_of_one_computation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another precision, layer, trunk or code has embeddings of its own; `auto` has those of its format."""
    monkeypatch.setenv("AUTOBERT_ZERO_CACHE", str(tmp_path))
    batch = packed(ROWS)
    automatic = resolve_precision("auto", torch.device("cpu"))
    teacher = masked_lm([BERT], 8, seed=1).encoder

    def known(encoder: Encoder = teacher, precision: Precision = automatic) -> int:
        return len(keep_embeddings(encoder, "digest", CLS, precision, 10**6).kept)

    keep_embeddings(teacher, "digest", CLS, automatic, 10**6).embed(batch)
    assert known() == known(precision="auto") == len(ROWS)
    assert known(precision="bf16" if automatic == "fp32" else "fp32") == 0
    assert known(masked_lm(["softmax(Q @ K.T) @ V"], 8, seed=1).encoder) == 0
    config = replace(teacher.config, norm_epsilon=1e-6)
    assert known(MaskedLM(teacher.backbone, config).encoder) == 0
    changed = tmp_path / "kernels.py"
    changed.write_text("another version")
    monkeypatch.setattr(teacher_embeddings, "SOURCE_FILES", (*SOURCE_FILES[:-1], str(changed)))
    assert known() == 0


def test_the_code_of_an_embedding_is_that_of_the_layers() -> None:
    names = {"/".join(Path(file).parts[-2:]) for file in SOURCE_FILES}
    assert {"nn/encoder.py", "nn/convolution.py", "nn/documents.py", "compile/planner.py"} <= names
