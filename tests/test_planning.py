"""What a run will take: sums by hand, and through the command line."""

import re
from itertools import pairwise

import pytest
import tiny
import torch

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.estimate import TrainingStage
from autobert_zero.measure import training_memory
from autobert_zero.plan import plan
from autobert_zero.pretrain.presets import base_pretraining
from autobert_zero.pretrain.stages import pretrain_stages
from autobert_zero.progress import duration
from autobert_zero.search.presets import demo, paper
from autobert_zero.search_runs.stages import search_stages
from autobert_zero.settings import resolve
from autobert_zero.zoo import bert


def test_the_tokens_of_a_search_from_new_weights_by_hand() -> None:
    config = resolve(
        demo(),
        {
            "proxy": {"candidates": 20, "steps": 400, "rungs": [0.25, 0.5], "rung_share": 0.5},
            "final": {"finalists": 3, "screening_steps": 100, "steps": 300, "rates": [1e-3, 2e-3]},
        },
    )
    candidates = 8 * 400 + 12 * (100 + 100 / 2 + 200 / 4)  # no rung stops the eight known ones
    models = 7  # the found one and six opponents
    final = (3 + 2) * 100 + 2 * models * 100 + models * 300 + (models - 1) * 300 + 300
    sequences = (candidates + final) * 16
    assert sum(stage.tokens for stage in search_stages(config)) == sequences * 128


def test_backbones_of_the_user_are_trained_in_full_and_may_be_finalists() -> None:
    config = resolve(demo(), {"strategy": {"known": False}, "proxy": {"candidates": 20}})
    tokens = [sum(stage.tokens for stage in search_stages(config, seeds)) for seeds in range(4)]
    more = [(one - other) / (16 * 128) for other, one in pairwise(tokens)]
    whole = 180 - (90 + 90 / 2)  # half of the others stop halfway
    assert more == [whole + 180, whole + 180, whole]  # the two best are screened
    text = tiny.command("plan", "search", "--hardware", "t4", "--seed-backbone", "bert", "--preset", "paper")
    assert "9 finalists, at most" in text.out


def test_the_tokens_of_a_search_with_shared_weights_by_hand() -> None:
    config = resolve(paper(), {"proxy": {"score": "loss"}})
    proxy, final = config.proxy, config.final
    sequences = (proxy.warmup_steps + proxy.candidates * proxy.steps) * proxy.batch_size
    steps = final.finalists * final.screening_steps + (4 + 3 + 1) * final.steps
    sequences += steps * final.batch_size
    assert sum(stage.tokens for stage in search_stages(config)) == sequences * 128


def test_the_tokens_of_two_phases_by_hand() -> None:
    config = base_pretraining(bert(12))
    assert [stage.tokens for stage in pretrain_stages(config)] == [900_000 * 256 * 128, 100_000 * 256 * 512]
    assert config.tokens == sum(stage.tokens for stage in pretrain_stages(config))


@pytest.mark.parametrize(
    ("hardware", "precision", "speed"),
    [
        ("a100", "auto", 312e12 * 0.4),
        ("a100", "fp32", 19.5e12 * 0.4),
        ("v100", "auto", 125e12 * 0.35),
    ],
)
def test_the_time_is_operations_over_what_the_hardware_does_in_that_format(
    hardware: str, precision: str, speed: float
) -> None:
    given = ("--preset", "base", "--backbone", "bert-base", "--set", f"precision={precision}")
    done = tiny.command("plan", "pretrain", *given, "--hardware", hardware)
    assert done.code == 0, done.err
    assert "109," in done.out.splitlines()[0]  # BERT-base's parameters, in millions
    operations = sum(float(each) for each in re.findall(r"([\d.e+]+) FLOPs", done.out))
    (shown,) = re.findall(r"([\d.,]+) device-hours", done.out)
    assert float(shown.replace(",", "")) == pytest.approx(operations / speed / 3600, rel=0.01)
    # 6 operations a weight and token is the rule of thumb; attention and head come on top of the layers.
    assert operations == pytest.approx(6 * 85e6 * base_pretraining(bert(12)).tokens, rel=0.25)


def test_measured_here() -> None:
    small = ("--set", "model.width=16", "--set", "model.heads=2", "--set", "data.vocab_size=100")
    done = tiny.command("plan", "pretrain", "--backbone", "conv 3", *small)
    assert done.code == 0, done.err
    assert "from 3 steps measured on cpu" in done.out


OPTIONS = {
    "search": ["--out", "--corpus", "--text-column", "--tokenizer", "--seed", "--max-params", "--workers"],
    "pretrain": ["--out", "--corpus", "--text-column", "--tokenizer", "--seed", "--start", "--resume"],
    "distil": ["--out", "--teacher", "--start", "--corpus"],
    "finetune": ["--out", "--device", "--pooling", "--rates", "--data"],
}


@pytest.mark.parametrize("command", OPTIONS)
def test_plan_takes_the_options_of_the_command(command: str) -> None:
    import typer

    from autobert_zero.cli import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    own = {option for each in commands[command].params for option in each.opts}
    planned = commands["plan"].commands[command].params
    assert {option for each in planned for option in each.opts} == own | {"--hardware", "--devices"}
    assert own >= set(OPTIONS[command])
    assert [each.name for each in planned if each.required and each.name == "out"] == []


def test_a_command_with_plan_before_it() -> None:
    given = ("--out", "run", "--seed", 3, "--workers", 2, "--max-params", 10**6, "--set", "model.width=128")
    done = tiny.command("plan", "search", *given, "--hardware", "t4", "--seed-backbone", "bert")
    assert done.code == 0, done.err
    assert "7 models compared" in done.out


def test_fine_tuning_has_no_language_head() -> None:
    sizes, backbone = EncoderConfig(1000, width=32, heads=2), bert(2)
    head = 32 * 33 + 2 * 32 + 1000
    whole = cost.parameters(backbone, sizes)
    assert whole - cost.parameters(backbone, sizes, with_head=False) == head
    memory = [training_memory(backbone, sizes, 4, 16, with_head) for with_head in (True, False)]
    assert memory[0] - memory[1] == pytest.approx(16 * head + 4 * 2 * 4 * 0.15 * 16 * 1000, rel=1e-3)
    stages = [TrainingStage("", backbone, 16, 4, 100, with_head) for with_head in (True, False)]
    texts = [str(plan([stage], sizes, "t4", 1, "fp32", torch.device("cpu"))) for stage in stages]
    assert texts[0].startswith(f"{whole:,} parameters")
    assert texts[1].startswith(f"{whole - head:,} parameters")
    assert str(plan(stages[1:], sizes, None, 1, "fp32", torch.device("cpu"))).count("measured") == 1


def test_unknown_names() -> None:
    for call, says in {
        "plan search --hardware abacus": "unknown hardware 'abacus'; there are t4, v100",
        "plan search --hardware a10": "(did you mean a100?)",
        "plan search --preset huge": "unknown preset 'huge'",
        "plan search --preset smal": "(did you mean small?)",
        "config search --set strategy.name=op-nsa": "(did you mean op-nas?)",
        "zoo bert_base": "unknown backbone 'bert_base'; there are bert-tiny, ",
        "zoo lite-transfomer": "(did you mean lite-transformer?)",
    }.items():
        assert says in tiny.command(*call.split()).err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3 seconds"), (119, "119 seconds"), (120, "2.0 minutes"), (9000, "2.5 hours"), (1e6, "11.6 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_gradient_checkpointing_is_planned_with() -> None:
    """Less memory, and the layers' forward pass once more."""
    given = ("--backbone", "bert-base", "--preset", "base", "--hardware", "a100", "--set")
    shown = []
    for setting in ("recipe.gradient_checkpointing=false", "recipe.gradient_checkpointing=true"):
        done = tiny.command("plan", "pretrain", *given, setting)
        assert done.code == 0, done.err
        flops = sum(float(each) for each in re.findall(r"([\d.e+]+) FLOPs", done.out))
        shown.append((flops, float(re.findall(r"about ([\d.]+) GB", done.out)[0])))
    (flops, memory), (more, less) = shown
    assert 1.2 * flops < more < 1.34 * flops
    assert less < memory / 3


def test_a_step_with_gradient_checkpointing_is_measured() -> None:
    small = ("--set", "model.width=16", "--set", "model.heads=2", "--set", "data.vocab_size=100")
    done = tiny.command(
        *("plan", "pretrain", "--backbone", "conv 3", *small),
        *("--set", "recipe.gradient_checkpointing=true"),
    )
    assert done.code == 0, done.err
    assert "device-hours" in done.out
