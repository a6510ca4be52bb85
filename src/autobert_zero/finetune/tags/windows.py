"""Sentences of words as input of a model: windows that fit it, and the token of each word."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from transformers import PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.finetune.features import Feature, room_for_text


@dataclass(frozen=True)
class Window:
    """A part of a sentence that fits a model; it starts and ends between words.

    Attributes:
        sentence: Index of the sentence.
        feature: The tokenizer's output for the part, with special tokens.
        words: Indices of the words that are predicted in this window only.
        places: First token of each of these words.
    """

    sentence: int
    feature: Feature
    words: tuple[int, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """The windows of sentences.

    Attributes:
        windows: The windows, in the order of the sentences; words without tokens are in none.
        long: Number of sentences with several windows.
        cut: Number of words that are longer than a window, which has only their beginning.
        empty: Number of words without tokens.
    """

    windows: list[Window]
    long: int
    cut: int
    empty: int


def split_into_windows(
    tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sequence[str]], length: int
) -> Windows:
    """Tokenises sentences that are split into words, and splits those that are too long for a model.

    Words are joined by spaces, so that a word is spelled as in running text, however the tokenizer treats
    spaces. Windows of a long sentence overlap by up to a quarter; each word is predicted in the window with
    more of its context.

    Args:
        tokenizer: A fast tokenizer.
        sentences: Words of each sentence.
        length: Maximum number of tokens in a window.

    Raises:
        UserError: The tokenizer does not know which word a token belongs to, or the length leaves no room for
            words.
    """
    if not tokenizer.is_fast:
        raise UserError("tags need a fast tokenizer, which knows the place of a token in the text")
    room = room_for_text(tokenizer, length)
    if not sentences:
        return Windows([], 0, 0, 0)
    encoded = tokenizer(
        [" ".join(words) for words in sentences],
        return_offsets_mapping=True,
        truncation=False,
        verbose=False,  # long sentences are split below
    )
    windows: list[Window] = []
    long = cut = empty = 0
    for number, words in enumerate(sentences):
        names = [name for name in tokenizer.model_input_names if name in encoded]
        inputs = {name: encoded[name][number] for name in names}
        inside = [index for index, part in enumerate(encoded.sequence_ids(number)) if part is not None]
        begin, end = (inside[0], inside[-1] + 1) if inside else (0, 0)
        firsts = _first_tokens(words, encoded["offset_mapping"][number], inside)
        order = list(firsts)  # of the words that have tokens
        borders = [begin, *(firsts[word] for word in order[1:]), end]
        spans = window_spans(borders, room) if order else []
        empty += len(words) - len(order)
        long += len(spans) > 1
        for span in spans:
            start, stop = borders[span.first], borders[span.last]
            cut += stop - start > room
            stop = min(stop, start + room)
            feature = {
                name: [*values[:begin], *values[start:stop], *values[end:]] for name, values in inputs.items()
            }
            decided = order[span.decides : span.until]
            places = tuple(firsts[word] - start + begin for word in decided)
            windows.append(Window(number, feature, tuple(decided), places))
    return Windows(windows, long, cut, empty)


@dataclass(frozen=True)
class Span:
    """The words of a window, `first` to `last`, and those predicted in it, `decides` to `until`."""

    first: int
    last: int
    decides: int
    until: int


def window_spans(borders: Sequence[int], room: int) -> list[Span]:
    """Distributes words over windows.

    Args:
        borders: First token of each word, and the end of the last.
        room: Maximum number of tokens in a window; a longer word has its own window.

    Returns:
        Spans that overlap by at most a quarter of the room; each word is predicted once.
    """
    count = len(borders) - 1
    parts: list[tuple[int, int]] = []
    first = last = 0
    while last < count:
        before, last = last, first + 1
        while last < count and borders[last + 1] - borders[first] <= room:
            last += 1
        parts.append((first, last))
        if last < count:
            # The next window starts as early as it can while it still has room for the next word.
            first = next(
                word
                for word in range(max(before, first + 1), last + 1)
                if word == last
                or (borders[last] - borders[word] <= room // 4 and borders[last + 1] - borders[word] <= room)
            )
    # Two windows share their overlap equally.
    middles = [
        min(
            range(next_first, last),
            key=lambda word: abs(2 * borders[word] - borders[next_first] - borders[last]),
        )
        if next_first < last
        else last
        for (_, last), (next_first, _) in pairwise(parts)
    ]
    decided = [0, *middles, count]
    return [Span(*part, *both) for part, both in zip(parts, pairwise(decided), strict=True)]


def _first_tokens(
    words: Sequence[str], offsets: Sequence[tuple[int, int]], inside: Sequence[int]
) -> dict[int, int]:
    """The first token of each word that has one, in order.

    Args:
        words: Words, which were joined by spaces.
        offsets: Start and end of each token, in characters.
        inside: Indices of the tokens of the text.
    """
    ends = [total - 1 for total in accumulate(len(word) + 1 for word in words)]
    firsts: dict[int, int] = {}
    for index in inside:
        begin, stop = offsets[index]
        word = bisect_right(ends, begin)  # a token may begin with the space before its word
        if stop > begin and word < len(words) and stop > ends[word] - len(words[word]):
            firsts.setdefault(word, index)
    return firsts
