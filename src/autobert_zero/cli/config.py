"""`config`: prints, lists and checks the settings of a search, a pre-training or a fine-tuning."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from autobert_zero.cli.app import SETTINGS, Result, command
from autobert_zero.cli.common import find_preset, given, settings_of
from autobert_zero.cli.options import Config, DeviceSetting, Seed
from autobert_zero.errors import UserError

if TYPE_CHECKING:
    from autobert_zero.settings import RunConfig

_Kind = Literal["search", "pretrain", "finetune"]
_KINDS: tuple[_Kind, ...] = ("search", "pretrain", "finetune")


@command(SETTINGS)
def config_command(
    kind: Annotated[_Kind | None, typer.Argument(help="The kind of config; --check detects it.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="search: demo, small or paper; pretrain: demo, small or base; default: demo."),
    ] = None,
    config: Config = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as key=value, e.g. model.width=128.")
    ] = None,
    seed: Seed = None,
    device: DeviceSetting = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the settings as --set takes them, one per line.")
    ] = False,
    check: Annotated[Path | None, typer.Option(help="Check this YAML file and print nothing else.")] = None,
) -> Result:
    """Print the complete config of a command as YAML with comments, list its settings, or check a file."""
    from autobert_zero.settings_text import commented_yaml, list_settings

    if check is not None:
        if set_ or list_ or any(value is not None for value in (config, seed, device, preset)):
            raise UserError("--check takes a file and, if you like, what it is the config of; nothing else")
        return _check_file(check, kind)
    if kind is None:
        raise UserError(f"name what the config is of: {', '.join(_KINDS)}")
    options = given({"seed": seed, "device": device}, "seed", "device")
    resolved = _resolve(kind, preset, config, set_, options)
    text = list_settings(resolved) if list_ else commented_yaml(resolved).rstrip("\n")
    return Result(text, resolved.model_dump(mode="json"))


def _resolve(
    kind: _Kind, preset: str | None, file: Path | None, set_: list[str] | None, options: Mapping[str, Any]
) -> "RunConfig":
    from autobert_zero.settings import resolve

    presets = _presets(kind)
    if preset is not None and len(presets) == 1:
        raise UserError(f"{kind} has no presets: leave --preset out")
    chosen = preset or next(iter(presets))
    base = find_preset(presets, chosen)()
    resolved = resolve(base, settings_of(type(base), file, set_, options))
    if kind == "search":
        from autobert_zero.search.config import SearchConfig
        from autobert_zero.search.strategies import check_strategy

        assert isinstance(resolved, SearchConfig)
        check_strategy(resolved.bounds, resolved.strategy)
    return resolved


def _presets(kind: _Kind) -> dict[str, Callable[[], "RunConfig"]]:
    """The presets of a command by name; those of a pre-training have the backbone of BERT."""
    if kind == "search":
        from autobert_zero.search.presets import PRESETS

        return dict(PRESETS)
    if kind == "pretrain":
        from functools import partial

        from autobert_zero.pretrain.presets import PRETRAIN_PRESETS
        from autobert_zero.zoo import bert

        return {name: partial(make, bert(4)) for name, make in PRETRAIN_PRESETS.items()}
    from autobert_zero.finetune.config import FinetuneConfig

    return {"demo": FinetuneConfig}


def _check_file(file: Path, kind: _Kind | None) -> Result:
    """Checks a file as a config of one kind, or of any kind if it is None.

    Raises:
        UserError: The file is no valid config; the message is that of the most similar kind.
    """
    from autobert_zero.settings import merged, read_yaml

    settings = read_yaml(file)
    kinds = _KINDS if kind is None else (kind,)
    errors: dict[_Kind, UserError] = {}
    for name in kinds:
        try:
            _resolve(name, None, file, None, {})
        except UserError as error:
            errors[name] = error
    valid = [name for name in kinds if name not in errors]
    if not valid:
        known = {name: type(_resolve(name, None, None, None, {})) for name in kinds}
        nearest = max(
            kinds, key=lambda name: len(merged(known[name], settings).keys() & known[name].model_fields)
        )
        raise UserError(f"{file}, as the config of {nearest}: {errors[nearest]}")
    names = " or ".join(filter(None, [", ".join(valid[:-1]), valid[-1]]))
    return Result(f"{file} is a config of {names}", {"file": file, "kinds": valid})
