"""Loads models with their weights: an encoder with a new head, or a model as it was trained."""

from collections.abc import Iterable
from typing import Any

from safetensors import SafetensorError
from transformers import AutoModel, PreTrainedModel

from autobert_zero.errors import UserError, counted, first_line


def load_with_head(kind: Any, source: str, **options: Any) -> PreTrainedModel:
    """Loads an encoder with a head: a new one, unless the model has one of this kind and size.

    Args:
        kind: An Auto class of `transformers`.
        source: A folder or a name on the Hub.
        options: Changes to the config.

    Raises:
        UserError: The weights cannot be read, or are not those of the encoder.
    """
    loaded, info = load_with_report(kind, source, **options)
    start = f"{loaded.base_model_prefix}."
    missing = sorted(name for name in info["missing_keys"] if name.startswith(start) and "pooler" not in name)
    # A head for other classes has tensors of other sizes.
    check_sizes(source, (name for name, *_ in info["mismatched_keys"] if name.startswith(start)))
    if missing:
        raise UserError(
            f"the weights of {source} lack {len(missing)} tensors of the encoder, among them {missing[0]}; "
            "its config.json is of another model"
        )
    return loaded


def load_trained(kind: Any, source: str, **options: Any) -> PreTrainedModel:
    """Loads a model with the head that it was trained with; a bare encoder may lack its pooler.

    Arguments are those of `load_with_head`.

    Raises:
        UserError: The weights cannot be read, or lack tensors of the model.
    """
    loaded, info = load_with_report(kind, source, **options)
    check_sizes(source, (name for name, *_ in info["mismatched_keys"]))
    missing = sorted(name for name in info["missing_keys"] if kind is not AutoModel or "pooler" not in name)
    if missing:
        raise UserError(
            f"the weights of {source} are not those of a {type(loaded).__name__}: {len(missing)} tensors are "
            f"missing, among them {missing[0]}"
        )
    return loaded


def load_with_report(kind: Any, source: str, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Loads a model, and reports which tensors are missing or have another size in the weights.

    Arguments are those of `load_with_head`; options may also be those of `from_pretrained`.

    Raises:
        UserError: The weights cannot be read.
    """
    try:
        model, info = kind.from_pretrained(
            source,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported
            **options,
        )
    except UserError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"the weights of {source} cannot be read: {first_line(error)}") from None
    return model, info


def check_sizes(source: str, mismatched: Iterable[str]) -> None:
    """Checks that no tensor has another size than the model's.

    Args:
        source: A folder or a name on the Hub.
        mismatched: Names of the tensors that have.

    Raises:
        UserError: There are some.
    """
    names = sorted(mismatched)
    if names:
        others = f" and {counted(len(names) - 1, 'more tensor')}" if names[1:] else ""
        raise UserError(
            f"the weights of {source} cannot be read: the size of {names[0]}{others} is not that of "
            "config.json; copy the model's files again"
        )
