"""Comparisons of tiny encoders: engines agree, scores equal plain formulas, tables hold what was measured."""

import json
import multiprocessing
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import scipy.stats
import tiny
import torch
import transformers
from hf_samples import randomise, save_bert
from tokenizers import Tokenizer

from autobert_zero.errors import UserError
from autobert_zero.hf import AutoBertZeroConfig, AutoBertZeroForMaskedLM
from autobert_zero.hf.encoders import convert_encoder
from autobert_zero.hf.sentence_pooling import SentencePooling
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.model_comparison.engines import INT8, ONNX, PYTORCH, engines
from autobert_zero.model_comparison.memory import peak_memory
from autobert_zero.model_comparison.models import ComparedEncoder, load_encoder
from autobert_zero.model_comparison.run import ComparisonRow
from autobert_zero.model_comparison.similarity import embed, load_pairs, spearman
from autobert_zero.model_comparison.speed import measure_latency
from autobert_zero.model_comparison.table import comparison_dict, draw_comparison, markdown

TEXTS = tiny.paragraphs(7, seed=3)


def save(model: Any, folder: Path, tokenizer: Tokenizer) -> Path:
    randomise(model)
    model.eval().save_pretrained(folder)
    wrap_tokenizer(tokenizer, 32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(finished_run: Path) -> Tokenizer:
    return Tokenizer.from_file(str(finished_run / "tokenizer.json"))


@pytest.fixture(scope="module")
def bert(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"), tokenizer, transformers.BertForMaskedLM)


@pytest.fixture(scope="module")
def ours(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = AutoBertZeroConfig(
        backbone=["conv 3", "softmax(scale(Q @ K.T)) @ V"],
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
    )
    return save(AutoBertZeroForMaskedLM(config), tmp_path_factory.mktemp("ours"), tokenizer)


def task_folder(folder: Path, labels: list[float], split: str = "test") -> Path:
    lines = [
        json.dumps({"sentence1": TEXTS[number], "sentence2": TEXTS[number + 1], "label": label})
        for number, label in enumerate(labels)
    ]
    folder.mkdir(exist_ok=True)
    (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "ours"])
def test_engines_agree(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    encoder = load_encoder(str(request.getfixturevalue(kind)))
    made = {engine.name: engine for engine in engines(encoder, "cpu", (PYTORCH, ONNX, INT8), tmp_path)}
    assert list(made) == [PYTORCH, ONNX, INT8]
    vectors = {name: embed(encoder, engine, TEXTS) for name, engine in made.items()}
    np.testing.assert_allclose(vectors[ONNX], vectors[PYTORCH], rtol=1e-4, atol=1e-4)
    correlation = np.corrcoef(vectors[INT8].ravel(), vectors[PYTORCH].ravel())[0, 1]
    assert 0.9 < correlation < 1  # 8 bits: close, and not the same
    assert made[INT8].megabytes < made[ONNX].megabytes


def test_other_types_run_with_pytorch_only(tmp_path: Path, tokenizer: Tokenizer) -> None:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 24}
    config = transformers.ElectraConfig(vocab_size=tokenizer.get_vocab_size(), embedding_size=16, **sizes)
    encoder = load_encoder(str(save(transformers.ElectraModel(config), tmp_path / "electra", tokenizer)))
    assert convert_encoder(encoder.model) is None
    assert [engine.name for engine in engines(encoder, "cpu", (PYTORCH, ONNX), tmp_path)] == [PYTORCH]


def plain_vectors(encoder: ComparedEncoder, pooling: str) -> np.ndarray[Any, Any]:
    """One text at a time, without padding."""
    vectors = []
    for text in TEXTS:
        with torch.no_grad():
            inputs = encoder.tokenizer(text, return_tensors="pt", truncation=True)
            states = encoder.model(**inputs).last_hidden_state[0]
        vectors.append((states[0] if pooling == "cls" else states.mean(0)).numpy())
    return np.stack(vectors)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_spearman_is_that_of_plain_cosines(
    pooling: Literal["mean", "cls"], ours: Path, tmp_path: Path
) -> None:
    encoder = load_encoder(str(ours))
    encoder = ComparedEncoder(**{**vars(encoder), "pooling": SentencePooling(pooling)})
    (engine,) = engines(encoder, "cpu", (PYTORCH,), tmp_path)
    vectors = plain_vectors(encoder, pooling)
    np.testing.assert_allclose(embed(encoder, engine, TEXTS), vectors, rtol=1e-5, atol=1e-5)
    pairs = load_pairs("stsb", task_folder(tmp_path / "stsb", [3.0, 1.0, 4.0, 1.5, 5.0, 0.5]).parent)
    cosine = [a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairwise(vectors)]
    expected = 100 * scipy.stats.spearmanr(cosine, pairs.scores).statistic
    assert spearman(encoder, engine, pairs) == pytest.approx(expected, abs=1e-6)


def test_pooling_of_a_sentence_transformers_folder(ours: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    transformers.AutoModel.from_pretrained(ours).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(ours).save_pretrained(folder)
    assert load_encoder(str(folder)).pooling == SentencePooling("mean")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert load_encoder(str(folder)).pooling == SentencePooling("cls")


def test_splits_with_labels(tmp_path: Path) -> None:
    folder = task_folder(tmp_path / "stsb", [-1.0, -1.0, -1.0])  # GLUE's mark of a hidden label
    task_folder(folder, [1.0, 2.0, 3.0, 4.0], "validation")
    pairs = load_pairs("stsb", folder)
    assert (pairs.split, pairs.scores, pairs.first[0]) == ("validation", (1.0, 2.0, 3.0, 4.0), TEXTS[0])


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("mrpc", [1.0, 0.0, 1.0], "task mrpc is not a similarity task"),
        ("stsb", [1.0, 2.0], "a correlation needs 3 or more"),
        ("stsb", [2.0, 2.0, 2.0], "no correlation with them is defined"),
        ("stsb", [], "has none of the splits test, validation with labels"),
    ],
)
def test_tasks_that_cannot_be_scored(task: str, labels: list[float], message: str, tmp_path: Path) -> None:
    folder = task_folder(tmp_path / "stsb", labels)
    with pytest.raises(UserError, match=message):
        load_pairs(task, folder)


def yaml_task(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.yaml"
    path.write_text("\n".join(("kind: similarity", *lines)) + "\n")
    return path


def test_pairs_of_the_user_need_a_test_split_only(ours: Path, tmp_path: Path) -> None:
    rows = [(a, b, number) for number, (a, b) in enumerate(pairwise(TEXTS))]
    lines = [json.dumps({"question": a, "other": b, "how": number}) for a, b, number in rows]
    (tmp_path / "test.jsonl").write_text("\n".join(lines) + "\n")
    task = yaml_task(tmp_path, "columns: [question, other]", "label: how")
    pairs = load_pairs(str(task), tmp_path)
    assert (pairs.name, pairs.split) == ("pairs", "test")
    assert list(zip(pairs.first, pairs.second, pairs.scores, strict=True)) == rows
    # The same pairs in the shape of STS-B have the same score.
    task_folder(tmp_path / "stsb", [float(number) for *_, number in rows])
    encoder = load_encoder(str(ours))
    (engine,) = engines(encoder, "cpu", (PYTORCH,), tmp_path)
    assert spearman(encoder, engine, pairs) == spearman(
        encoder, engine, load_pairs("stsb", tmp_path / "stsb")
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["label: how"], "columns is missing"),
        (["columns: [question]"], "a similarity is of two columns"),
        (["columns: [a, b]", "metrics: [spearman]"], "unknown key metrics"),
        (["columns: [a, b]", "labels: [x, y]"], "unknown key labels"),
    ],
)
def test_similarity_tasks_that_cannot_be_read(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load_pairs(str(yaml_task(tmp_path, *lines)), tmp_path)


@pytest.mark.parametrize("command", [("finetune", "--task"), ("glue", "--tasks")])
def test_nothing_is_trained_for_similarity(command: tuple[str, str], ours: Path, tmp_path: Path) -> None:
    task = yaml_task(tmp_path, "columns: [question, other]")
    given = (command[0], "--model", ours, command[1], task, "--data", tmp_path, "--out", tmp_path / "out")
    refused = tiny.command(*given)
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert "task pairs is of kind similarity, which is scored without training" in refused.err
    assert not (tmp_path / "out").exists()


def test_latencies_are_medians_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clock = iter(range(10**6))
    monkeypatch.setattr("autobert_zero.model_comparison.speed.time.perf_counter", lambda: float(next(clock)))

    def engine(name: str) -> Any:
        def run(ids: Any, mask: Any) -> Any:
            calls.append(name)
            if name == "slow":
                next(clock)
            return ids

        return type("Engine", (), {"run": staticmethod(run)})

    times = measure_latency({"fast": (engine("fast"), 9), "slow": (engine("slow"), 9)}, [2], length=4)
    assert times == {"fast": {2: 1000.0}, "slow": {2: 2000.0}}
    assert calls[4:] == ["fast", "slow"] * 5


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own(ours: Path) -> None:
    assert 0 < peak_memory(str(ours), None, 2, 8, 50) < 2000


def test_a_killed_process_ends_the_measurement_of_memory() -> None:
    others = multiprocessing.active_children()

    def kill() -> None:
        while not (started := [child for child in multiprocessing.active_children() if child not in others]):
            time.sleep(0.01)
        started[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(UserError, match=r"^bert: .* 32 x 128 tokens was killed.*smaller --batch-size"):
        peak_memory("bert", None, 32, 128, 50)
    killer.join()


ROWS = [
    ComparisonRow("a", PYTORCH, 1000, 4.0, {1: 2.0, 8: 4.0}, 10.0, {"stsb": 50.0}),
    ComparisonRow("b", ONNX, 500, 2.0, {1: 1.0, 8: 2.0}, None, {"stsb": 45.0}),
]


def test_table_json_and_picture(tmp_path: Path) -> None:
    pairs = load_pairs("stsb", task_folder(tmp_path / "stsb", [1.0, 2.0, 3.0]))
    lines = markdown(ROWS, [pairs], 32).splitlines()
    assert lines[2] == "| a | PyTorch | 1,000 | 4.0 | 2.00 | 4.00 | 2,000 | 1.00 | 10 | 50.00 |"
    assert lines[3] == "| b | ONNX Runtime | 500 | 2.0 | 1.00 | 2.00 | 4,000 | 2.00 | | 45.00 |"
    assert comparison_dict(ROWS, [pairs], 32)["rows"][1]["sentences_per_second"] == 4000.0
    draw_comparison(ROWS, pairs, tmp_path / "picture.svg")
    assert (
        "stsb test, Spearman" in (tmp_path / "picture.svg").read_text()
        or (tmp_path / "picture.svg").stat().st_size > 1000
    )


def test_the_command(bert: Path, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autobert_zero.model_comparison.run.peak_memory", lambda *given: 12.0)  # slow
    task_folder(tmp_path / "stsb", [3.0, 1.0, 4.0])
    common = ("--length", 8, "--batch-size", "1,2", "--no-onnx")
    out = tmp_path / "table.json"
    done = tiny.command(*("compare", bert, ours, "--task", "stsb", "--data", tmp_path, "--out", out), *common)
    assert done.code == 0, done.err
    rows = json.loads(out.read_text())["rows"]
    assert [row["model"] for row in rows] == [str(bert), str(ours)]
    assert rows[0]["parameters"] == sum(p.numel() for p in load_encoder(str(bert)).model.parameters())
    assert done.out.count("| PyTorch |") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch-size", "1,x"), "--batch-size must be whole numbers from 1"),
        (("--length", 64), "has 32 positions, fewer than --length 64"),
        (("--picture", "p.png"), "name a --task"),
        (("--out", "table.txt"), "the extension must be .md or .json"),
        (("--out", "nowhere/table.md"), "is in a folder that does not exist"),
        (("--task", "cola"), "task cola is not a similarity task"),
    ],
)
def test_bad_input(options: tuple[Any, ...], message: str, ours: Path) -> None:
    refused = tiny.command("compare", ours, "--no-onnx", *options)
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert message in refused.err
