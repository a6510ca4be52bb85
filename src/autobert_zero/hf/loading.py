"""Checks of checkpoints: their files, the type of model, and whether the weights fit the backbone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig

from autobert_zero.errors import UserError
from autobert_zero.files import read_json
from autobert_zero.space import Backbone, SpaceError

_HUB = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_SHOWN = 5
"""Maximum number of tensors named in a message."""


class SizeError(UserError, RuntimeError):
    """Tensors differ from the model's in size; a `RuntimeError` too, as in `transformers`."""


def refuse_pickles(source: str, options: dict[str, Any]) -> None:
    """Raises a `UserError` if pickled weights are requested or a folder has no others.

    Args:
        source: A folder or a name on the Hub.
        options: Keyword arguments of `from_pretrained`; `use_safetensors` is removed.
    """
    if options.pop("use_safetensors", None) is False:
        raise UserError("weights are loaded from safetensors only: leave use_safetensors out")
    if options.get("gguf_file") is not None:
        raise UserError("weights are loaded from safetensors only: leave gguf_file out")
    path = Path(source)
    if path.is_file():
        check_files([source])
    folder = path / (options.get("subfolder") or "")
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLES)
        if pickles:
            raise UserError(
                f"{source} has {', '.join(pickles)} and no safetensors; pickles are not loaded, since they "
                "can run code: save the weights as model.safetensors"
            )


def check_files(files: Sequence[str]) -> None:
    """Checks the files of weights that are about to be read.

    Raises:
        UserError: A file is missing, or is not named `.safetensors`: `transformers` could unpickle it.
    """
    for file in map(Path, files):
        if file.suffix != ".safetensors":
            raise UserError(f"{file} is not a safetensors file; weights are loaded from safetensors only")
        if not file.is_file():
            raise UserError(f"{file} is missing; copy the model's files again")


def check_folder(source: str, options: dict[str, Any]) -> None:
    """Checks config.json and the safetensors in a folder of `save_pretrained`.

    Args:
        source: A folder; names on the Hub are not checked.
        options: Keyword arguments of `from_pretrained`.

    Raises:
        UserError: A file is missing or damaged; the message names it.
    """
    folder = Path(source) / (options.get("subfolder") or "")
    if not folder.is_dir():
        return
    if (folder / "config.json").exists():
        read_json(folder / "config.json")
    variant = f".{options['variant']}" if options.get("variant") else ""
    weights = folder / f"model{variant}.safetensors"
    index = folder / f"model.safetensors.index{variant}.json"
    files = [weights]
    if not weights.exists() and index.exists():
        files = [folder / name for name in _shards(index)]
    elif not weights.exists():
        return  # an adapter's folder, or weights given as `state_dict`
    check_files([str(file) for file in files])
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{file} is damaged or not safetensors ({error}); save or copy it again"
            ) from None


def _shards(index: Path) -> list[str]:
    """The names of the files that an index lists, all in its own folder."""
    content = read_json(index)
    weight_map, metadata = content.get("weight_map"), content.get("metadata")
    if not weight_map or not isinstance(weight_map, dict) or not isinstance(metadata, dict):
        raise UserError(f"{index} is damaged: it lacks weight_map or metadata; save or copy it again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{index} names {name!r}, which is not a file in its folder; it is not read")
    return names


def stored_config(source: str, options: dict[str, Any]) -> dict[str, Any]:
    """Reads a checkpoint's config.json; empty if there is none (an adapter's folder).

    Args:
        source: A folder or a name on the Hub.
        options: Keyword arguments of `from_pretrained`.

    Raises:
        UserError: The checkpoint holds another type of model.
    """
    try:
        stored, _ = PreTrainedConfig.get_config_dict(
            source, **{name: options[name] for name in _HUB if name in options}
        )
    except OSError:
        return {}  # loading reports what is missing
    kind = stored.get("model_type", "autobert-zero")
    if kind != "autobert-zero":
        raise UserError(
            f"{source} holds a model of type {kind}, not autobert-zero; "
            "load a BERT with autobert_zero.hf.from_bert"
        )
    return stored


def save_code(config: PreTrainedConfig, folder: Path, code: Callable[[], str]) -> None:
    """Writes the modelling code that the configuration names, unless that is in a repository on the Hub.

    Args:
        config: A configuration that may name modules in `auto_map`.
        folder: Folder of the saved model.
        code: Returns the source.
    """
    named = (getattr(config, "auto_map", None) or {}).values()
    modules = {str(name).partition(".")[0] for name in named if "--" not in str(name)}
    for module in filter(str.isidentifier, modules):
        (folder / f"{module}.py").write_text(code(), encoding="utf-8")


@contextmanager
def report_damage(source: str) -> Iterator[None]:
    """Turns errors of safetensors into one line.

    Raises:
        UserError: The weights are damaged.
    """
    try:
        yield
    except SafetensorError as error:
        raise UserError(
            f"the weights in {source} are damaged or not safetensors ({error}); save or copy them again"
        ) from None


def check_backbone(source: str, stored: dict[str, Any], built: Backbone, info: dict[str, Any]) -> None:
    """Checks that the weights of a checkpoint belong to the backbone of the model.

    Args:
        source: The checkpoint's folder or name on the Hub.
        stored: Its config.json.
        built: The backbone of the model that was built.
        info: The missing, unexpected and mismatched tensors that loading reported.

    Raises:
        UserError: The weights belong to another backbone; the message names both, and the first tensors that
            differ.
    """
    saved = _backbone_of(stored)
    if saved is None or saved == built:
        if not _backbones_differ(info):
            return
        content = f"weights of another backbone than {_label(built)}, which its config.json names"
    else:
        content = f"a model with the backbone {_label(saved)}, not {_label(built)}; {_contrast(saved, built)}"
    wrong = [text for text in tensor_differences(info) if "layers." in text]
    tensors = first_few(wrong) if wrong else "none, all have the same names and sizes"
    raise UserError(f"{source} holds {content}. Tensors that differ: {tensors}")


def check_encoder(source: str, info: dict[str, Any]) -> None:
    """Checks that a checkpoint has the whole encoder; heads and the pooler may start from new weights.

    Args:
        source: The checkpoint's folder or name on the Hub.
        info: The missing, unexpected and mismatched tensors that loading reported.

    Raises:
        UserError: Tensors of the encoder are missing, or there are some that the encoder does not have.
    """
    names = {*info["missing_keys"], *info["unexpected_keys"]}
    if any("embeddings." in name or "final_norm." in name for name in names):
        raise UserError(f"{source} holds weights of another encoder: {first_few(tensor_differences(info))}")


def tensor_differences(info: dict[str, Any]) -> list[str]:
    """Describes the tensors that did not fit, in the order of their names in the encoder."""
    wrong = {name: f"{name} is missing" for name in info["missing_keys"]}
    wrong |= {name: f"{name} is not used" for name in info["unexpected_keys"]}
    wrong |= {
        name: f"{name} is {tuple(saved)}, not {tuple(built)}"
        for name, saved, built in info["mismatched_keys"]
    }
    # The prefix is present only with a head, which the checkpoint or the model may lack.
    return [wrong[name] for name in sorted(wrong, key=lambda name: _by_number(name.removeprefix("encoder.")))]


def first_few(texts: Sequence[str]) -> str:
    """Joins the first few texts and counts the rest."""
    more = f", and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _backbones_differ(info: dict[str, Any]) -> bool:
    """Whether tensors differ in a way that follows from the backbone, not from width and heads."""
    if any("layers." in name for name in {*info["missing_keys"], *info["unexpected_keys"]}):
        return True
    for name, saved, built in info["mismatched_keys"]:
        if name.endswith("convolution.kernel") and saved[-1] != built[-1]:
            return True
        # The shape is (inputs * d, d): the numbers of inputs differ, whatever d is.
        if name.endswith("attention.projection.weight") and saved[0] * built[1] != built[0] * saved[1]:
            return True
    return False


def _by_number(name: str) -> list[tuple[int, str]]:
    """A sort key that puts layer 2 before layer 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _backbone_of(stored: dict[str, Any]) -> Backbone | None:
    try:
        return Backbone.from_list(stored["backbone"])
    except (KeyError, TypeError, SpaceError):
        return None


def _label(backbone: Backbone) -> str:
    return f"{backbone.key()} ({len(backbone.layers)} layers)"


def _contrast(saved: Backbone, built: Backbone) -> str:
    for number, (theirs, ours) in enumerate(zip(saved.layers, built.layers, strict=False), start=1):
        if theirs != ours:
            return f"layer {number} is `{theirs}`, not `{ours}`"
    return "the layers that both have are the same"
