"""The training loop: it learns, repeats bit by bit, and stops when it diverges."""

import dataclasses
import math
from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from easy import SIZE, VOCABULARY
from nn_samples import layers_of
from torch.nn import functional as F

from autobert_zero.data.batches import TrainingBatches, evaluation_batches, training_batches
from autobert_zero.data.masking import MaskedBatch, Masking
from autobert_zero.data.splits import Splits
from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig, MaskedLM, PreTraining
from autobert_zero.space import Backbone
from autobert_zero.training.language import evaluate, guess_limit, language_objective
from autobert_zero.training.loop import Diverged, OnStep, Recipe, make_optimizer
from autobert_zero.training.loop import train as train_any
from autobert_zero.training.precision import Precision

SIZES = EncoderConfig(vocab_size=SIZE, width=16, heads=2, max_positions=16)
HYBRID = Backbone.parse("conv 5\nsoftmax(scale(Q @ K.T)) @ V")


def test_no_steps_are_no_steps(text: Splits) -> None:
    learner = MaskedLM(HYBRID, SIZES)
    done: list[int] = []
    train_any(
        *(learner, training_batches(text.train, VOCABULARY, 4, (0,)), Recipe(5, 4)),
        language_objective("fp32"),
        lambda step, loss: done.append(step),
        steps=range(3, 3),
    )
    assert done == []


def train(
    learner: MaskedLM, batches: Iterator[MaskedBatch], recipe: Recipe, on_step: OnStep | None = None
) -> float:
    objective = language_objective(recipe.precision)
    return train_any(learner, batches, recipe, objective, on_step, loss_limit=guess_limit(SIZE))


def model(seed: int = 0, backbone: Backbone = HYBRID) -> MaskedLM:
    torch.manual_seed(seed)
    return MaskedLM(backbone, SIZES)


def batches(data: Splits, seed: int = 0) -> Iterator[MaskedBatch]:
    return training_batches(data.train, VOCABULARY, 8, (seed,))


def recipe(steps: int, rate: float = 0.01, precision: Precision = "fp32") -> Recipe:
    return Recipe(steps, batch_size=8, learning_rate=rate, precision=precision)


@pytest.mark.parametrize(
    ("step", "rate"),
    # Rises over ceil(0.2 * 10) = 2 steps by thirds of 0.3, then falls by eighths, to reach 0 at step 10.
    [(0, 0.1), (1, 0.2), (2, 0.3), (3, 0.2625), (6, 0.15), (9, 0.0375)],
)
def test_the_rate_by_hand(step: int, rate: float) -> None:
    assert Recipe(10, learning_rate=0.3, warmup=0.2).rate(step) == pytest.approx(rate)


def test_the_rate_without_warm_up_and_of_one_step() -> None:
    assert Recipe(4, learning_rate=0.4, warmup=0).rate(0) == 0.4
    assert Recipe(4, learning_rate=0.4, warmup=0).rate(3) == pytest.approx(0.1)
    assert Recipe(1, learning_rate=0.4).rate(0) == pytest.approx(0.2)
    steady = Recipe(4, learning_rate=0.4, warmup=0.5, decay=False)
    assert [steady.rate(step) for step in range(4)] == pytest.approx([0.4 / 3, 0.8 / 3, 0.4, 0.4])
    assert all(0 < Recipe(steps).rate(step) <= 1e-3 for steps in range(1, 40) for step in range(steps))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps, batch_size and accumulation must be at least 1"),
        ({"batch_size": 0}, "steps, batch_size and accumulation must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be between 0 and 1"),
        ({"learning_rate": 1.0}, "learning_rate must be between 0 and 1"),
        ({"warmup": 1.0}, "warmup must be a share of the steps"),
    ],
)
def test_bad_recipes(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**{"steps": 5, **wrong})  # type: ignore[arg-type]


def test_learns_an_easy_language(text: Splits) -> None:
    held_out = evaluation_batches(text.holdout, VOCABULARY, 8, 100)
    learner = model()
    before = evaluate(learner, held_out, "fp32")
    assert before.loss == pytest.approx(math.log(SIZE), rel=0.02)
    seconds = train(learner, batches(text), recipe(240, rate=0.02))
    after = evaluate(learner, held_out, "fp32")
    assert after.loss < before.loss / 2
    assert after.accuracy > 0.3 > before.accuracy
    assert seconds > 0


def test_reports_every_step(text: Splits) -> None:
    seen: list[tuple[int, float]] = []
    train(model(), batches(text), recipe(6), lambda step, loss: seen.append((step, loss)))
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(loss) for _, loss in seen)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_repeats_bit_by_bit(text: Splits, precision: Precision) -> None:
    def trained(seed: int) -> list[torch.Tensor]:
        learner = model(seed)
        train(learner, batches(text, seed), recipe(8, precision=precision))
        result = evaluate(learner, evaluation_batches(text.holdout, VOCABULARY, 8, 20), precision)
        return [*learner.parameters(), torch.tensor([result.loss, result.accuracy])]

    first, again, other = trained(0), trained(0), trained(1)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


def test_precisions_agree_roughly(text: Splits) -> None:
    held_out = evaluation_batches(text.holdout, VOCABULARY, 8, 20)
    full, half = (evaluate(model(), held_out, precision).loss for precision in ("fp32", "bf16"))
    assert full != half
    assert full == pytest.approx(half, rel=0.01)


def test_weights_stay_in_full_precision(text: Splits) -> None:
    learner = model()
    train(learner, batches(text), recipe(2, precision="bf16"))
    assert {parameter.dtype for parameter in learner.parameters()} == {torch.float32}


def test_only_matrices_decay(text: Splits) -> None:
    """With a gradient of zero and no momentum, decay is all that moves a weight."""
    learner = model()
    before = {name: parameter.clone() for name, parameter in learner.named_parameters()}
    decaying = Recipe(1, batch_size=8, learning_rate=0.1, weight_decay=0.5, clip=1e-12, precision="fp32")
    train(learner, batches(text), decaying)
    for name, parameter in learner.named_parameters():
        factor = 1 - 0.05 * 0.5 if parameter.ndim > 1 else 1
        torch.testing.assert_close(parameter, factor * before[name], atol=1e-5, rtol=1e-5)


def test_a_loss_that_is_no_number_is_divergence(text: Splits) -> None:
    learner = model()
    with torch.no_grad():
        layers_of(learner)[0].feed_forward.up.weight[0, 0] = math.nan
    with pytest.raises(Diverged, match="loss is nan at step 1"):
        train(learner, batches(text), recipe(5))


def test_an_exploding_loss_is_divergence(text: Splits) -> None:
    with pytest.raises(Diverged, match=r"loss [0-9.]+ at step \d+ is more than twice a uniform guess's"):
        train(model(), batches(text), recipe(60, rate=0.99))


def test_the_first_tenth_may_be_bad(text: Splits) -> None:
    """A candidate inherits weights that others left; it gets a moment to recover."""
    learner = model()
    with torch.no_grad():
        learner.bias[7] = 10.0  # a bad guess with great confidence: the loss is about 10
    losses: list[float] = []
    with pytest.raises(Diverged, match="at step 4 "):
        train(learner, batches(text), recipe(20, rate=1e-6), lambda step, loss: losses.append(loss))
    assert len(losses) == 3
    assert min(losses) > 2 * math.log(SIZE)


def test_a_gradient_that_is_no_number_is_divergence(text: Splits) -> None:
    learner = model()
    learner.transform.weight.register_hook(lambda gradient: gradient * math.inf)
    before = [parameter.clone() for parameter in learner.parameters()]
    with pytest.raises(Diverged, match=r"gradient is (nan|inf) at step 1"):
        train(learner, batches(text), recipe(5))
    assert all(map(torch.equal, before, learner.parameters()))


def test_evaluation_weighs_tokens_alike(text: Splits) -> None:
    learner = model()
    train(learner, batches(text), recipe(40))
    rows = evaluation_batches(text.train, VOCABULARY, 1, 30)
    uneven = [joined(rows[:2]), joined(rows[2:3]), joined(rows[3:])]
    with torch.no_grad():
        logits = torch.cat([learner(batch.ids, batch.rows) for batch in rows])
    labels = torch.cat([batch.labels for batch in rows])
    result = evaluate(learner, uneven, "fp32")
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.accuracy == pytest.approx((logits.argmax(-1) == labels).float().mean().item())


@pytest.mark.parametrize("masking", [Masking(), Masking(next_sentence=True), Masking(isolated=True)])
@pytest.mark.parametrize("processes", [2, 3, 5])
def test_processes_divide_an_evaluation(text: Splits, masking: Masking, processes: int) -> None:
    """Their sums are those of one process, also where there are more processes than sequences."""
    torch.manual_seed(0)
    learner = (PreTraining if masking.next_sentence else MaskedLM)(HYBRID, SIZES)
    held_out = evaluation_batches(text.train, VOCABULARY, 4, 11, masking)
    sums: list[torch.Tensor] = []

    def reduce(mine: torch.Tensor, how: str) -> torch.Tensor:
        assert how == "sum"
        sums.append(mine)
        return torch.stack(sums).sum(0)

    for rank in reversed(range(processes)):  # the first may have no sequence
        shares = SimpleNamespace(
            process_index=rank, num_processes=processes, device=torch.device("cpu"), reduce=reduce
        )
        result = evaluate(learner, held_out, "fp32", shares)
    assert all(mine[2] < sum(len(batch.labels) for batch in held_out) for mine in sums)
    whole = evaluate(learner, held_out, "fp32")
    assert result.loss == pytest.approx(whole.loss, rel=1e-6)
    assert (result.accuracy, result.order_accuracy) == (whole.accuracy, whole.order_accuracy)


def joined(parts: list[MaskedBatch]) -> MaskedBatch:
    offsets = [index * parts[0].ids.shape[1] for index in range(len(parts))]
    return MaskedBatch(
        torch.cat([part.ids for part in parts]),
        torch.cat([part.rows + offset for part, offset in zip(parts, offsets, strict=True)]),
        torch.cat([part.labels for part in parts]),
    )


def test_evaluation_is_without_dropout_and_changes_nothing(text: Splits) -> None:
    torch.manual_seed(0)
    learner = MaskedLM(HYBRID, dataclasses.replace(SIZES, dropout=0.5))
    before = [parameter.clone() for parameter in learner.parameters()]
    held_out = evaluation_batches(text.holdout, VOCABULARY, 8, 20)
    assert evaluate(learner, held_out, "fp32") == evaluate(learner, held_out, "fp32")
    assert all(map(torch.equal, before, learner.parameters()))
    assert all(parameter.grad is None for parameter in learner.parameters())


def test_a_model_that_was_evaluated_trains_with_dropout(text: Splits) -> None:
    """Also one that was just loaded: `from_pretrained` leaves it as for an evaluation."""
    torch.manual_seed(0)
    learner = MaskedLM(HYBRID, dataclasses.replace(SIZES, dropout=0.5)).eval()
    modes: list[bool] = []
    train(learner, batches(text), recipe(2), lambda step, loss: modes.append(learner.training))
    assert modes == [True, True]


def test_the_gradient_of_an_update_is_clipped(text: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = model()
    optimizer = make_optimizer(learner, recipe(3))
    norms: list[float] = []

    def step(*given: object) -> None:
        norms.append(torch.stack([p.grad.norm() for p in learner.parameters() if p.grad is not None]).norm())

    monkeypatch.setattr(optimizer, "step", step)
    clipped = dataclasses.replace(recipe(3), clip=0.01)
    train_any(learner, batches(text), clipped, language_objective("fp32"), optimizer=optimizer)
    assert norms == pytest.approx([0.01] * 3, rel=1e-3)


def test_training_takes_the_batches_in_order(text: Splits) -> None:
    taken: list[MaskedBatch] = []

    def watched() -> Iterator[MaskedBatch]:
        for batch in batches(text):
            taken.append(batch)
            yield batch

    train(model(), watched(), recipe(4))
    assert len(taken) == 4
    for own, expected in zip(taken, islice(batches(text), 4), strict=True):
        assert torch.equal(own.ids, expected.ids)


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_micro_batches_give_the_update_of_the_batch(text: Splits, accumulation: int) -> None:
    """Also where they have unlike numbers of tokens to predict, as whole words make them."""
    masking = Masking(whole_words=True)
    stream = TrainingBatches(text.train, VOCABULARY, 8, (0,), masking)
    whole, divided = model().double(), model().double()
    objective = language_objective("fp32")
    for learner, count in ((whole, 1), (divided, accumulation)):
        given = dataclasses.replace(recipe(3), accumulation=count)
        train_any(learner, stream.batches_from(0), given, objective)
    for one, other in zip(whole.parameters(), divided.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_batch_that_cannot_be_divided(text: Splits) -> None:
    with pytest.raises(
        ValueError, match="8 cannot be divided evenly over 1 processes with 3 micro-batches each"
    ):
        train_any(
            model(), batches(text), dataclasses.replace(recipe(3), accumulation=3), language_objective("fp32")
        )


def test_steps_can_be_continued_with_the_same_dropout(text: Splits) -> None:
    sizes = dataclasses.replace(SIZES, dropout=0.3)

    def trained(*pieces: range) -> list[torch.Tensor]:
        torch.manual_seed(0)
        learner = MaskedLM(HYBRID, sizes)
        optimizer = make_optimizer(learner, recipe(6))
        stream = TrainingBatches(text.train, VOCABULARY, 8, (0,))
        for piece in pieces:
            torch.manual_seed(piece.start)  # whatever happened in between
            train_any(
                learner,
                stream.batches_from(piece.start),
                recipe(6),
                language_objective("fp32"),
                optimizer=optimizer,
                steps=piece,
                seed=5,
            )
        return list(learner.parameters())

    assert all(map(torch.equal, trained(range(6)), trained(range(2), range(2, 5), range(5, 6))))


def test_a_batch_with_nothing_to_predict_costs_nothing(text: Splits) -> None:
    batch = evaluation_batches(text.train, VOCABULARY, 4, 4)[0]
    nothing = dataclasses.replace(batch, rows=batch.rows[:0], labels=batch.labels[:0])
    learner = model()
    loss = language_objective("fp32")(learner, nothing, nothing)
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(each.grad).all() for each in learner.parameters() if each.grad is not None)
    # Beside others it changes nothing.
    alone, both = evaluate(learner, [batch], "fp32"), evaluate(learner, [nothing, batch], "fp32")
    assert alone == both
    for without in ([nothing], []):
        with pytest.raises(UserError, match="no token to predict"):
            evaluate(learner, without, "fp32")
