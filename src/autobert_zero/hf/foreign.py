"""Finds `transformers` models of any type, reads their configs and loads their complete weights."""

import re
from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PreTrainedConfig, __version__

from autobert_zero.errors import UserError, first_line
from autobert_zero.hf.loading import check_folder, refuse_pickles, tensor_differences
from autobert_zero.sources import check_hub, find_local


def find_model(source: str) -> str:
    """Finds a model of any type and checks its files.

    Args:
        source: A folder of `save_pretrained`, an exported folder, or a name on the Hub.

    Returns:
        The folder or the name.

    Raises:
        UserError: There is no such model, or it has only pickled weights.
    """
    path = find_local(source, "model")
    if path is None:
        check_hub(source, "model", "model")
        return source
    if not path.is_dir():
        raise UserError(f"{source} is a file; name the folder of a saved or exported model")
    if not (path / "config.json").is_file():
        raise UserError(f"{source} is not a model: it has no config.json; export a run to get one")
    refuse_pickles(str(path), {})
    check_folder(str(path), {})
    return str(path)


def read_config(source: str) -> PreTrainedConfig:
    """Reads the config of a `transformers` model of any type.

    Args:
        source: A folder or a name on the Hub.

    Raises:
        UserError: There is no config, or this version of `transformers` cannot read it.
    """
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:  # transformers raises many kinds
        raise UserError(
            f"transformers {__version__} cannot read the config of {source} ({first_line(error)})"
        ) from None
    return config


def load_whole(kind: Any, source: str) -> Any:
    """Loads a `transformers` model from safetensors that hold all of its embeddings and layers.

    Args:
        kind: The class of the model.
        source: A folder or a name on the Hub.

    Raises:
        UserError: The weights do not fit config.json.
    """
    model, info = kind.from_pretrained(
        source, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True
    )
    _check_whole(source, info)
    return model


def rename_tensor(name: str, names: Mapping[str, str]) -> str:
    """Applies substitutions (patterns with their replacements) to a tensor's name, one after the other."""
    for pattern, replacement in names.items():
        name = re.sub(pattern, replacement, name)
    return name


def _check_whole(source: str, info: dict[str, Any]) -> None:
    """Checks what loading reported; the error names the first tensor of each layer that does not fit."""
    wrong: dict[str, list[str]] = {}
    unused = set(info["unexpected_keys"])
    other = {name for name, *_ in info["mismatched_keys"]}
    for text in tensor_differences(info):
        name = text.partition(" ")[0]
        layer = re.search(r"layers?\.(\d+)\.", name)
        if layer:
            wrong.setdefault(f"layer {int(layer[1]) + 1}", []).append(text)
        elif name in other or (name not in unused and ("embeddings." in name or "final_norm." in name)):
            wrong.setdefault("outside the layers", []).append(text)
    if wrong:
        places = [
            f"{place}: {texts[0]}" + (f" and {len(texts) - 1} more" if len(texts) > 1 else "")
            for place, texts in wrong.items()
        ]
        raise UserError(
            f"the weights of {source} do not fit its config.json: {'; '.join(places)}; save or copy it again"
        )
