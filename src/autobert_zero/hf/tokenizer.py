"""A tokenizer of `tokenizers` as one of `transformers`."""

from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast


def as_berts(tokenizer: Tokenizer, length: int | None) -> PreTrainedTokenizerFast:
    """The tokenizer for `transformers`: a text becomes `[CLS] a [SEP]`, a pair `[CLS] a [SEP] b [SEP]`.

    Args:
        tokenizer: With BERT's special tokens.
        length: Maximum number of tokens in a sequence; None: no limit.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    special = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    steps: list[processors.PostProcessor] = [
        processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
        )
    ]
    if '"ByteLevel"' in tokenizer.to_str():
        # A piece holds the space before its word; its place in the text, for example of an answer, does not.
        steps.insert(0, processors.ByteLevel(trim_offsets=True, add_prefix_space=True))
    tokenizer.post_processor = processors.Sequence(steps) if len(steps) > 1 else steps[0]
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=length, model_input_names=inputs, **names
    )
