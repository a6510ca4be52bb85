"""One convention for all commands: the same word for the same thing, results as text or as JSON."""

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tiny
import torch
import typer

from autobert_zero import api
from autobert_zero.cli import app
from autobert_zero.files import json_values
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.kinds import KINDS
from autobert_zero.plan import HARDWARE
from autobert_zero.predict.heads import HEADS
from autobert_zero.predict.write import FORMATS
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.pretrain.presets import PRETRAIN_PRESETS
from autobert_zero.search.config import SearchConfig, StrategyConfig
from autobert_zero.search.presets import PRESETS
from autobert_zero.search.strategies import STRATEGIES
from autobert_zero.settings import RunConfig, parse_setting, read_yaml, resolve
from autobert_zero.settings_text import commented_yaml, list_settings
from autobert_zero.zoo import STACKS, bert

ROOT = Path(__file__).parent.parent


def commands(group: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All commands by their whole names, those of groups too."""
    group = typer.main.get_group(app) if group is None else group
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", each


ALL = dict(commands())
CONFIGURED = {"--config", "--set", "--seed", "--device", "--out"}
TRAINING = CONFIGURED | {"--preset", "--corpus", "--text-column", "--resume"}
TUNING = CONFIGURED | {"--model", "--data", "--rates", "--seeds", "--batch-size", "--length"}
CONVENTION = {
    "search": TRAINING | {"--tokenizer", "--workers", "--storage", "--start"},
    "report": {"--out"},
    "diagnose": {"--device", "--workers"},
    "pretrain": TRAINING | {"--tokenizer", "--backbone", "--layers", "--start"},
    "distil": TRAINING | {"--backbone", "--layers", "--start", "--teacher"},
    "finetune": TUNING | {"--task"},
    "glue": TUNING | {"--tasks"},
    "predict": {"--model", "--out", "--device", "--batch-size", "--precision"},
    "minimal-pairs": {"--model", "--data", "--out", "--device", "--precision"},
    "compare": {"--task", "--data", "--out", "--device", "--batch-size", "--length"},
    "export": {"--out"},
    "describe": {"--layers", "--width", "--heads", "--length", "--batch-size", "--device"},
    "draw": {"--out", "--layers"},
    "zoo": set(),
    "config": {"--preset", "--config", "--set", "--seed", "--device"},
    "cache": set(),
}
"""What every command takes at least, beside the options that all have."""


def options(command: Any) -> dict[str, Any]:
    return {name: each for each in command.params for name in (*each.opts, *each.secondary_opts)}


def test_the_commands_and_their_order() -> None:
    plain = [name for name in ALL if not name.startswith("plan ")]
    assert plain == list(CONVENTION)
    assert {name.removeprefix("plan ") for name in ALL if name.startswith("plan ")} <= set(CONVENTION)


@pytest.mark.parametrize("name", ALL)
def test_every_command_keeps_the_convention(name: str) -> None:
    given = options(ALL[name])
    assert set(given) >= CONVENTION[name.removeprefix("plan ")] | {"--quiet", "-q", "--verbose", "-v"}
    assert ("--json" in given) == (name != "predict")
    assert ("-o" in given) == ("--out" in given)
    assert all(re.fullmatch(r"--[a-z][a-z0-9-]*|-[a-z]", option) for option in given if option[0] == "-")
    assert all(each.help for option, each in given.items() if option.startswith("--"))
    if "--device" in given:
        assert given["--device"].envvar == "AUTOBERT_ZERO_DEVICE"
    if "--set" in given and name != "config":
        assert "--list` lists them" in given["--set"].help


def test_an_option_has_one_help_in_all_commands_of_a_kind() -> None:
    for option in (
        *("--device", "--config", "--corpus", "--text-column", "--resume", "--layers", "--json", "--workers"),
    ):
        helps = {given[option].help for each in ALL.values() if option in (given := options(each))}
        assert len(helps) == 1, option


def words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z][\w-]*", text) if word != "or"]


@pytest.mark.parametrize(
    ("command", "option", "listed", "names"),
    [
        ("search", "--preset", "^(.*)[.]$", PRESETS),
        ("pretrain", "--preset", "^(.*)[.]$", PRETRAIN_PRESETS),
        ("config", "--preset", "search: (.*?);", PRESETS),
        ("config", "--preset", "pretrain: (.*?);", PRETRAIN_PRESETS),
        ("plan search", "--hardware", "^(.*?);", HARDWARE),
        ("describe", "backbone", r"a stack \((.*?)\)", STACKS),
        ("search", "--seed-backbone", r"a stack \((.*?)\)", STACKS),
        ("predict", "--format", "^(.*?);", FORMATS),
        ("predict", "--task", "^(.*?);", HEADS),
    ],
)
def test_help_names_what_there_is(command: str, option: str, listed: str, names: Iterable[str]) -> None:
    """Tables load PyTorch, so the help has the names of its own."""
    (found,) = re.findall(listed, options(ALL[command])[option].help)
    assert words(found) == list(names)


def test_help_names_the_defaults_of_the_config() -> None:
    config, given = FinetuneConfig().resolved(), options(ALL["finetune"])
    for name in ("seed", "seeds", "epochs", "batch_size", "keep"):
        (default,) = re.findall(r"default: (\w+)", given[f"--{name.replace('_', '-')}"].help)
        assert default == str(getattr(config, name))
    (rates,) = re.findall("default: (.*)[.]$", given["--rates"].help)
    assert tuple(map(float, rates.split(","))) == config.rates


@pytest.mark.parametrize("name", ["device", "precision"])
def test_a_setting_of_all_configs_is_described_alike(name: str) -> None:
    configs = (SearchConfig, PretrainConfig, FinetuneConfig)
    (description,) = {config.model_fields[name].description for config in configs}
    if name == "device":
        assert (description or "").replace("`", "") == options(ALL["search"])["--device"].help


def test_the_settings_name_what_there_is() -> None:
    assert re.findall("`(.*?)`", StrategyConfig.model_fields["name"].description or "") == list(STRATEGIES)


def test_help_begins_with_the_search_and_is_grouped() -> None:
    out = tiny.command("--help").out
    panels = ["Search", "Train", "Use and compare models", "Backbones", "Settings and files"]
    places = [out.index(f"─ {panel} ") for panel in panels]
    assert places == sorted(places)
    assert out.index("search  ") < out.index("report  ")


@pytest.mark.parametrize("name", ["search", "pretrain", "finetune", "draw"])
def test_the_functions_of_the_package_take_the_options_of_their_commands(name: str) -> None:
    taken = set(inspect.signature(getattr(api, name)).parameters)
    other = {"settings": "set", "seed_backbones": "seed-backbone"}
    known = {option.lstrip("-") for option in options(ALL[name])}
    assert {other.get(each, each.replace("_", "-")) for each in taken} <= known


def test_old_names_of_options_work() -> None:
    sizes = ("--width", 8, "--heads", 2)
    assert tiny.command("describe", "conv 3", *sizes, "--batch", 2).code == 0
    assert "--batch " not in tiny.command("describe", "--help").out
    assert tiny.command("plan", "search", "--latency-ms", "no number").err.count("--max-latency-ms")
    assert tiny.command("plan", "search", "--speedup", "no number").err.count("--min-speedup")
    assert not {"--latency-ms", "--speedup"} & set(tiny.command("search", "--help").out.split())


def test_the_help_of_finetune_names_every_built_in_task() -> None:
    """It cannot read the registry, whose import takes seconds."""
    listed = tiny.command("finetune", "--help").out
    own = [name for kind, each in KINDS.items() if kind != "texts" for name in each.tasks]
    assert own
    assert [name for name in own if name not in listed] == []


def test_a_plan_says_of_out_what_is_so() -> None:
    for name, each in ALL.items():
        if name.startswith("plan "):
            given = options(each)
            assert ("--resume" in given["--out"].help) == ("--resume" in given)


PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_documented_options_are_in_the_help(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    names = sorted(ALL, key=len, reverse=True)
    unknown = []
    for line in re.findall(r"(?:autobert-zero |`)((?!\S*`)[^\n`]+)", text):
        call = line.partition(" # ")[0].replace("`", "")
        command = next((name for name in names if re.match(rf"{name}\s", call)), None)
        if command is not None:
            given = re.findall(r"(?<=\s)--?[a-z][a-z0-9-]*(?=[\s=,;]|$)", call)
            known = {*options(ALL[command]), "--help", "-h"}
            unknown += [f"{command} {option}" for option in given if option not in known]
    assert unknown == []


def test_the_table_of_options_names_the_commands() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(--[a-z-]+)[^|]*\|[^|]*\| ((?:`[a-z-]+`(?:, )?)+) \|$", page, re.MULTILINE)
    assert len(rows) > 10
    for option, named in rows:
        plain = {name for name, each in ALL.items() if option in options(each) and " " not in name}
        assert set(re.findall(r"[a-z-]+", named)) == plain, option


PRESET_CONFIGS: dict[str, RunConfig] = {
    **{f"search {name}": make() for name, make in PRESETS.items()},
    **{f"pretrain {name}": make(bert(4)) for name, make in PRETRAIN_PRESETS.items()},
    "finetune": FinetuneConfig(),
    "search with all": resolve(
        SearchConfig(),
        {
            "proxy": {"rungs": [0.25, 0.5], "sharing": "none"},
            "study": "no: 'x' #",
            "final": {"rates": [1e-4]},
        },
        {"data": {"corpus": ["a b.txt", "1:30"]}, "final": {"rates": [1e-4]}},
    ),
    "distillation": resolve(
        PRETRAIN_PRESETS["small"](bert(40)), {"distil": {"teacher": "yes", "hidden": 0.5}, "seed": 7}
    ),
}


@pytest.mark.parametrize("name", PRESET_CONFIGS)
def test_printed_configs_load_back(name: str, tmp_path: Path) -> None:
    config = PRESET_CONFIGS[name]
    path = tmp_path / "printed.yaml"
    path.write_text(commented_yaml(config), encoding="utf-8")
    assert read_yaml(path) == config.model_dump(mode="json")
    assert resolve(config, read_yaml(path)) == config
    # Every setting that is a line of its own has a comment.
    lines = path.read_text(encoding="utf-8").splitlines()
    bare = [
        below
        for above, below in zip(["", *lines], lines, strict=False)
        if re.match(r" *[a-z_]+:", below) and not above.lstrip().startswith("#")
    ]
    assert bare == []
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("name", ["search small", "pretrain base", "finetune", "distillation"])
def test_listed_settings_can_be_set(name: str) -> None:
    config = PRESET_CONFIGS[name]
    lines = [line for line in list_settings(config).splitlines() if not line.startswith("# ")]
    settings = [re.split(r" {2,}", line.partition("  # ")[0], maxsplit=1) for line in lines]
    assert resolve(config, *(parse_setting(f"{key.strip()}={value}") for key, value in settings)) == config
    assert all(line.partition("  # ")[2] for line in lines)


class TestConfig:
    def test_prints_a_preset_with_changes(self) -> None:
        done = tiny.command(
            "config", "search", "--preset", "small", "--set", "model.width=32", "--seed", 4, "--device", "cpu"
        )
        assert done.code == 0, done.err
        assert "  # Hidden size d. [>= 1]\n  width: 32\n" in done.out
        assert "\nseed: 4\n" in f"\n{done.out}"
        assert "\ndevice: cpu\n" in done.out
        listed = tiny.command("config", "search", "--list").out
        assert re.search(r"^model\.width +64  # Hidden size d\.", listed, re.MULTILINE)
        assert re.search(r"^# distil\.hidden +0\.0  # ", listed, re.MULTILINE)

    def test_json_is_the_config(self) -> None:
        done = tiny.command("config", "pretrain", "--json")
        assert PretrainConfig.model_validate(json.loads(done.out)) == PRETRAIN_PRESETS["demo"](bert(4))

    @pytest.mark.parametrize(
        ("kind", "content", "message"),
        [
            ((), "proxy: {steps: 3}", "is a config of search"),
            ((), "text: {corpus: kjv}", "is a config of pretrain"),
            ((), "rates: [1e-3]", "is a config of finetune"),
            ((), "seed: 3", "is a config of search, pretrain or finetune"),
            (("pretrain",), "seed: 3", "is a config of pretrain"),
        ],
    )
    def test_checks_a_file(self, tmp_path: Path, kind: tuple[str, ...], content: str, message: str) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(content)
        done = tiny.command("config", *kind, "--check", path)
        assert (done.code, done.out, done.err) == (0, f"{path} {message}\n", "")

    @pytest.mark.parametrize(
        ("arguments", "content", "message"),
        [
            (
                (),
                "proxy: {stepz: 3}",
                "unknown key proxy.stepz (did you mean",
            ),
            ((), "text: {corpus: 3}", "as the config of pretrain: config: data.corpus: input should be"),
            (("finetune",), "proxy: {steps: 3}", "as the config of finetune: config: unknown key proxy"),
            ((), "strategy: {name: op-nsa}", "unknown strategy 'op-nsa'; there are op-nas, "),
            ((), "a: [", "mine.yaml is not YAML"),
            (("--list",), "seed: 3", "--check takes a file"),
        ],
    )
    def test_refuses_a_file(
        self, tmp_path: Path, arguments: tuple[str, ...], content: str, message: str
    ) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(content)
        done = tiny.command("config", *arguments, "--check", path)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert done.err.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((), "name what the config is of: search, pretrain, finetune"),
            (
                ("search", "--preset", "smal"),
                "there are demo, small, paper (did you mean small?)",
            ),
            (("finetune", "--preset", "demo"), "finetune has no presets"),
            (("finetune", "--set", "weigth_decay=1"), "(did you mean weight_decay?)"),
            (("pretrain", "--set", "recipe.lerning_rate=1"), "(did you mean recipe.learning_rate?)"),
        ],
    )
    def test_mistakes(self, arguments: tuple[str, ...], message: str) -> None:
        done = tiny.command("config", *arguments)
        assert (done.code, done.out) == (2, "")
        assert message in done.err


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("zoo",), {"bert-tiny", "bert-base"}),
        (("zoo", "bert-tiny"), {"backbone", "parameters"}),
        (("describe", "conv 3\nQ + K", "--width", 8, "--heads", 2), {"key", "parameters", "flops", "layers"}),
        (("cache",), {"folder", "bytes", "files"}),
        (
            ("plan", "pretrain", "--layers", 1, "--backbone", "bert", "--hardware", "t4"),
            {"parameters", "stages", "seconds", "device_hours"},
        ),
        (("draw", "bert", "-o", "{here}/a.svg"), {"out", "bytes"}),
    ],
)
@pytest.mark.usefixtures("cache")
def test_json_is_one_object_on_standard_output(
    arguments: tuple[object, ...], keys: set[str], tmp_path: Path
) -> None:
    given = [str(each).format(here=tmp_path) for each in arguments]
    done = tiny.command(*given, "--json")
    assert done.code == 0, done.err
    assert keys <= json.loads(done.out).keys()


def test_numbers_of_libraries_are_numbers() -> None:
    numbers = {"share": np.float32(0.5), "count": np.int64(3), "best": np.bool_(True)}
    numbers |= {"none": np.float64("nan"), "rows": np.arange(2), "loss": torch.tensor(1.5)}
    plain = json_values(numbers | {"path": Path("a"), 3: (None, 1)})
    assert json.loads(json.dumps(plain)) == {
        "share": 0.5,
        "count": 3,
        "best": True,
        "none": None,
        "rows": [0, 1],
        "loss": 1.5,
        "path": "a",
        "3": [None, 1],
    }
    assert plain["best"] is True


@pytest.mark.usefixtures("cache")
class TestResults:
    def test_a_quiet_search_prints_its_result_only(self, settings_file: Path, tmp_path: Path) -> None:
        few: tuple[object, ...] = ("--set", "proxy.candidates=4", "--set", "final.finalists=1")
        done = tiny.command(
            "search",
            "--config",
            settings_file,
            "-o",
            tmp_path / "run",
            *few,
            "-q",
            "--json",
            "--device",
            "cpu",
        )
        assert (done.code, done.err, done.log) == (0, "", "")
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert json.loads(done.out) == {"out": str(tmp_path / "run"), **summary}

    @pytest.mark.parametrize("command", ["search", "pretrain", "finetune"])
    def test_a_folder_cannot_be_standard_output(self, command: str) -> None:
        model = ("--model", "x", "--task", "rte") if command == "finetune" else ()
        done = tiny.command(command, *model, "--out", "-")
        assert (done.code, done.out) == (2, "")
        assert done.err == "error: --out is a folder here; - stands for standard output\n"

    @pytest.mark.parametrize("command", [("draw", "bert"), ("report", "run")])
    def test_two_things_for_standard_output(self, command: tuple[str, ...]) -> None:
        done = tiny.command(*command, "-o", "-", "--json")
        assert (done.code, done.out) == (2, "")
        assert "--json and --out - both write to standard output" in done.err

    def test_a_mistake_prints_nothing_to_standard_output(self) -> None:
        done = tiny.command("describe", "relu(Q) + K", "--json")
        assert (done.code, done.out) == (2, "")

    @pytest.mark.parametrize(
        ("error", "code", "message"),
        [
            (None, 2, "line 1: unknown primitive 'relu'"),
            (KeyError("width"), 1, "KeyError: 'width' (cli/__init__.py:"),
            (RuntimeError("odd"), 1, "RuntimeError: odd ("),
            (ModuleNotFoundError("no nowhere", name="nowhere"), 1, "ModuleNotFoundError: no nowhere ("),
            (OSError(5, "Input/output error"), 1, "OSError: [Errno 5] Input/output error ("),
            (OSError(28, "No space left on device"), 2, "No space left on device; make room"),
            (MemoryError(), 2, "memory is full"),
        ],
    )
    def test_verbose_shows_where_an_error_arose(
        self, error: Exception | None, code: int, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without -v every error is one line, a bug too; a bug says where it arose and what to do."""
        if error is not None:
            monkeypatch.setattr("autobert_zero.cli.describe.find_backbone", Mock(side_effect=error))
        for options, shown in (((), 0), (("-v",), 1)):
            done = tiny.command("describe", "relu(Q) + K", *options)
            assert done.code == code
            assert done.log.count("Traceback") == shown
            assert done.err.startswith(f"error: {message}")
            assert ("\n" in done.err.rstrip("\n")) == (error is None)  # a formula is shown with the place
            assert ("this is a bug" in done.err) == (code == 1)

    def test_verbose_shows_no_traceback_of_a_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("autobert_zero.cli.describe.find_backbone", Mock(side_effect=typer.Exit(130)))
        done = tiny.command("describe", "Q + K", "-v")
        assert (done.code, done.err, done.log) == (130, "", "")


def test_the_environment_gives_options(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They do not count as a change where a run is resumed."""
    monkeypatch.setenv("AUTOBERT_ZERO_DEVICE", "toaster")
    done = tiny.command("search", "--config", settings_file, "--out", tmp_path / "run")
    assert "device 'toaster' cannot be used" in done.err
    resumed = tiny.command("search", "--resume", "--out", tmp_path / "run")
    assert "holds no search" in resumed.err
    changed = tiny.command("search", "--resume", "--out", tmp_path / "run", "--device", "cpu")
    assert "a resumed run keeps its config" in changed.err


@pytest.mark.parametrize(
    ("kind", "variable", "setting"),
    [
        ("search", "AUTOBERT_ZERO_DEVICE", "device"),
        ("search", "AUTOBERT_ZERO_STORAGE", "storage"),
        ("pretrain", "AUTOBERT_ZERO_DEVICE", "device"),
        ("finetune", "AUTOBERT_ZERO_DEVICE", "device"),
    ],
)
def test_a_file_counts_before_the_environment(
    kind: str, variable: str, setting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def used(*arguments: object) -> str:
        return json.loads(tiny.command("config", kind, *arguments, "--json").out)[setting]

    path = tmp_path / "mine.yaml"
    path.write_text(f"{setting}: of-file\n")
    default = used()
    monkeypatch.setenv(variable, "of-environment")
    assert used() == "of-environment"
    assert used("--config", path) == "of-file"
    assert used("--config", path, "--set", f"{setting}=of-set") == "of-set"
    path.write_text(f"{setting}: {json.dumps(default)}\n")
    assert used("--config", path) == "of-environment"
    monkeypatch.setenv(variable, "")
    assert used() == default


def test_the_order_of_options_file_and_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOBERT_ZERO_DEVICE", "of-environment")
    path = tmp_path / "mine.yaml"
    path.write_text("device: of-file\n")
    given: tuple[object, ...] = ("plan", "pretrain", "--backbone", "conv 3", "--config", path)
    assert "device 'of-file' cannot be used" in tiny.command(*given).err
    given = (*given, "--device", "of-option")
    assert "device 'of-option' cannot be used" in tiny.command(*given).err
    assert "device 'of-set' cannot be used" in tiny.command(*given, "--set", "device=of-set").err


@pytest.mark.parametrize("command", ["search", "pretrain"])
def test_a_plan_of_a_resumed_run_needs_its_folder(command: str, tmp_path: Path) -> None:
    done = tiny.command("plan", command, "--resume")
    assert (done.code, done.err) == (2, "error: name the run that is resumed with --out\n")
    assert "holds no" in tiny.command("plan", command, "--resume", "--out", tmp_path).err
