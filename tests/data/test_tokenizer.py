"""Tokenizers: of every kind complete, deterministic, and the same after a round trip; chosen for the text."""

import os
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tiny import train_tokenizer
from tokenizers import Tokenizer

from autobert_zero.data import tokenizer as module
from autobert_zero.data.corpus import Corpus
from autobert_zero.data.kinds import train_kind
from autobert_zero.data.normalisation import SPECIAL_TOKENS, Spelling, TokenizerError
from autobert_zero.data.packing import tokenise_batches, unknown_share
from autobert_zero.data.tokenizer import (
    ChosenTokenizer,
    choose_tokenizer,
    keep_tokenizer,
    load_tokenizer,
)
from autobert_zero.search.config import SearchConfig, SearchDataConfig
from autobert_zero.settings import ConfigError, resolve
from autobert_zero.shared_config import CorpusConfig

CORPUS = Corpus("tiny", "tiny 0", tiny.paragraphs(150))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(CORPUS, 200)


def test_special_tokens_are_numbered_0_to_4(tokenizer: Tokenizer) -> None:
    assert SPECIAL_TOKENS == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]


def test_ids_are_dense_up_to_the_size(tokenizer: Tokenizer) -> None:
    assert sorted(tokenizer.get_vocab().values()) == list(range(200))


def test_frequent_words_are_one_token_and_all_decode(tokenizer: Tokenizer) -> None:
    large = train_tokenizer(CORPUS, 1000)
    for text in CORPUS.paragraphs:
        words = text.split()
        assert large.encode(text, add_special_tokens=False).tokens == words
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text, add_special_tokens=False).tokens


def of(*texts: str) -> Corpus:
    return Corpus("made up", "0", list(texts))


def unknown(tokenizer: Tokenizer, corpus: Corpus) -> float:
    return unknown_share(tokenise_batches([list(corpus.paragraphs)], tokenizer, 16), tokenizer)


KINDS = ("wordpiece", "bpe", "unigram", "character")
GERMAN = of(*["Schöne Grüße: schon wieder schön, die Straße in Köln!"] * 20)


def test_case_is_folded_accents_are_kept_and_punctuation_splits() -> None:
    german = train_tokenizer(GERMAN, 200)
    assert ids(german, "SCHÖN Straße") == ids(german, "schön straße")
    assert ids(german, "schön") != ids(german, "schon")
    # Two ways to write the same are the same.
    assert ids(german, "scho\u0308n") == ids(german, "schön")
    corpus = of(*["well, (yes) no."] * 3)
    assert tokens(train_tokenizer(corpus, 100), "Well, (no).") == ["well", ",", "(", "no", ")", "."]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cased", [True, False])
@pytest.mark.parametrize("strip", [True, False])
def test_case_and_accents_as_asked(kind: str, cased: bool, strip: bool) -> None:
    german = train_tokenizer(GERMAN, 300, spelling=Spelling(kind, cased, strip))
    assert (ids(german, "Die") == ids(german, "die")) == (not cased)
    assert (ids(german, "schön") == ids(german, "schon")) == strip


def test_only_wordpiece_folds_case_unasked() -> None:
    for kind in KINDS:
        german = train_tokenizer(GERMAN, 300, spelling=Spelling(kind))
        assert (ids(german, "Die") == ids(german, "die")) == (kind == "wordpiece")


SIGNS = ("हिन्दी में लिखा हुआ", "ภาษาไทยที่เขียนนี้", "שָׁלוֹם עולם", "می\u200cخواهم بروم", "ம் தமிழ்")


@pytest.mark.parametrize("text", SIGNS)
@pytest.mark.parametrize("kind", KINDS)
def test_vowel_signs_and_joiners_stay(text: str, kind: str) -> None:
    text = unicodedata.normalize("NFC", text)
    for strip in (False, True):
        trained = train_tokenizer(of(*[text] * 5), 400, spelling=Spelling(kind, strip_accents=strip))
        assert trained.decode(ids(trained, text)) == text


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@given(text=st.text(max_size=40))
def test_bytes_spell_everything(kind: str, text: str) -> None:
    trained = BYTES[kind]
    encoder = Tokenizer.from_str(trained.to_str())
    encoder.encode_special_tokens = True
    encoded = encoder.encode(text, add_special_tokens=False)
    assert "[UNK]" not in encoded.tokens
    expected = unicodedata.normalize("NFC", text)
    # The space that is put before the first word is taken away again, a text's own is not.
    assert trained.decode(encoded.ids) == (expected[1:] if expected.startswith(" ") else expected)
    for start, end in encoded.offsets:
        assert 0 <= start <= end <= len(text)


BYTES = {kind: train_tokenizer(GERMAN, 300, spelling=Spelling(kind)) for kind in ("bpe", "unigram")}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_word_is_spelled_the_same_wherever_it_stands(kind: str) -> None:
    trained = BYTES[kind]
    once, twice = ids(trained, "Straße"), ids(trained, "Straße Straße")
    assert twice == once * 2


WORDS = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=12)


@given(st.lists(WORDS, min_size=1, max_size=20))
def test_text_of_the_corpus_is_never_unknown(texts: list[str]) -> None:
    trained = train_tokenizer(of(*texts), 2000, spelling=Spelling("wordpiece"))
    for text in texts:
        assert "[UNK]" not in tokens(trained, text)


@pytest.mark.parametrize("kind", ["auto", *KINDS])
def test_the_mark_of_the_trainer_is_text_like_any_other(kind: str) -> None:
    corpus = of(*["a b\u2581c d\u2581\u2581 \ue000 ##x"] * 4)
    trained = train_tokenizer(corpus, 300, spelling=Spelling(kind))
    assert unknown(trained, corpus) == 0
    text = trained.decode(ids(trained, corpus.paragraphs[0]))
    assert text.replace(" ", "") == corpus.paragraphs[0].replace(" ", "")


def test_characters_of_long_words_are_kept() -> None:
    word = "".join(Random(0).choices("abcdefgh", k=750))
    trained = train_tokenizer(of(f"short words {word} here", *["and more of these"] * 50), 200)
    shown = tokens(trained, f"and {word}")
    assert "[UNK]" not in shown
    assert "".join(shown).replace("##", "") == f"and{word}"


@pytest.mark.parametrize("texts", [[""], [], ["   "]])
@pytest.mark.parametrize("kind", ["auto", "wordpiece", "character"])
def test_no_text_at_all(texts: list[str], kind: str) -> None:
    trained = train_tokenizer(of(*texts), 64, spelling=Spelling(kind))
    assert trained.get_vocab_size() <= len(SPECIAL_TOKENS) + 1  # a space


def test_more_characters_than_the_vocabulary_holds() -> None:
    trained = train_tokenizer(of("".join(map(chr, range(0x4E00, 0x4E00 + 500)))), 64)
    assert sorted(trained.get_vocab().values()) == list(range(64))
    assert [trained.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]


ENGLISH = [" ".join(Random(n).choices(tiny.paragraphs(1)[0].split(), k=12)) for n in range(150)]
RARE = of(*ENGLISH, *(f"{ENGLISH[n % 150]} {chr(0x4E00 + n)}x" for n in range(900)))


@pytest.mark.parametrize("kind", ["auto", "wordpiece"])
def test_rare_characters_do_not_push_out_words(kind: str) -> None:
    trained = train_tokenizer(RARE, 400, spelling=Spelling(kind))
    plain = of(*ENGLISH)
    assert unknown(trained, plain) == 0
    # Words are still pieces, not letters.
    assert np.mean([len(ids(trained, text)) for text in ENGLISH]) < 20
    if kind == "auto":
        assert unknown(trained, RARE) == 0


def test_the_alphabet_is_kept_by_frequency() -> None:
    random = Random(1)
    characters = [chr(0x9FA0 - n) for n in range(1000)]  # the most frequent ones have the highest code points
    weights = [1 / (n + 1) for n in range(1000)]
    corpus = of(*("".join(random.choices(characters, weights, k=40)) for _ in range(200)))
    trained = train_tokenizer(corpus, 300, spelling=Spelling("wordpiece"))
    assert all(trained.token_to_id(character) for character in characters[:100])
    counts = Counter("".join(corpus.paragraphs))
    best = sum(count for _, count in counts.most_common(295))
    assert unknown(trained, corpus) == pytest.approx(1 - best / 8000, abs=0.01)
    # Ideographs never continue a word.
    assert not any(piece.startswith("##") for piece in trained.get_vocab())


DNA = of(*("".join(Random(n).choices("ACGT", k=120)) for n in range(40)))
CHINESE = of(*["今天天气很好，我们一起去公园里散步。"] * 20)
EMOJI = of(*["great 😀🎉 fun 👩\u200d👧 ok ❤️ then 🥲"] * 20)


@pytest.mark.parametrize(
    ("corpus", "kind", "why"),
    [
        (CORPUS, "wordpiece", "words between spaces"),
        (GERMAN, "wordpiece", "words between spaces"),
        (of(*[SIGNS[0]] * 9), "wordpiece", "words between spaces"),
        (EMOJI, "wordpiece", "words between spaces"),
        (of(*[SIGNS[1]] * 9), "bpe", "no spaces between words"),
        (CHINESE, "bpe", "no spaces between words"),
        (of(*["東京は日本の首都です。とてもきれいな町です。"] * 9), "bpe", "no spaces between words"),
        (of(*["x" + "".join(map(chr, range(48, 123))) * 3] * 9), "bpe", "a space only every"),
        (RARE, "bpe", "rare characters"),
        (DNA, "character", "4 different characters, in runs of 120 without a space"),
        (of(*["01" * 50] * 9), "character", "2 different characters"),
    ],
)
def test_auto_looks_at_the_text_and_says_why(corpus: Corpus, kind: str, why: str) -> None:
    trained, chosen, reason = train_kind(corpus, 400)
    assert chosen == kind
    assert why in reason
    assert unknown(trained, corpus) <= 0.001
    assert [trained.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    numbers = sorted(trained.get_vocab().values())
    assert numbers == list(range(len(numbers)))
    assert len(numbers) <= 400


def test_characters_that_do_not_fit_are_bytes() -> None:
    corpus = of(*("".join(map(chr, range(0x4E00 + n, 0x4E00 + n + 200))) for n in range(0, 2000, 100)))
    trained = train_tokenizer(corpus, 600, spelling=Spelling("character"))
    assert unknown(trained, corpus) == 0
    for text in (*corpus.paragraphs, "an unseen text, of bytes"):
        assert trained.decode(ids(trained, text)) == text


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_too_small_for_bytes(kind: str) -> None:
    with pytest.raises(TokenizerError, match=r"a vocabulary of 200 is too small .* need at least 261"):
        train_tokenizer(CORPUS, 200, spelling=Spelling(kind))
    assert train_tokenizer(CORPUS, 261, spelling=Spelling(kind)).get_vocab_size() == 261


def test_the_same_in_every_process() -> None:
    program = (
        "import tiny; from autobert_zero.data.corpus import Corpus;"
        "from autobert_zero.data.kinds import train_kind;"
        "from autobert_zero.data.normalisation import Spelling;"
        "corpus = Corpus('tiny', '0', tiny.paragraphs(150));"
        "kinds = ('wordpiece', 'bpe', 'unigram', 'character');"
        "print(*(train_kind(corpus, 400, spelling=Spelling(kind))[0].to_str() for kind in kinds), sep='\\n')"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            cwd=Path(tiny.__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": parallel},
        ).stdout.decode()
        for seed, parallel in (("1", "true"), ("2", "false"))
    }
    here = (train_tokenizer(CORPUS, 400, spelling=Spelling(kind)).to_str() for kind in KINDS)
    assert outputs == {"".join(f"{each}\n" for each in here)}


def test_round_trip_through_a_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for source in (tmp_path, tmp_path / "tokenizer.json"):
        assert load_tokenizer(str(source)).to_str() == tokenizer.to_str()


def test_kept_and_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SearchDataConfig(vocab_size=300)
    chosen = choose_tokenizer(settings, CORPUS)
    assert chosen.trained
    assert chosen.reason == "wordpiece: words between spaces, 16 different characters"
    assert not cache.exists()
    keep_tokenizer(chosen, settings, CORPUS)
    monkeypatch.delattr(module, "train_kind")
    again = choose_tokenizer(settings, CORPUS)
    assert again.tokenizer.to_str() == chosen.tokenizer.to_str()
    assert again.reason == chosen.reason
    changes = ({"vocab_size": 301}, {"cased": True}, {"strip_accents": True}, {"tokenizer_kind": "bpe"})
    others = [(resolve_data(**{"vocab_size": 300, **change}), CORPUS) for change in changes]
    for other in (*others, (settings, Corpus("tiny", "tiny 1", CORPUS.paragraphs))):
        with pytest.raises(NameError):
            choose_tokenizer(*other)


def resolve_data(**changes: object) -> SearchDataConfig:
    return resolve(SearchConfig(), {"data": changes}).data


def test_a_named_tokenizer_is_not_trained_and_not_kept(
    cache: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    settings = SearchDataConfig(tokenizer=str(tmp_path))
    chosen = choose_tokenizer(settings, CORPUS)
    assert isinstance(chosen, ChosenTokenizer)
    assert (chosen.trained, chosen.reason) == (False, f"given: {tmp_path}")
    keep_tokenizer(chosen, settings, CORPUS)
    assert not cache.exists()


@pytest.mark.parametrize("change", [{"cased": True}, {"strip_accents": True}, {"tokenizer_kind": "bpe"}])
def test_a_named_tokenizer_has_its_own_spelling(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(change))} can only be set for a tokenizer that is tr"):
        resolve_data(tokenizer="some.json", **change)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.json", None, "there is no file"),
        ("folder", "folder", "there is no file"),
        ("garbage.json", "{", "cannot be loaded"),
        ("other.json", "{}", "cannot be loaded"),
    ],
)
def test_bad_tokenizers(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    with pytest.raises(TokenizerError, match=message) as caught:
        load_tokenizer(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_berts_special_tokens(tmp_path: Path) -> None:
    from tokenizers import models

    path = tmp_path / "other.json"
    Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).save(str(path))
    with pytest.raises(TokenizerError, match=r"has no \[PAD\], \[CLS\], \[SEP\], \[MASK\]"):
        load_tokenizer(str(path))


def test_a_name_out_of_reach() -> None:
    with pytest.raises(TokenizerError, match="cannot be loaded"):
        load_tokenizer("nobody/nothing")


def test_names_that_are_of_the_hub_or_of_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def check_hub(name: str, *kinds: str) -> None:
        asked.append(name)
        _no_hub()

    monkeypatch.setattr("autobert_zero.data.tokenizer.check_hub", check_hub)
    for name in ("user/model-v1.1", "bert-base-uncased", "a/b.c"):
        with pytest.raises(TokenizerError, match="cannot be loaded: no network"):
            load_tokenizer(name)
    assert asked == ["user/model-v1.1", "bert-base-uncased", "a/b.c"]
    for name in ("x" * 5000, "books/tokenizer.json", "~nobody-here/x", "a\0b", ""):
        with pytest.raises(TokenizerError) as caught:
            load_tokenizer(name)
        assert "\n" not in str(caught.value)
    assert len(asked) == 3


def _no_hub() -> None:
    raise ConnectionError("no network")


@pytest.mark.parametrize("content", ["", "{", "{}", '{"tokenizer": "{}", "reason": ""}'])
def test_a_damaged_cached_tokenizer_is_trained_again(cache: Path, content: str) -> None:
    settings = CorpusConfig(vocab_size=200)
    chosen = choose_tokenizer(settings, CORPUS)
    keep_tokenizer(chosen, settings, CORPUS)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_text(content)
    again = choose_tokenizer(settings, CORPUS)
    assert again.tokenizer.to_str() == chosen.tokenizer.to_str()
    keep_tokenizer(again, settings, CORPUS)
    assert path.read_bytes() == whole
