# mypy: disallow-subclassing-any=False
"""The base class of all models for `transformers`: loading, saving and initialisation."""

import os
from pathlib import Path
from typing import Any, Literal, Self, overload

from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from autobert_zero.errors import UserError
from autobert_zero.files import follow_umask
from autobert_zero.hf.adapters import set_lora_targets
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.loading import (
    SizeError,
    check_backbone,
    check_encoder,
    check_files,
    check_folder,
    first_few,
    refuse_pickles,
    report_damage,
    save_code,
    stored_config,
    tensor_differences,
)
from autobert_zero.nn.convolution import LightConvolution

_DECODERS = {"use_cache", "head_mask", "past_key_values", "encoder_hidden_states", "encoder_attention_mask"}
"""Arguments of decoders that tools pass to every model."""


class AutoBertZeroPreTrainedModel(PreTrainedModel):
    """Loads, saves and initialises as in `transformers`, with additional checks."""

    config_class = AutoBertZeroConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # losses are means: the Trainer divides them by its accumulation steps
    _supports_sdpa = True  # where a graph has the pattern, which our compiler detects
    _input_embed_layer = "token"
    _no_split_modules = ("AutoBertZeroLayer",)

    def __init__(self, config: AutoBertZeroConfig, *args: Any, **kwargs: Any) -> None:
        config.check()
        set_lora_targets()  # here, since peft may be imported after this module
        super().__init__(config, *args, **kwargs)

    def _check_and_adjust_attn_implementation(
        self, attn_implementation: str | None, *args: Any, **kwargs: Any
    ) -> str:
        """Treats flash and flex attention as `sdpa`.

        Formulas are not tied to a kernel: PyTorch's fused attention computes those with the pattern of
        attention, and uses its flash kernels where they apply.
        """
        if attn_implementation is not None and any(kind in attn_implementation for kind in ("flash", "flex")):
            attn_implementation = "sdpa"
        chosen: str = super()._check_and_adjust_attn_implementation(attn_implementation, *args, **kwargs)
        return chosen

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the model; drops `use_cache` and arguments of decoders that are None."""
        for name in _DECODERS & kwargs.keys():
            if kwargs.pop(name) is not None and name != "use_cache":
                raise UserError(f"{type(self).__name__} is an encoder and takes no {name}; leave it out")
        return super().__call__(*args, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As in `PreTrainedModel`, but refuses a configuration that could not be loaded again.

        If config.json names the modelling code (`auto_map`, in an exported model), the code is saved too. The
        weights get the permissions that the umask gives to new files; safetensors creates them with 0600.
        """
        self.config.check()
        super().save_pretrained(save_directory, *args, **kwargs)
        if kwargs.get("is_main_process", True):
            follow_umask(Path(save_directory), "model*.safetensors")
            save_code(self.config, Path(save_directory), type(self).code)

    @staticmethod
    def code() -> str:
        """The source of a module with all models: this file, in an exported module that has them all."""
        return Path(__file__).read_text(encoding="utf-8")

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, LightConvolution):
            # A softmax follows: with values near 0, every head would start as the same moving average.
            init.normal_(module.kernel)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *args: Any,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *args: Any,
        output_loading_info: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *args: Any,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Loads a model, as in `PreTrainedModel.from_pretrained`, from safetensors only.

        Raises:
            UserError: The checkpoint is a pickle or damaged, or holds another type of model or another
                backbone.
        """
        if pretrained_model_name_or_path is None:
            return super().from_pretrained(None, *args, output_loading_info=output_loading_info, **kwargs)
        source = str(pretrained_model_name_or_path)
        refuse_pickles(source, kwargs)
        check_folder(source, kwargs)
        stored = stored_config(source, kwargs)
        may_mismatch = kwargs.pop("ignore_mismatched_sizes", False)
        with report_damage(source):
            model, info = super().from_pretrained(
                source,
                *args,
                **kwargs,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # checked below, with a better message
            )
        check_backbone(source, stored, model.config.parse_backbone(), info)
        check_encoder(source, info)
        if info["mismatched_keys"] and not may_mismatch:
            wrong = tensor_differences(info | {"missing_keys": [], "unexpected_keys": []})
            raise SizeError(
                f"{source}: tensors of another size: {first_few(wrong)}; pass "
                "ignore_mismatched_sizes=True to start them from new weights"
            )
        return (model, info) if output_loading_info else model

    @staticmethod
    def _load_pretrained_model(
        model: PreTrainedModel, state_dict: Any, checkpoint_files: list[str] | None, *args: Any, **kwargs: Any
    ) -> Any:
        """Checks the files first: every way to find some (folder, Hub, index, variant) ends here."""
        check_files(checkpoint_files or [])
        return PreTrainedModel._load_pretrained_model(model, state_dict, checkpoint_files, *args, **kwargs)
