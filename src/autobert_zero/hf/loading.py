"""Checks around loading a checkpoint: what it is, and whether its weights are of the backbone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedConfig

from autobert_zero.errors import UserError
from autobert_zero.space import Backbone, SpaceError

_HUB = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
_SHOWN = 5
"""Tensors named in a message."""


class SizeError(UserError, RuntimeError):
    """Tensors of another size than the model's; a `RuntimeError` too, as in `transformers`."""


def refuse_pickles(source: str, options: dict[str, Any]) -> None:
    """Raises a `UserError` where pickled weights are asked for, or are all that a folder has.

    Args:
        source: A folder or a name on the Hub.
        options: Of `from_pretrained`; loses `use_safetensors`.
    """
    if options.pop("use_safetensors", None) is False:
        raise UserError("weights are loaded from safetensors only: leave use_safetensors out")
    folder = Path(source) / (options.get("subfolder") or "")
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth"))
        if pickles:
            raise UserError(
                f"{source} has {', '.join(pickles)} and no safetensors; a pickle can run code when it is "
                "loaded, so it is not: save the weights as model.safetensors"
            )


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
        info: What loading said about missing, unexpected and mismatched tensors.

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
    wrong = [text for text in differences(info) if "layers." in text]
    tensors = listed(wrong) if wrong else "none, all have the same names and sizes"
    raise UserError(f"{source} holds {about}. Tensors that differ: {tensors}")


def differences(info: dict[str, Any]) -> list[str]:
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
