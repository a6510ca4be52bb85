"""The command line: `describe`, and one clear line for every mistake, with nothing changed on disk."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

import autobert_zero
from autobert_zero.hf import AutoBertZeroConfig, AutoBertZeroForMaskedLM
from autobert_zero.zoo.trunks import MODERN_TRUNK

# Largest value: 12 heads of 128 x 128 are less than 128 x 3,072 in the feed-forward block.
# FLOPs by hand: projections 603,979,776, products 50,331,648, scale 196,608, softmax 983,040 and
# feed-forward 1,207,959,552. Weights: 23,835,648 in the embeddings, 1,536 in their norm, 622,650 in the head.
GOLDEN = """\
key c9bf01930c7794c0, n = tokens, d = 64 per head (d_model 768, 12 heads)

layer 1: softmax(scale(Q @ K.T)) @ V
    Q                            (n, d)
    K                            (n, d)
    K.T                          (d, n)
    Q @ K.T                      (n, n)
    scale(Q @ K.T)               (n, n)
    softmax(scale(Q @ K.T))      (n, n)
    V                            (n, d)
    softmax(scale(Q @ K.T)) @ V  (n, d)
    compiled:
      v1 (n, d) = sdpa(Q, K, V; scale 1/sqrt(d_h))
    7,087,872 parameters (28.4 MB), 1,863.5 MFLOPs, largest value 1.57 MB per sequence of 128 tokens, \
in single precision

31,547,706 parameters with embeddings (30,522 tokens) and MLM head, \
1.863 GFLOPs per sequence of 128 tokens in the encoder
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the command, with the cache in it: nothing may appear there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*arguments: object) -> str:
    """Runs a command that is a mistake; returns the message."""
    before = tiny.contents(Path())
    done = tiny.command(*arguments)
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\nerror: ") == 0
    assert "Traceback" not in done.err
    assert tiny.contents(Path()) == before
    return done.err.removeprefix("error: ").rstrip("\n")


def refused_search(settings_file: Path, *arguments: object) -> str:
    """Runs a search that is a mistake; returns the message, which is one line."""
    message = refused("search", "--config", settings_file, "--out", "run", *arguments)
    assert "\n" not in message
    return message


class TestDescribe:
    def test_berts_formula(self) -> None:
        done = tiny.command("describe", "softmax(scale(Q @ K.T)) @ V")
        assert (done.code, done.out, done.err) == (0, GOLDEN, "")

    def test_inputs_are_renamed(self) -> None:
        assert tiny.command("describe", "softmax(scale(P @ V.T)) @ K").out == GOLDEN

    def test_what_long_sequences_make_large(self) -> None:
        """An attention that keeps its (n, n) matrix, 2 heads of 1,000 x 1,000 numbers of 4 bytes."""
        options = ("--width", 8, "--heads", 2, "--length", 1000)
        assert (
            "largest value 8.00 MB"
            in tiny.command("describe", "(Q @ K.T + euclidean(Q, K)) @ V", *options).out
        )
        assert (
            "largest value 0.13 MB" in tiny.command("describe", "softmax(scale(Q @ K.T)) @ V", *options).out
        )

    def test_measured(self) -> None:
        options = ("--width", 8, "--heads", 2, "--length", 16, "--batch", 2, "--measure", "--device", "cpu")
        out = tiny.command("describe", "softmax(scale(Q @ K.T)) @ V", *options).out
        times = [float(time) for time in re.findall(r"([0-9.]+) ms", out)]
        assert len(times) == 4  # of the layer and of the sum, each forward and with backward
        assert all(time > 0 for time in times)
        assert "(2 x 16 tokens on cpu, threads:" in out
        assert "MB kept for the backward pass" in out

    def test_sizes(self) -> None:
        options = ("--width", 8, "--heads", 2, "--length", 5, "--vocab-size", 23)
        out = tiny.command("describe", "softmax(scale(Q @ K.T)) @ V", *options).out
        # By hand, as in test_cost: 8,780 FLOPs; 872 weights in the layer; 23 + 512 + 2 embeddings of 8.
        assert "d = 4 per head (d_model 8, 2 heads)" in out
        assert (
            "    872 parameters (0.0 MB), 0.0 MFLOPs, largest value 0.00 MB per sequence of 5 tokens" in out
        )
        assert (
            f"{(23 + 512 + 2) * 8 + 16 + 872 + 72 + 16 + 23:,} parameters with embeddings (23 tokens)" in out
        )

    def test_a_file(self, folder: Path) -> None:
        (folder / "mine.txt").write_text("# an idea\nconv 65\n\nQ @ (softmax(K.T) @ V)  # linear\n")
        (folder / "mine.json").write_text('["conv 65", "Q @ (softmax(K.T) @ V)"]')
        done = tiny.command("describe", "mine.txt")
        assert done.code == 0
        # Projections 2 x 768 x (768 + 1) + 768 x (768 + 1), 12 kernels of 65, feed-forward block, two norms.
        weights = 3 * 768 * 769 + 12 * 65 + (768 * 3073 + 3072 + 768 * 3072) + 4 * 768
        assert f"layer 1: conv 65\n    {weights:,} parameters" in done.out
        assert "layer 2: Q @ (softmax(K.T) @ V)\n" in done.out
        assert "    softmax(K.T)            (d, n)\n" in done.out
        assert tiny.command("describe", "mine.json").out == done.out

    def test_a_run_folder(self, finished_run: Path) -> None:
        done = tiny.command("describe", finished_run)
        assert done.code == 0
        for number, layer in enumerate((finished_run / "best.txt").read_text().splitlines(), start=1):
            assert f"layer {number}: {layer}\n" in done.out
        weights = json.loads((finished_run / "summary.json").read_text())["best"]["parameters"]
        assert f"\n{weights:,} parameters with embeddings" in done.out
        assert "trunk: " not in done.out  # BERT's

    @pytest.mark.parametrize("name", ["bert", "hybrid", "convolution", "bert-base", "lite-transformer"])
    def test_names(self, name: str) -> None:
        done = tiny.command("describe", name)
        assert done.code == 0, done.err
        assert "layer 1: " in done.out

    def test_depth_of_the_reference_backbones(self) -> None:
        assert "layer 2: " in tiny.command("describe", "bert", "--layers", 2).out
        assert "layer 3: " not in tiny.command("describe", "bert", "--layers", 2).out
        assert "--layers is for bert, hybrid, convolution" in refused("describe", "Q + K", "--layers", 2)

    @pytest.mark.parametrize("text", ["conv 65\nQ + K\n", '["conv 65", "Q + K"]', "\ufeffconv 65\nQ + K"])
    def test_standard_input(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert tiny.command("describe", "-").out == tiny.command("describe", "conv 65\nQ + K").out

    def test_what_is_wrong_in_the_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("conv 3\nconv 4\n"))
        assert refused("describe", "-").startswith("standard input: line 2: a convolution has a kernel")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("conv 3".encode("utf-16"))))
        assert refused("describe", "-").startswith(
            "standard input is not a readable text file: 'utf-8' codec"
        )
        monkeypatch.setattr("sys.stdin", None)
        assert refused("describe", "-").startswith("standard input is closed; name a file")

    @pytest.mark.parametrize("name", ["config.json", "pretrain.yaml"])
    def test_the_folder_of_a_model(self, folder: Path, name: str) -> None:
        (folder / "model").mkdir()
        path = folder / "model" / name
        path.write_text('{"backbone": ["conv 65", "Q + K"]}')
        out = tiny.command("describe", "model").out
        if name == "config.json":
            assert out == tiny.command("describe", "conv 65\nQ + K").out
        else:
            assert "(d_model 64, 4 heads)" in out
            assert "(8,192 tokens)" in out
        path.write_text('{"model_type": "bert"}')
        assert refused("describe", "model").startswith(f"model/{name} names no backbone")

    def test_sizes_and_trunk_of_a_model(self, folder: Path) -> None:
        """Its own, unless an option names others."""
        sizes = {"hidden_size": 24, "num_attention_heads": 3, "vocab_size": 90, "intermediate_size": 40}
        model = AutoBertZeroForMaskedLM(
            AutoBertZeroConfig(backbone=["conv 65", "Q + K"], **sizes, **MODERN_TRUNK)
        )
        model.config.save_pretrained(folder / "model")
        out = tiny.command("describe", "model").out
        assert "d = 8 per head (d_model 24, 3 heads)" in out
        assert f"\n{model.num_parameters():,} parameters with embeddings (90 tokens)" in out
        assert out.endswith("trunk: norm pre, feed forward kind geglu, positions none, biases False\n")
        options = "--width", 12, "--norm", "post", "--biases"
        changed = tiny.command("describe", "model", *options).out
        assert "(d_model 12, 3 heads)" in changed
        assert changed.endswith("trunk: feed forward kind geglu, positions none\n")

    def test_a_stack_has_nothing_to_do_with_a_folder_of_its_name(self, folder: Path) -> None:
        (folder / "bert").mkdir()
        (folder / "bert" / "config.json").write_text('{"hidden_size": 24, "num_attention_heads": 2}')
        assert "(d_model 768, 12 heads)" in tiny.command("describe", "bert").out

    @pytest.mark.parametrize(
        ("formula", "message"),
        [
            ("", "a backbone has at least one layer"),
            ("softmax(Q", "not a formula: '(' was never closed (column 8)"),
            ("relu(Q) + K", "unknown primitive 'relu'; calls are scale, softmax"),
            ("Q @ W", "unknown name 'W'; inputs are Q, K, V, P (column 5)"),
            ("Q @ K", "matmul expects (a, b) @ (b, c), got (n, d), (n, d)"),
            ("Q @ K.T", "the output must be (n, d)"),
            ("scale(Q)", "an attention uses at least 2 of the inputs"),
            ("Q + 1", "'1' is not part of the formula syntax"),
            ("conv 8", "a convolution has a kernel of one of 3, 5, 7, 9, 15, 31, 65, not 8"),
            ("conv", "write a convolution as `conv 9`"),
            ("__import__('os').system('touch x')", "is not part of the formula syntax"),
            ("Q + " * 5000 + "K", "characters, more than"),
            ("Q + 0x" + "f" * 3600, "'0xffff"),
            ("Q + -0b" + "1" * 3900, "'0b1111"),
            ("softmax(0o" + "7" * 3900 + ")", "'0o7777"),
            ("9" * 3990, "is not part of the formula syntax"),
            ("conv " + "9" * 5000, "write a convolution as `conv 9`"),
        ],
    )
    def test_bad_formulas(self, formula: str, message: str) -> None:
        assert message in refused("describe", formula)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("no.txt", None, "there is no file no.txt"),
            ("no.json", None, "there is no file no.json"),
            ("nowhere/", None, "there is no file nowhere/"),
            ("runs/demo", None, "there is no file runs/demo"),
            ("../best", None, "there is no file ../best"),
            ("~/best", None, "there is no file ~/best"),
            ("my best.yaml", None, "there is no file my best.yaml"),
            ("C:\\runs\\demo", None, "there is no file C:\\runs\\demo"),
            ("hybird", None, "no file hybird, and no backbone of that name in the zoo; did you mean hybrid?"),
            ("ideas", None, "there is no file ideas, and no backbone of that name in the zoo"),
            ("a.json", b"[" * 100_000, "a.json: not JSON"),
            ("a.txt", b"", "a.txt: a backbone has at least one layer"),
            ("a.txt", b"conv 3\nconv 4\n", "a.txt: line 2: a convolution has a kernel of one of"),
            ("a.txt", b"conv 3\nsoftmax(scale(Q @ K", "a.txt: line 2: not a formula"),
            ("a.txt", b"\xff\0", "a.txt is not a readable text file"),
            ("a.json", b'["conv 3", ', "a.json: not JSON"),
            ("a.json", b'{"a": 1}', "a.json: a backbone in JSON is a list with one string per layer"),
        ],
    )
    def test_bad_files(self, folder: Path, name: str, content: bytes | None, message: str) -> None:
        if content is not None:
            (folder / name).write_bytes(content)
        assert message in refused("describe", name)

    def test_a_run_that_is_not_finished(self, folder: Path) -> None:
        (folder / "run").mkdir()
        assert refused("describe", "run") == "run has no best.txt; it is not a finished search"

    def test_a_best_that_lost_its_end(self, finished_run: Path) -> None:
        shutil.copytree(finished_run, "run")
        best = Path("run/best.txt")
        best.write_text("conv 3\nsoftmax(scale(Q @ K.")
        assert refused("describe", "run").startswith("run/best.txt: line 2: not a formula")
        best.write_text("")
        assert refused("describe", "run").startswith("run/best.txt: a backbone has at least one layer")

    def test_a_damaged_tokenizer(self, finished_run: Path) -> None:
        shutil.copytree(finished_run, "run")
        for content in (b"", b"{}", b"\xff"):
            Path("run/tokenizer.json").write_bytes(content)
            assert refused("describe", "run").startswith("tokenizer 'run/tokenizer.json' cannot be loaded: ")

    def test_a_damaged_config_of_a_model(self, folder: Path) -> None:
        """The backbone may be another file's."""
        (folder / "model").mkdir()
        (folder / "model" / "best.txt").write_text("Q + K")
        path = folder / "model" / "config.json"
        for content, message in (
            (b"", " is not JSON"),
            (b"\xff", " is not JSON"),
            (b"[]", " is not a JSON object"),
            (b'{"hidden_size": null}', ": "),
        ):
            path.write_bytes(content)
            assert refused("describe", "model").startswith(f"model/config.json{message}")

    def test_heads_that_do_not_divide_the_width(self) -> None:
        message = refused("describe", "Q + K", "--width", 10, "--heads", 3)
        assert message == "width 10 is not divisible by 3 heads; choose a multiple of the heads"

    @pytest.mark.parametrize("backbone", ["rotary", "rotary-hybrid", "Q + rotary(K)"])
    def test_pairs_of_channels_in_an_odd_head_dimension(self, backbone: str) -> None:
        message = refused("describe", backbone, "--width", 24, "--heads", 8)
        assert message.startswith("rotary needs an even head dimension")

    @pytest.mark.parametrize("option", ["--width", "--heads", "--length", "--vocab-size"])
    def test_sizes_below_one(self, option: str) -> None:
        done = tiny.command("describe", "Q + K", option, 0)
        assert done.code == 2
        assert option in done.err


BAD_SETTINGS = {
    "unknown preset": (["--preset", "huge"], "unknown preset 'huge'; there are demo, small, paper"),
    "unknown strategy": (
        ["--set", "strategy.name=luck"],
        "unknown strategy 'luck'; there are op-nas, op-nas-paper, random",
    ),
    "unknown device": (["--set", "device=toaster"], "device 'toaster' cannot be used"),
    "absent device": (["--set", "device=hpu"], "device 'hpu' cannot be used"),
    "device that computes nothing": (["--set", "device=meta"], "device 'meta' cannot be used"),
    "unknown key": (
        ["--set", "model.wdith=8"],
        "config: unknown key model.wdith (did you mean model.width?)",
    ),
    "plural": (["--set", "proxy.candidate=8"], "proxy.candidate (did you mean proxy.candidates?)"),
    "no section": (["--set", "candidates=8"], "unknown key candidates (did you mean proxy.candidates?)"),
    "many sections": (["--set", "workers=8"], "unknown key workers (did you mean final.workers?)"),
    "unlike all": (["--set", "zebra=8"], "config: unknown key zebra"),
    "one of a list": (
        ["--set", "strategy.objectives=[beauty]"],
        "config: strategy.objectives.0: input should be 'score', 'parameters', 'flops' or 'latency'",
    ),
    "width and heads": (["--set", "model.width=17"], "config: model: width 17 is not divisible by 2 heads"),
    "no setting": (["--set", "seed"], "write a setting as key=value"),
    "no YAML": (["--set", "seed=[1"], "the value of seed is not valid: '[1'"),
    "wrong type": (["--set", "proxy.steps=many"], "config: proxy.steps: input should be a valid integer"),
    "out of bounds": (["--set", "space.attention_share=2"], "config: space.attention_share: input should be"),
    "negative seed": (["--seed", "-1"], "config: seed: input should be greater than or equal to 0"),
    "huge seed": (["--seed", str(2**70)], "config: seed: input should be less than"),
    "no config": (["--config", "no.yaml"], "config no.yaml cannot be read: No such file or directory"),
    "missing corpus": (["--corpus", "no.txt"], "corpus 'no.txt' does not exist"),
    "dataset out of reach": (["--corpus", "nobody/nothing"], "corpus 'nobody/nothing' is not a local file"),
    "missing tokenizer": (["--tokenizer", "no.json"], "tokenizer 'no.json': there is no file no.json"),
    "no seed backbone": (["--seed-backbone", "ideas"], "there is no file ideas for --seed-backbone"),
    "sequences too long": (["--set", "data.length=3000"], "gives 0 sequences, fewer than the 20 needed"),
    "batch too large": (["--set", "final.batch_size=9999"], "use more text, a smaller batch or shorter"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings(settings_file: Path, arguments: list[str], message: str) -> None:
    found = refused_search(settings_file, *arguments)
    assert message in found
    assert found.count("config: ") <= 1
    assert "after validation" not in found, "what only follows from another problem"


def test_a_limit_that_nothing_meets(settings_file: Path) -> None:
    """The size of the vocabulary is needed, so the corpus is tokenised (and cached), but no run begins."""
    done = tiny.command("search", "--config", settings_file, "--out", "run", "--max-params", 100)
    assert done.code == 2
    assert done.err.startswith("error: limits.max_params = 100 cannot be met: the least of")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sede: 3\n", "config: unknown key sede"),
        (b"model: {width: 10, heads: 4}\n", "width 10 is not divisible by 4 heads"),
        (b"model: [", "config bad.yaml is not YAML"),
        (b"\x89PNG\r\n", "config bad.yaml is not YAML"),
        (b"a sentence\n", "config bad.yaml is not a mapping of settings"),
        (b"seed: three\n", "config: seed: input should be a valid integer"),
    ],
)
def test_bad_config_files(folder: Path, content: bytes, message: str) -> None:
    (folder / "bad.yaml").write_bytes(content)
    assert message in refused("search", "--config", "bad.yaml", "--out", "run")


def parquet_of_numbers(path: Path) -> None:
    pq.write_table(pa.table({"n": [1, 2]}), path)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.txt", lambda path: path.write_bytes(b""), "corpus 'a.txt' is empty"),
        ("a.txt", lambda path: path.write_bytes(b"\n \n"), "corpus 'a.txt' is empty"),
        ("a.txt", lambda path: path.write_bytes(b"a\0b"), "a.txt is binary, not text"),
        ("a.txt", lambda path: path.write_bytes(b"gr\xf6\xdfer"), "a.txt is not UTF-8 text; convert it"),
        ("a.txt", lambda path: path.write_bytes(b"too short"), "corpus 'a.txt' gives 0 sequences"),
        ("a.txt.gz", lambda path: path.write_bytes(b"no gzip"), "a.txt.gz ends in .gz but is not a gzip"),
        ("a.jsonl", lambda path: path.write_bytes(b'{"a": '), "corpus 'a.jsonl' cannot be read as json"),
        ("a.parquet", parquet_of_numbers, "corpus 'a.parquet' has no column of text, only n (int64)"),
        ("texts", Path.mkdir, "corpus 'texts' has no file that ends in .txt"),
    ],
)
def test_bad_corpora(
    settings_file: Path, folder: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    make(folder / name)
    assert message in refused_search(settings_file, "--corpus", name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("conv 3\n", "a seed backbone has 1 layer, the search has 2; change the file or model.layers"),
        ("conv 3\nconv 4\n", "mine.txt: line 2: a convolution has a kernel of one of 3, 5, 7"),
        ("conv 3\nrelu(Q) + K\n", "mine.txt: line 2: unknown primitive 'relu'"),
        ("conv 3\nQ @ K\n", "mine.txt: line 2: matmul expects (a, b) @ (b, c)"),
        ("", "mine.txt: a backbone has at least one layer"),
    ],
)
def test_bad_seed_backbones(settings_file: Path, folder: Path, content: str, message: str) -> None:
    (folder / "mine.txt").write_text(content)
    arguments = ("--config", settings_file, "--out", "run", "--seed-backbone", "mine.txt")
    assert message in refused("search", *arguments)


def test_the_folder_of_another_run(settings_file: Path, finished_run: Path) -> None:
    shutil.copytree(finished_run, "run")
    message = refused_search(settings_file)
    assert message == "run holds a search already; continue it with --resume, or choose another --out"


def test_a_folder_of_other_files(settings_file: Path, folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "thesis.tex").write_text("mine")
    assert refused_search(settings_file).startswith("run holds other files already")


def test_a_file_for_a_folder(settings_file: Path, folder: Path) -> None:
    (folder / "run").write_text("mine")
    assert refused_search(settings_file) == "run is a file; choose another --out"


@pytest.mark.parametrize("name", ["a" * 300, "file/run"])
@pytest.mark.parametrize(
    "command",
    [
        ("report",),
        ("diagnose",),
        ("search", "--resume", "--out"),
        ("pretrain", "--resume", "--out"),
        ("draw", "bert", "-o"),
    ],
)
def test_a_path_that_cannot_be_used(folder: Path, command: tuple[str, ...], name: str) -> None:
    (folder / "file").write_text("mine")
    done = tiny.command(*command, name)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert name in done.err
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made(settings_file: Path, folder: Path) -> None:
    (folder / "file").write_text("mine")
    done = tiny.command("search", "--config", settings_file, "--out", "file/run")
    assert (done.code, done.err) == (
        2,
        "error: file/run cannot be made: Not a directory; choose another --out\n",
    )
    assert (folder / "file").read_text() == "mine"


def test_an_empty_folder_is_free(settings_file: Path, folder: Path) -> None:
    (folder / "run").mkdir()
    arguments = ("--set", "proxy.candidates=1", "--set", "final.finalists=1")
    assert tiny.command("search", "--config", settings_file, "--out", "run", *arguments).code == 0


@pytest.mark.usefixtures("shared_cache")
class TestResume:
    def test_where_there_is_no_run(self, folder: Path) -> None:
        expected = "run holds no search (no config.yaml); start one without --resume"
        assert refused("search", "--resume", "--out", "run") == expected
        (folder / "run").mkdir()
        assert refused("search", "--resume", "--out", "run") == expected

    @pytest.mark.parametrize(
        "change",
        [
            ["--seed", "0"],
            ["--preset", "small"],
            ["--set", "proxy.steps=5"],
            ["--corpus", "kjv"],
            ["--config", "other.yaml"],
            ["--tokenizer", "other.json"],
            ["--seed-backbone", "mine.txt"],
        ],
    )
    def test_with_another_config(self, finished_run: Path, change: list[str]) -> None:
        message = refused("search", "--resume", "--out", finished_run, *change)
        assert message == "a resumed run keeps its config: give --resume and --out only"

    @pytest.mark.parametrize(
        ("name", "damage", "message"),
        [
            ("config.yaml", b"\x80garbage: [", "run/config.yaml is damaged"),
            ("config.yaml", b"", "run/config.yaml is damaged (a setting is missing); start another run"),
            ("config.yaml", 200, "run/config.yaml is damaged"),
            ("seed_backbones.json", b"[[1]]", "run/seed_backbones.json is damaged"),
            ("seed_backbones.json", None, "run/seed_backbones.json is damaged"),
            ("study.db", b"garbage" * 1000, "run/study.db cannot be reached or read"),
            ("study.db", 60_000, "run/study.db cannot be reached or read"),
            ("study.db", b"", "run/study.db is missing or empty, the run cannot be resumed"),
            ("study.db", None, "run/study.db is missing or empty, the run cannot be resumed"),
            ("bank", None, "run has no snapshot that belongs to them"),
            ("times.json", b"{", "run/times.json is damaged"),
            ("times.json", b"7", "run/times.json is damaged"),
            ("final/bert.json", b'{"name": ', "run/final/bert.json is damaged"),
            ("final/bert.json", b'{"nom": "bert"}', "run/final/bert.json is damaged"),
        ],
    )
    def test_a_damaged_run(
        self, finished_run: Path, name: str, damage: bytes | int | None, message: str
    ) -> None:
        """Damage: other content, the first so many bytes only, or None: it is gone."""
        shutil.copytree(finished_run, "run")
        path = Path("run") / name
        if damage is None:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:damage] if isinstance(damage, int) else damage)
        found = refused("search", "--resume", "--out", "run")
        assert message in found
        assert "\n" not in found

    def test_a_run_of_another_version_is_not_called_damaged(self, finished_run: Path) -> None:
        shutil.copytree(finished_run, "run")
        record = json.loads(Path("run/run.json").read_text())
        record["sessions"][0] |= {"versions": {"autobert-zero": "9.9.9"}, "commit": "f" * 40}
        Path("run/run.json").write_text(json.dumps(record))
        with Path("run/config.yaml").open("a") as stream:
            stream.write("invented_later: 3\n")
        message = refused("search", "--resume", "--out", "run")
        assert message.startswith("run/config.yaml was written by autobert-zero 9.9.9 (ffffffff")
        assert "unknown key invented_later" in message
        assert "damaged" not in message

    def test_a_snapshot_of_other_sizes(self, finished_run: Path) -> None:
        shutil.copytree(finished_run, "run")
        config = Path("run/config.yaml")
        config.write_text(config.read_text().replace("width: 16", "width: 8"))
        assert "is of a search with another model.width" in refused("search", "--resume", "--out", "run")


def test_usage_errors_are_exit_code_2_too() -> None:
    for arguments in (
        ["search"],
        ["search", "--out"],
        ["serach"],
        ["describe"],
        ["describe", "Q + K", "--depth", "3"],
    ):
        done = tiny.command(*arguments)
        assert done.code == 2
        assert "Traceback" not in done.err


def test_help() -> None:
    for command in ([], ["search"], ["describe"], ["plan"], ["plan", "search"], ["plan", "finetune"]):
        for option in ("--help", "-h"):
            done = tiny.command(*command, option)
            assert done.code == 0
            assert "Usage" in done.out


def test_version() -> None:
    done = tiny.command("--version")
    assert done.code == 0
    assert re.match(r"autobert-zero \d+\.\d+\.\d+", done.out)
    assert autobert_zero.__version__ == done.out.split()[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_the_shell(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What runs the tests may be a shell that has no completion: make and CI call sh.
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    done = tiny.command("--show-completion")
    assert "autobert-zero" in done.out + done.err


@pytest.mark.parametrize("module", ["torch", "datasets", "optuna"])
def test_describe_is_light(module: str) -> None:
    program = (
        "import sys; sys.argv = ['autobert-zero', 'describe', 'Q + K']; from autobert_zero import cli\n"
        f"try: cli.main()\nexcept SystemExit: print({module!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_installed_command() -> None:
    command = Path(sys.executable).with_name("autobert-zero")
    done = subprocess.run([command, "describe", "relu(Q) + K"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: line 1: unknown primitive 'relu'")
    assert "Traceback" not in done.stderr
