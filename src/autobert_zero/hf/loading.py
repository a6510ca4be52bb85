"""Checks around loading a checkpoint: what it is, and whether its weights are of the backbone."""

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
"""Tensors named in a message."""


class SizeError(UserError, RuntimeError):
    """Tensors of another size than the model's; a `RuntimeError` too, as in `transformers`."""


def refuse_pickles(source: str, options: dict[str, Any]) -> None:
    """Raises a `UserError` where pickled weights are asked for, or are all that there is.

    Args:
        source: A folder or a name on the Hub.
        options: Of `from_pretrained`; loses `use_safetensors`.
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
                f"{source} has {', '.join(pickles)} and no safetensors; a pickle can run code when it is "
                "loaded, so it is not: save the weights as model.safetensors"
            )


def check_files(files: Sequence[str]) -> None:
    """Checks the files of weights that are about to be read.

    Raises:
        UserError: One is not of safetensors, whose reader could be that of pickles, or does not exist.
    """
    for file in map(Path, files):
        if file.suffix != ".safetensors":
            raise UserError(f"{file} is no file of safetensors; weights are loaded from those only")
        if not file.is_file():
            raise UserError(f"{file} is missing; copy the model's files again")


def check_folder(source: str, options: dict[str, Any]) -> None:
    """Checks what a folder of `save_pretrained` holds: config.json, and whole weights of safetensors.

    Args:
        source: A folder; nothing is checked of a name on the Hub.
        options: Of `from_pretrained`.

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
                f"{file} is no safetensors, or damaged ({error}); save or copy it again"
            ) from None


def _shards(index: Path) -> list[str]:
    """The files that an index names, each beside it."""
    content = read_json(index)
    places = content.get("weight_map")
    if not places or not isinstance(places, dict) or not isinstance(content.get("metadata"), dict):
        raise UserError(f"{index} is damaged: it lacks weight_map or metadata; save or copy it again")
    names = sorted({str(name) for name in places.values()})
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{index} names {name!r}, which is no file of its folder; it is not read")
    return names


def stored_config(source: str, options: dict[str, Any]) -> dict[str, Any]:
    """Reads a checkpoint's config.json; empty where there is none (an adapter's folder).

    Args:
        source: A folder or a name on the Hub.
        options: Of `from_pretrained`.

    Raises:
        UserError: It is of another kind of model.
    """
    try:
        stored, _ = PreTrainedConfig.get_config_dict(
            source, **{name: options[name] for name in _HUB if name in options}
        )
    except OSError:
        return {}  # loading will say what is missing
    kind = stored.get("model_type", "autobert-zero")
    if kind != "autobert-zero":
        raise UserError(
            f"{source} holds a model of type {kind}, not autobert-zero; "
            "BERT's are loaded with autobert_zero.hf.from_bert"
        )
    return stored


def save_code(config: PreTrainedConfig, folder: Path, code: Callable[[], str]) -> None:
    """Writes the modelling code that the configuration names, unless it lies in a repository of the Hub.

    Args:
        config: With `auto_map` where it names any.
        folder: Of the saved model.
        code: Gives the source.
    """
    named = (getattr(config, "auto_map", None) or {}).values()
    modules = {str(name).partition(".")[0] for name in named if "--" not in str(name)}
    for module in filter(str.isidentifier, modules):
        (folder / f"{module}.py").write_text(code(), encoding="utf-8")


@contextmanager
def damage_named(source: str) -> Iterator[None]:
    """Turns the errors of safetensors into a `UserError`."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(
            f"the weights in {source} are no safetensors, or damaged ({error}); save or copy them again"
        ) from None


def check_backbone(source: str, stored: dict[str, Any], wanted: Backbone, info: dict[str, Any]) -> None:
    """Checks that the weights of a checkpoint are those of a backbone.

    Args:
        source: Where it is.
        stored: Its config.json.
        wanted: The backbone of the model that was built.
        info: What loading reported about missing, unexpected and mismatched tensors.

    Raises:
        UserError: They are of another one; the message names both, and the first tensors that differ.
    """
    saved = _backbone_of(stored)
    if saved is None or saved == wanted:
        if not _tells_of_another(info):
            return
        about = f"weights of another backbone than {_named(wanted)}, which its config.json names"
    else:
        about = f"a model with the backbone {_named(saved)}, not {_named(wanted)}; {_contrast(saved, wanted)}"
    wrong = [text for text in tensor_differences(info) if "layers." in text]
    tensors = listed(wrong) if wrong else "none, all have the same names and sizes"
    raise UserError(f"{source} holds {about}. Tensors that differ: {tensors}")


def check_encoder(source: str, info: dict[str, Any]) -> None:
    """Checks that a checkpoint has the whole encoder; heads, and the pooler, may start from new weights.

    Args:
        source: Where it is.
        info: What loading reported about missing, unexpected and mismatched tensors.

    Raises:
        UserError: It lacks tensors of the encoder, or has more than the encoder takes.
    """
    names = {*info["missing_keys"], *info["unexpected_keys"]}
    if any("embeddings." in name or "final_norm." in name for name in names):
        raise UserError(f"{source} holds weights of another encoder: {listed(tensor_differences(info))}")


def tensor_differences(info: dict[str, Any]) -> list[str]:
    """The tensors that did not fit, in the order of their names in the encoder, each with what is wrong."""
    wrong = {name: f"{name} is missing" for name in info["missing_keys"]}
    wrong |= {name: f"{name} is not used" for name in info["unexpected_keys"]}
    wrong |= {
        name: f"{name} is {tuple(saved)}, not {tuple(wanted)}"
        for name, saved, wanted in info["mismatched_keys"]
    }
    # A checkpoint has the prefix where it has a head, a model where it has one: they may differ in that.
    return [wrong[name] for name in sorted(wrong, key=lambda name: _by_number(name.removeprefix("encoder.")))]


def listed(texts: Sequence[str]) -> str:
    """The first few of many."""
    more = f", and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _tells_of_another(info: dict[str, Any]) -> bool:
    """Whether tensors differ in what the backbone decides, not in what width and heads decide."""
    if any("layers." in name for name in {*info["missing_keys"], *info["unexpected_keys"]}):
        return True
    for name, saved, wanted in info["mismatched_keys"]:
        if name.endswith("convolution.kernel") and saved[-1] != wanted[-1]:
            return True
        # (inputs * d, d): the number of inputs.
        if name.endswith("attention.projection.weight") and saved[0] * wanted[1] != wanted[0] * saved[1]:
            return True
    return False


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that orders layer 2 before layer 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _backbone_of(stored: dict[str, Any]) -> Backbone | None:
    try:
        return Backbone.from_list(stored["backbone"])
    except (KeyError, TypeError, SpaceError):
        return None


def _named(backbone: Backbone) -> str:
    return f"{backbone.key()} ({len(backbone.layers)} layers)"


def _contrast(saved: Backbone, wanted: Backbone) -> str:
    for number, (theirs, ours) in enumerate(zip(saved.layers, wanted.layers, strict=False), start=1):
        if theirs != ours:
            return f"layer {number} is `{theirs}`, not `{ours}`"
    return "the layers that both have are the same"
