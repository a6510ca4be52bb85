"""Wraps a tokenizer of `tokenizers` for `transformers`."""

from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast


def wrap_tokenizer(tokenizer: Tokenizer, length: int | None) -> PreTrainedTokenizerFast:
    """Wraps a tokenizer; a text becomes `[CLS] a [SEP]`, a pair `[CLS] a [SEP] b [SEP]`.

    Args:
        tokenizer: A tokenizer with BERT's special tokens.
        length: Maximum number of tokens in a sequence; None means no limit.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    special = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    steps: list[processors.PostProcessor] = [
        processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
        )
    ]
    if '"ByteLevel"' in tokenizer.to_str():
        # Tokens include the space before a word; their offsets in the text, as used for answers, must not.
        steps.insert(0, processors.ByteLevel(trim_offsets=True, add_prefix_space=True))
    tokenizer.post_processor = processors.Sequence(steps) if len(steps) > 1 else steps[0]
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=length, model_input_names=inputs, **names
    )
