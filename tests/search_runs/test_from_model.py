"""Searches from a model: what students start with, the comparison, resume, bad input."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tiny
import torch
import transformers
from hf_samples import save_bert
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModel

import autobert_zero as az
from autobert_zero import cost
from autobert_zero.cli.search import search_settings
from autobert_zero.data.batches import TrainingBatches
from autobert_zero.data.masking import Masking
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.export.card import model_card
from autobert_zero.export.sources import open_source
from autobert_zero.hf.encoders import PretrainedEncoder, open_encoder
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.teacher_bank import TeacherBank
from autobert_zero.pretrain.goal import load_teacher
from autobert_zero.report.data import candidates
from autobert_zero.report.page import read_page
from autobert_zero.report.runs import read_reported_run
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.history import read_trials
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.search_runs.start_model import StartModel, draw_for_copying
from autobert_zero.shared_config import DistilConfig
from autobert_zero.space import Attention, Backbone, Convolution, Layer, Space
from autobert_zero.space.inheritance import even_places, inputs_by_role
from autobert_zero.training.copying import copy_layers
from autobert_zero.training.loop import Recipe
from autobert_zero.zoo import students
from autobert_zero.zoo.layers import GATED_CONVOLUTION
from autobert_zero.zoo.trunks import BERT_TRUNK, MODERN_TRUNK

STANDARD = "softmax(scale(Q @ K.T)) @ V"
GATED = f"{STANDARD} * sigmoid(P)"
SETTINGS = {
    "data.length": 16,
    "proxy.candidates": 6,
    "proxy.steps": 2,
    "proxy.warmup_steps": 2,
    "proxy.batch_size": 4,
    "proxy.validation_sequences": 8,
    "strategy.population": 4,
    "strategy.parents": 2,
    "final.finalists": 1,
    "final.screening_steps": 1,
    "final.steps": 2,
    "final.batch_size": 4,
    "space.max_ops": 5,
}


@pytest.fixture(scope="module")
def teacher(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer.from_file(str(finished_run / "tokenizer.json"))
    folder = tmp_path_factory.mktemp("teacher")
    return save_bert(folder, tokenizer, transformers.BertModel, num_hidden_layers=4)


@pytest.fixture(scope="module")
def encoder(teacher: Path) -> PretrainedEncoder:
    return open_encoder(str(teacher))


def bank_of(encoder: PretrainedEncoder) -> TeacherBank:
    torch.manual_seed(1)
    return TeacherBank(encoder.sizes, encoder.backbone, encoder.weights())


def student_of(bank: TeacherBank, backbone: Backbone) -> MaskedLM:
    student = MaskedLM(backbone, bank.config)
    bank.inherit(student)
    return student.eval()


def test_a_student_of_the_teachers_layers_computes_what_the_teacher_does(
    teacher: Path, encoder: PretrainedEncoder
) -> None:
    ids = torch.arange(5, 17)[None]
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(teacher)(ids, output_hidden_states=True).last_hidden_state
        ours = student_of(bank_of(encoder), encoder.backbone).encoder(ids)
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("form", [Backbone.canonical, lambda backbone: backbone], ids=["canonical", "own"])
@pytest.mark.parametrize("trunk", [BERT_TRUNK, MODERN_TRUNK])
def test_a_teacher_of_any_layers_and_trunk_is_its_own_student(
    trunk: dict[str, Any], form: Callable[[Backbone], Backbone]
) -> None:
    formulas = ["conv 5", "softmax(scale(K @ P.T)) @ Q", GATED, "P * (Q + K)", GATED_CONVOLUTION]
    teacher = Backbone.parse("\n".join([*formulas, "V + K * Q", "sigmoid(P) * (softmax(V @ Q.T) @ K)"]))
    sizes = EncoderConfig(vocab_size=20, width=16, heads=2, max_positions=16, **trunk)
    torch.manual_seed(0)
    model = MaskedLM(teacher, sizes).eval()
    bank = TeacherBank(sizes, teacher, model.state_dict())
    ids = torch.arange(5, 17)[None]
    with torch.no_grad():
        assert torch.allclose(student_of(bank, form(teacher)).encoder(ids), model.encoder(ids), atol=1e-5)
        assert student_of(bank, Backbone.parse(GATED)).encoder(ids).isfinite().all()
    with pytest.raises(ValueError, match="the bank holds 7 layers, the candidate has 14"):
        bank.inherit(MaskedLM(Backbone(teacher.layers * 2), sizes))


def test_fewer_layers_are_those_evenly_over_the_teachers_depth(encoder: PretrainedEncoder) -> None:
    weights = encoder.weights()
    student = student_of(bank_of(encoder), Backbone.parse(f"conv 3\n{STANDARD}")).state_dict()
    for mine, theirs in ((0, 1), (1, 3)):
        name = "feed_forward.up.weight"
        assert torch.equal(
            student[f"encoder.layers.{mine}.{name}"], weights[f"encoder.layers.{theirs}.{name}"]
        )


@pytest.mark.parametrize(
    ("depth", "limit", "places"), [(3, 6, (1, 3, 5)), (2, 6, (2, 5)), (4, 6, (0, 2, 3, 5)), (1, 5, (4,))]
)
def test_even_places_by_table(depth: int, limit: int, places: tuple[int, ...]) -> None:
    assert even_places(depth, limit) == places


@pytest.mark.parametrize(
    ("formula", "inputs"),
    [
        (STANDARD, ("Q", "K", "V")),
        ("softmax(scale(K @ Q.T)) @ V", ("K", "Q", "V")),
        (GATED, ("Q", "K", "V", "P")),
        ("Q + K", ("P", "Q")),
        ("V + P", ("P", "Q")),
    ],
)
def test_inputs_are_shared_by_their_role(formula: str, inputs: tuple[str, ...]) -> None:
    layer = Backbone.parse(formula).layers[0]
    assert isinstance(layer, Attention)
    assert inputs_by_role(layer.graph) == inputs


def test_only_what_the_teacher_lacks_learns_to_copy_its_layers(
    teacher: Path, encoder: PretrainedEncoder, corpus_file: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    settings = DistilConfig(teacher=str(teacher))
    loaded = load_teacher(encoder, settings, tokenizer, 16, encoder.sizes.width)
    prepared = prepare(from_teacher(teacher, corpus_file))
    bank, before = bank_of(encoder), bank_of(encoder)
    losses: list[float] = []
    numbers = count()

    def draw(random: Random) -> Layer:  # each kind on every second step of all four positions
        return Convolution(5) if next(numbers) // 4 % 2 else Backbone.parse(GATED).layers[0]

    batches = TrainingBatches(prepared.data.train, prepared.vocabulary, 8, (0,), Masking(isolated=True))
    recipe = Recipe(24, 8, 1e-2, precision="fp32")
    device = torch.device("cpu")
    copy_layers(
        bank,
        loaded,
        batches.batches_from(0),
        recipe,
        draw,
        0,
        device,
        lambda done, total, loss: losses.append(loss),
    )
    convolution, gated = losses[1::2], losses[::2]
    assert convolution[-1] < convolution[0]
    assert gated[-1] < gated[0]
    for name, tensor in bank.tensors.items():
        new = bank.new.get(name, torch.zeros_like(tensor, dtype=torch.bool))
        assert torch.equal(tensor[~new], before.tensors[name][~new])
    changed = [name for name in bank.new if not torch.equal(bank.tensors[name], before.tensors[name])]
    assert {"encoder.layers.0.convolution.kernel", "encoder.layers.3.attention.projection.weight"} <= {
        *changed
    }


def test_layers_for_copying_are_of_the_space() -> None:
    random = Random(0)
    only_convolutions = draw_for_copying(Space(2, attention_share=0.0))
    only_attentions = draw_for_copying(
        Space(2, attention_share=1.0, primitives=("matmul", "softmax", "transpose"))
    )
    assert all(isinstance(only_convolutions(random), Convolution) for _ in range(9))
    drawn = {operation for _ in range(30) for operation in only_attentions(random).operations}
    assert drawn <= {"matmul", "softmax", "transpose"}


def test_students_of_a_teacher_by_table() -> None:
    teacher = Backbone.parse("\n".join([STANDARD, "conv 3", "Q + K", "conv 9"]))
    assert {name: str(each) for name, each in students(teacher, 2).items()} == {
        "teacher-layers": "conv 3\nconv 9",
        "hybrid": "conv 9\nconv 9",
        "convolution": "conv 9\nconv 7",
    }


def test_the_known_students_are_the_deepest_within_the_limits() -> None:
    teacher: Any = None
    start = StartModel(teacher, Backbone.parse("\n".join([STANDARD, "conv 3"] * 3)), {})
    kernels = {"conv 9": 3, "conv 7": 2, "conv 3": 1}

    def refused(backbone: Backbone) -> str | None:
        cost = sum(kernels.get(str(layer), 2) for layer in backbone.layers)
        return f"costs {cost}" if cost > 6 else None

    known = start.known(Space(5, min_layers=1), refused)
    assert {name: str(backbone).splitlines() for name, backbone in known.items()} == {
        "teacher-layers, 4 layers": [STANDARD, STANDARD, "conv 3", "conv 3"],
        "teacher-layers, 3 layers": ["conv 3"] * 3,
        "hybrid, 3 layers": ["conv 9", "conv 3", "conv 7"],
        "hybrid, 2 layers": ["conv 9", "conv 3"],
        "convolution, 3 layers": ["conv 9", "conv 7", "conv 3"],
        "convolution, 2 layers": ["conv 9", "conv 7"],
    }
    assert start.known(Space(5, min_layers=5), refused) == {}


def test_it_can_be_planned(teacher: Path) -> None:
    given = ("--start", teacher, "--min-speedup", 2, "--set", "data.length=16", "--set", "proxy.candidates=7")
    done = tiny.command("plan", "search", *given, "--hardware", "a100")
    assert done.code == 0, done.err
    tokens = 7 * 40 * 16 * 16
    assert f"7 candidates: {tokens:,} tokens in batches of 16 x 16" in done.out
    assert "copying layers" in done.out


def test_the_front_door_takes_a_model(teacher: Path, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "no"
    settings = {"data.length": 16}
    limits: list[dict[str, Any]] = [{"min_speedup": 1e6}, {"max_latency_ms": 1e-6}]
    for limit in limits:
        with pytest.raises(UserError, match="cannot be met"):
            az.search(out, start=teacher, corpus=corpus_file, settings=settings, quiet=True, **limit)
    assert not out.exists()


def test_students_may_have_narrower_feed_forward_blocks(teacher: Path, corpus_file: Path) -> None:
    """Those of the model with the units that matter; costs of the model are those of its own blocks."""
    config = from_teacher(teacher, corpus_file)
    settings = [*(f"{name}={value}" for name, value in SETTINGS.items()), "model.feed_forward=8"]
    whole, narrow = prepare(config), prepare(from_teacher(teacher, corpus_file, set_=settings))
    assert (whole.model.inner, narrow.model.inner) == (24, 8)
    name = "encoder.layers.1.feed_forward.up.weight"
    banks = [each.evaluator().bank for each in (whole, narrow)]
    assert all(isinstance(bank, TeacherBank) for bank in banks)
    theirs, ours = (bank.state()[name].tolist() for bank in banks)
    assert (len(theirs), len(ours)) == (24, 8)
    assert [row for row in theirs if row in ours] == ours
    table = narrow.latencies()
    assert table is not None
    limits, layer = narrow.limits(table), Backbone.parse(STANDARD).canonical()
    assert limits.costs.of(layer)["latency_ms"] == table(layer.layers[0], 8)
    assert limits.teacher_ms == pytest.approx(4 * table(layer.layers[0], 24))
    assert limits.costs.of(layer)["parameters"] == cost.parameters(layer, narrow.model)


def test_layers_found_with_narrow_blocks_are_not_given_wide_ones(
    teacher: Path, corpus_file: Path, tmp_path: Path
) -> None:
    settings = [*(f"{name}={value}" for name, value in SETTINGS.items()), "model.feed_forward=8"]
    found = tmp_path / "found"
    found.mkdir()
    (found / "config.yaml").write_text(from_teacher(teacher, corpus_file, set_=settings).to_yaml())
    (found / "best.txt").write_text("conv 3\n")
    given = ("--teacher", teacher, "--start", teacher, "--backbone", found, "--out", tmp_path / "no")
    refused = tiny.command("distil", *given, "--corpus", corpus_file)
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert f"with feed-forward blocks of 8, {teacher} has 24: go on with the winner by" in refused.err
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_the_search_from_a_model(run: Path, teacher: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["teacher"]["model"] == str(teacher)
    assert summary["teacher"]["backbone"] == [STANDARD] * 4
    best = summary["best"]
    assert best["speedup"] >= 1.5
    assert summary["teacher"]["feed_forward"] == 24
    assert AutoModel.from_pretrained(run / "final").config.intermediate_size == best["feed_forward"]
    tried = {row["inner"]: row["loss"] for row in json.loads((run / "widths.json").read_text())}
    if len(tried) > 1:
        assert best["feed_forward"] == min(tried, key=lambda inner: tried[inner])
    assert best["speedup"] == pytest.approx(summary["teacher"]["latency_ms"] / best["latency_ms"])
    assert (run / "best.txt").read_text().splitlines() == best["backbone"]
    # The opponents: distilled with as many tokens; those that are slower are named.
    for name in ("every-second", "first-half", "hybrid", "convolution"):
        row = summary[name]
        assert (row["status"], row["tokens"]) == ("complete", best["tokens"])
        assert row["within_latency"] == (
            1.5 * row["latency_ms"] <= summary["teacher"]["latency_ms"] * (1 + 1e-8)
        )
    within = {
        name: summary[name]["val_loss"]
        for name in ("every-second", "first-half", "teacher-layers", "hybrid", "convolution")
        if name in summary and summary[name]["within_latency"] and name not in summary["found_again"]
    }
    assert summary["strongest"] == (min(within, key=lambda name: within[name]) if within else None)
    assert summary["every-second"]["backbone"] == summary["first-half"]["backbone"] == [STANDARD] * 2
    assert summary["every-second"]["val_loss"] != summary["first-half"]["val_loss"]
    table = (run / "summary.md").read_text()
    assert "every second layer of the model" in table
    assert str(teacher) in table
    trials = read_trials(run / "study.db")
    assert len({len(trial.proposal.backbone.layers) for trial in trials}) > 1
    assert [trial.proposal.mutations[0].split(",")[0] for trial in trials[:3]] == [
        "known: teacher-layers",
        "known: teacher-layers",
        "known: hybrid",
    ]
    limit = summary["teacher"]["latency_ms"] / 1.5
    assert all(trial.outcome.metrics["latency_ms"] <= limit for trial in trials)
    assert all(trial.outcome.score == -trial.outcome.metrics["val_loss"] for trial in trials)


@pytest.mark.slow
def test_the_winner_is_a_model_that_names_its_teacher(run: Path, teacher: Path) -> None:
    model = AutoModel.from_pretrained(run / "final")
    assert model.config.backbone == (run / "best.txt").read_text().splitlines()
    for folder in (run / "final", run):
        source = open_source(folder)
        assert f"Distilled from `{teacher}`" in model_card(source, "code.py", "picture.png", [])
    assert "held-out distillation loss" in read_page([run])
    reported, sizes = read_reported_run(run), open_encoder(str(teacher)).sizes
    assert candidates(reported)["parameters"] == [
        cost.parameters(trial.proposal.backbone, sizes) for trial in reported.trials
    ]


@pytest.mark.slow
def test_resumed_bit_by_bit(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    # As a kill leaves it: half of the history and none of the comparison.
    for name in ("summary.json", "summary.md", "best.txt", "best.json", "leaderboard.csv"):
        (again / name).unlink()
    shutil.rmtree(again / "final")
    shutil.rmtree(again / "students" / "hybrid")
    forget_trials(again / "study.db", keep=3)
    done = tiny.command("search", "--out", again, "--resume")
    assert done.code == 0, done.err
    for name in (
        "best.txt",
        "final/model.safetensors",
        "students/hybrid/model.safetensors",
        "latencies.json",
    ):
        assert (again / name).read_bytes() == (run / name).read_bytes(), name
    old, new = (read_trials(folder / "study.db") for folder in (run, again))
    assert [(trial.proposal, trial.outcome.score) for trial in new] == [
        (trial.proposal, trial.outcome.score) for trial in old
    ]


@pytest.mark.slow
def test_another_teacher_is_refused_on_resume(
    run: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tiny.contents(run)
    tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    other = save_bert(tmp_path / "other", tokenizer, transformers.BertModel, num_hidden_layers=4)
    weights = load_file(other / "model.safetensors")
    save_file(
        {name: 2 * tensor for name, tensor in weights.items()}, other / "model.safetensors", {"format": "pt"}
    )
    kept = tmp_path / "kept"
    teacher.rename(kept)
    other.rename(teacher)
    try:
        refused = tiny.command("search", "--out", run, "--resume")
    finally:
        teacher.rename(other)
        kept.rename(teacher)
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert "was started on other teacher" in refused.err
    assert tiny.contents(run) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--min-speedup", "1e6"), "1e+06 ({most} of {all} ms) cannot be met"),
        (("--latency-ms", "1e-6"), "limits.max_latency_ms = 1e-06 cannot be met: the least of 1 layer"),
        (("--set", "model.width=32"), "has width 16, not 32"),
        (("--set", "model.feed_forward=32"), "blocks of 24, which can only be narrowed, not 32"),
        (("--set", "model.layers=5"), "model.layers is 5, but"),
        (("--set", "data.length=64"), "the teacher has 32 positions"),
        (("--set", "proxy.sharing=biws"), "set proxy.sharing=none"),
        (("--set", "strategy.name=tpe"), "the strategy tpe searches one depth"),
        (("--tokenizer", "other.json"), "the model brings its tokenizer"),
        (
            ("--seed-backbone", "\n".join(["conv 3"] * 5)),
            "a seed backbone has 5 layers, the search has 1 to 4",
        ),
    ],
)
def test_bad_input(
    options: tuple[str, ...], message: str, teacher: Path, corpus_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "no"
    refused = search_from(teacher, corpus_file, out, *options)
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    for part in message.replace("{most}", "\0").replace("{all}", "\0").split("\0"):
        assert part in refused.err
    if "--min-speedup" in options:
        assert "times as fast as the model that the search starts from" in refused.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "gpt2"},
            "is of type gpt2; only encoders of type autobert-zero, bert, modernbert can be read",
        ),
        ({"is_decoder": True}, "is_decoder"),
        (None, "it has no config.json"),
        ("weights", "no weights"),
    ],
)
def test_models_that_cannot_be_read(
    change: object, message: str, teacher: Path, corpus_file: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(teacher, model)
    if isinstance(change, dict):
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | change))
    else:
        (model / ("config.json" if change is None else "model.safetensors")).unlink()
    refused = search_from(model, corpus_file, tmp_path / "no")
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert message in refused.err
    assert not (tmp_path / "no").exists()


def test_a_speedup_needs_a_model(corpus_file: Path, tmp_path: Path) -> None:
    refused = tiny.command("search", "--min-speedup", 2, "--corpus", corpus_file, "--out", tmp_path / "no")
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert "limits.min_speedup is relative to a model" in refused.err


@pytest.fixture(scope="module")
def run(teacher: Path, corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search from the teacher; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "from-model"
    done = search_from(teacher, corpus_file, out, "--min-speedup", "1.5")
    assert done.code == 0, done.err
    return out


def search_from(teacher: Path, corpus: Path, out: Path, *options: str) -> tiny.Finished:
    settings = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    return tiny.command("search", "--start", teacher, "--corpus", corpus, "--out", out, *settings, *options)


def test_the_model_may_be_named_in_the_file(teacher: Path, corpus_file: Path, tmp_path: Path) -> None:
    """What follows from the model does so too; an option counts before the file."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"distil: {{teacher: {teacher}}}\n")
    config = from_teacher(teacher, corpus_file)
    assert from_teacher(teacher, corpus_file, start=None, config=file) == config
    file.write_text("distil: {teacher: no/model}\n")
    assert from_teacher(teacher, corpus_file, config=file) == config


def forget_trials(study: Path, keep: int) -> None:
    """Takes the trials from a number on out of a history."""
    with sqlite3.connect(study) as connection:
        late = "SELECT trial_id FROM trials WHERE number >= ?"
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name.startswith("trial_")
        ]
        for table in tables:
            connection.execute(f"DELETE FROM {table} WHERE trial_id IN ({late})", (keep,))
        connection.execute("DELETE FROM trials WHERE number >= ?", (keep,))


def from_teacher(teacher: Path, corpus: Path, **changes: Any) -> SearchConfig:
    """The config of a search; `changes` are other options."""
    options = dict.fromkeys(
        (
            "config",
            "text_column",
            "tokenizer",
            "seed",
            "max_params",
            "max_latency_ms",
            "min_speedup",
            "storage",
        )
    )
    options |= {"out": Path("no"), "preset": "demo", "corpus": [str(corpus)], "resume": False}
    options |= {"seed_backbone": [], "start": str(teacher)}
    options["set_"] = [f"{name}={value}" for name, value in SETTINGS.items()]
    return search_settings(options | changes)[0]
