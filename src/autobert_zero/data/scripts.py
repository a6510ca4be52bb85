"""Classes of characters for `tokenizers.Regex`: letters of scripts with and without spaces, their marks."""

UNSPACED = (
    r"[\p{L}\p{M}\p{Nl}&&[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Yi}"
    r"\p{Javanese}\p{Balinese}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}〆ーｰﾞﾟ]]"
)
"""A letter, or a mark of one, of the scripts that put no spaces between words; their digits do form words."""

SPACED = rf"[\p{{L}}\p{{N}}_&&[^{UNSPACED}]]"
"""A letter or digit of the other scripts, or an underscore."""

MARKS = r"\p{M}\x{200c}\x{200d}"
"""What belongs to the letter before it, to be used inside a class: accents, vowel signs and joiners."""
