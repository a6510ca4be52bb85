"""The tokenizer of a run: trained on its corpus, or named by the user."""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from autobert_zero.data import byte_level, characters, kinds, normalisation, scripts, wordpiece
from autobert_zero.data.cache import cache_path, check_writable, read_cached, write_cached
from autobert_zero.data.corpus import Corpus, Watch, unwatched
from autobert_zero.data.kinds import train_kind
from autobert_zero.data.normalisation import SPECIAL_TOKENS, Spelling, TokenizerError
from autobert_zero.errors import UserError, first_line
from autobert_zero.shared_config import CorpusConfig
from autobert_zero.sources import MissingSource, check_hub, find_local


@dataclass(frozen=True)
class ChosenTokenizer:
    """A tokenizer and its origin.

    Attributes:
        tokenizer: A tokenizer with BERT's special tokens.
        reason: Its kind and the reason for it, or its name, for messages.
        trained: Whether it was trained on the corpus.
    """

    tokenizer: Tokenizer
    reason: str
    trained: bool


def choose_tokenizer(
    settings: CorpusConfig, corpus: Corpus, watch: Watch = unwatched, kept: Tokenizer | None = None
) -> ChosenTokenizer:
    """The tokenizer of an earlier run, that of the settings, or one trained on the corpus.

    Args:
        settings: Settings of corpus and tokenizer.
        corpus: The text.
        watch: Called with the progress of training.
        kept: Tokenizer of an earlier run.

    Raises:
        TokenizerError: It cannot be loaded or trained.
    """
    if kept is not None:
        return ChosenTokenizer(kept, "kept from an earlier run", False)
    if settings.tokenizer is not None:
        return ChosenTokenizer(load_tokenizer(settings.tokenizer), f"given: {settings.tokenizer}", False)
    cached = read_cached(_place(settings, corpus), _read_chosen)
    if cached is not None:
        return cached
    check_writable()
    tokenizer, kind, reason = train_kind(corpus, settings.vocab_size, watch, _spelling(settings))
    return ChosenTokenizer(tokenizer, f"{kind}: {reason}", True)


def keep_tokenizer(chosen: ChosenTokenizer, settings: CorpusConfig, corpus: Corpus) -> None:
    """Caches a trained tokenizer: training takes about half a minute for 60 MB.

    A separate step, to be called when the corpus has proved usable.
    """
    path = _place(settings, corpus)
    if chosen.trained and read_cached(path, _read_chosen) is None:
        content = {"reason": chosen.reason, "tokenizer": chosen.tokenizer.to_str()}
        with write_cached(path) as file:
            file.write_text(json.dumps(content), encoding="utf-8")


def _read_chosen(path: Path) -> ChosenTokenizer:
    record = json.loads(path.read_text(encoding="utf-8"))
    return ChosenTokenizer(Tokenizer.from_str(record["tokenizer"]), record["reason"], True)


def _place(settings: CorpusConfig, corpus: Corpus) -> Path:
    # All modules that training uses.
    recipe = f"{corpus.identity}\n{settings.vocab_size}\n{_spelling(settings)}"
    sources = (kinds, normalisation, scripts, wordpiece, byte_level, characters)
    return cache_path(recipe, ".tokenizer.json", __file__, *(str(module.__file__) for module in sources))


def _spelling(settings: CorpusConfig) -> Spelling:
    return Spelling(settings.tokenizer_kind, settings.cased, settings.strip_accents)


def load_tokenizer(source: str) -> Tokenizer:
    """Loads a `tokenizer.json`, a folder that holds one, or a tokenizer on the Hub.

    Raises:
        TokenizerError: It cannot be loaded, or lacks one of BERT's special tokens.
    """
    try:
        path = find_local(source, "tokenizer")
    except MissingSource:
        raise TokenizerError(f"tokenizer {source!r}: there is no file {source}") from None
    except UserError as error:
        raise TokenizerError(str(error)) from None
    file = path / "tokenizer.json" if path is not None and path.is_dir() else path
    if file is not None and not file.exists():
        raise TokenizerError(f"tokenizer {source!r}: there is no file {file}")
    try:
        if file is None:
            check_hub(source, "tokenizer", "model")
        tokenizer = Tokenizer.from_file(str(file)) if file else Tokenizer.from_pretrained(source)
    except Exception as error:  # tokenizers raises bare Exception
        raise TokenizerError(f"tokenizer {source!r} cannot be loaded: {first_line(error)}") from error
    missing = [token for token in SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
    if missing:
        raise TokenizerError(f"tokenizer {source!r} has no {', '.join(missing)}; a BERT tokenizer is needed")
    return tokenizer
