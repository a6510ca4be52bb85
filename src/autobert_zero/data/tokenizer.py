"""WordPiece tokenizers: trained on the corpus, or named by the user."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from autobert_zero.data.cache import cache_path
from autobert_zero.data.corpus import Corpus, Watch, unwatched
from autobert_zero.errors import UserError
from autobert_zero.files import written_whole


class TokenizerError(UserError):
    """A tokenizer that cannot be loaded or used."""


SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""BERT's special tokens; a trained tokenizer numbers them 0 to 4."""


_START = "\u2581"


def train_tokenizer(corpus: Corpus, vocab_size: int, watch: Watch = unwatched) -> Tokenizer:
    """Trains a lower-casing WordPiece tokenizer, BERT's normalisation and splitting.

    The library's own WordPiece trainer numbers `##` pieces in the order of a hash map, so it gives
    another vocabulary in every process. Its pair-merging (BPE) trainer is deterministic: words get a
    start mark, and afterwards a piece with the mark begins a word and a piece without continues one.
    """
    merger = Tokenizer(models.BPE())
    merger.normalizer = normalizers.BertNormalizer(lowercase=True)
    merger.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(_START, "always", split=False)]
    )
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False)
    merger.train_from_iterator(corpus.batches(watch), trainer, length=len(corpus.paragraphs))
    merged = sorted(merger.get_vocab().items(), key=lambda item: item[1])
    characters = [piece for piece, _ in merged if len(piece) == 1 and piece != _START]
    pieces = [piece[1:] if piece.startswith(_START) else f"##{piece}" for piece, _ in merged]
    ordered = dict.fromkeys((*SPECIAL_TOKENS, *characters, *filter(None, pieces)))
    vocabulary = {piece: index for index, piece in enumerate(list(ordered)[:vocab_size])}

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = merger.normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def corpus_tokenizer(corpus: Corpus, vocab_size: int, watch: Watch = unwatched) -> Tokenizer:
    """The tokenizer trained on a corpus, or what `keep_tokenizer` has kept of it."""
    path = _place(corpus, vocab_size)
    return Tokenizer.from_file(str(path)) if path.exists() else train_tokenizer(corpus, vocab_size, watch)


def keep_tokenizer(tokenizer: Tokenizer, corpus: Corpus, vocab_size: int) -> None:
    """Caches a trained tokenizer: training takes about half a minute for 60 MB.

    A step of its own, for when the corpus has proved to be of use.
    """
    path = _place(corpus, vocab_size)
    if not path.exists():
        with written_whole(path) as partial:
            tokenizer.save(str(partial))


def _place(corpus: Corpus, vocab_size: int) -> Path:
    # Modules that training is spread over have to be listed here.
    return cache_path(f"{corpus.identity}\n{vocab_size}", ".tokenizer.json", __file__)


def load_tokenizer(source: str) -> Tokenizer:
    """Loads a `tokenizer.json`, a folder that holds one, or a tokenizer on the Hub.

    Raises:
        TokenizerError: It cannot be loaded, or lacks one of BERT's special tokens.
    """
    path = Path(source).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.exists() and (path.is_dir() or path.suffix or source.startswith((".", "/", "~"))):
        raise TokenizerError(f"tokenizer {source!r}: there is no file {file}")
    try:
        tokenizer = Tokenizer.from_file(str(file)) if file.exists() else Tokenizer.from_pretrained(source)
    except Exception as error:  # tokenizers raises bare Exception
        raise TokenizerError(
            f"tokenizer {source!r} cannot be loaded: {str(error).splitlines()[0]}"
        ) from error
    missing = [token for token in SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
    if missing:
        raise TokenizerError(f"tokenizer {source!r} has no {', '.join(missing)}; a BERT tokenizer is needed")
    return tokenizer
