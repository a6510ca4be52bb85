"""Checks that text in any script can be tokenised, decoded again, and trained on.

    python benchmarks/languages.py [--quick]

The script makes a small text in each of thirteen scripts; in Chinese, Japanese and Korean one line in a
hundred has a rare character. Each text is packed with the tokenizer that `auto` chooses, and a small backbone
is pre-trained on it for 100 steps (10 with `--quick`). The last line is one JSON object.
"""

import argparse
import json
import os
import tempfile
import unicodedata
from pathlib import Path
from random import Random

from autobert_zero.data.corpus import open_corpus
from autobert_zero.data.packing import tokenise_batches, unknown_share
from autobert_zero.data.tokenizer import choose_tokenizer
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Bars, log_console
from autobert_zero.settings import resolve
from autobert_zero.shared_config import CorpusConfig

VOCABULARY = 1024
LINES = 600

WORDS = {
    "Latin with accents": "schön Straße été naïve garçon señor coração žluťoučký kůň łódź Ångström œuvre",
    "Greek": "Ἑλλάς λόγος θάλασσα άνθρωπος καλημέρα φιλοσοφία ψυχή κόσμος δημοκρατία ήλιος",
    "Cyrillic": "привет мир съел ещё этих мягких французских булок їжак Україна здраво ђак",
    "Arabic": "السلام عليكم كِتَاب مدرسة می‌خواهم زبان فارسی اردو پاکستان قلم",
    "Hebrew": "שָׁלוֹם עולם ספר בית ילדים תורה מים שמש ירושלים אור",
    "Devanagari": "हिन्दी में लिखा हुआ नमस्ते दुनिया विद्यालय क्षेत्र ज्ञान स्त्री पुस्तक",
    "Thai": "ภาษาไทย ที่ เขียน นี้ สวัสดี ชาวโลก น้ำ โรงเรียน เด็ก หนังสือ",
    "Chinese": "今天 天气 很好 我们 一起 去 公园 散步 北京 大学 语言 模型 学习",
    "Japanese": "東京 は 日本 の 首都 です とても きれいな 町 ひらがな カタカナ 学校 に 行く",
    "Korean": "안녕하세요 세계 한국어 학교 책을 읽습니다 사람 서울 바다 하늘 사랑",
    "emoji": "great 😀 fun 🎉 👩‍👩‍👧 ok ❤️ then 🥲 🇩🇪 👍🏽 yes 🫠 no",
    "DNA": "ACGT GATTACA TTAGGG CCCGGG ATATAT GCGC",
    "Tamil": "தமிழ் மொழி வணக்கம் உலகம் பள்ளி புத்தகம் கடல் மரம்",
}
UNSPACED = ("Thai", "Chinese", "Japanese", "DNA")
RARE = {"Chinese": range(0x4E00, 0x9FA0), "Japanese": range(0x4E00, 0x9FA0), "Korean": range(0xAC00, 0xD7A3)}


def make_text(script: str) -> list[str]:
    """Makes lines of words of a script; one line in a hundred has a character that occurs nowhere else."""
    random, words = Random(script), WORDS[script].split()
    join = "" if script in UNSPACED else " "
    lines = [join.join(random.choices(words, k=random.randint(12, 30))) for _ in range(LINES)]
    if script in RARE:
        for place in range(0, LINES, 100):
            lines[place] += chr(random.choice(RARE[script]))
    return lines


def measure(script: str, folder: Path, steps: int) -> dict[str, object]:
    """Measures tokenizer and pre-training on the text of one script."""
    lines = make_text(script)
    path = folder / f"{script}.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    settings = CorpusConfig(corpus=str(path), vocab_size=VOCABULARY)
    chosen = choose_tokenizer(settings, open_corpus(settings))
    tokenizer = chosen.tokenizer
    unknown = unknown_share(tokenise_batches([lines], tokenizer, 64), tokenizer)
    folded = chosen.reason.startswith("wordpiece")
    back = [tokenizer.decode(tokenizer.encode(line, add_special_tokens=False).ids) for line in lines]
    same = sum(plain(a, folded) == plain(b, folded) for a, b in zip(lines, back, strict=True)) / len(lines)
    config = resolve(
        PretrainConfig(backbone=("conv 3",)),
        {
            "data": {"corpus": str(path), "vocab_size": VOCABULARY},
            "model": {"width": 32, "heads": 2},
            "phases": [{"steps": steps, "length": 64, "batch_size": 8}],
            "report": {"evaluated_sequences": 32},
        },
    )
    with Bars(log_console(), quiet=True) as bars:
        loss = run_pretraining(config, folder / f"{script} run", bars)["holdout_loss"]
    result = {
        "tokenizer": chosen.reason,
        "tokens": tokenizer.get_vocab_size(),
        "unknown_share": unknown,
        "round_trip_share": same,
        "loss": round(loss, 3),
    }
    print(script, json.dumps(result, ensure_ascii=False), flush=True)
    return result


def plain(text: str, folded: bool) -> str:
    """A text as decoding should return it: WordPiece folds case and does not keep spaces."""
    text = unicodedata.normalize("NFC", text)
    return "".join(text.split()).lower() if folded else text


def main() -> None:
    """Runs the benchmark and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="pre-train for 10 steps instead of 100")
    steps = 10 if parser.parse_args().quick else 100
    with tempfile.TemporaryDirectory() as name:
        os.environ["AUTOBERT_ZERO_CACHE"] = f"{name}/cache"
        scripts = {script: measure(script, Path(name), steps) for script in WORDS}
    summary = {
        "scripts": scripts,
        "worst_unknown_share": max(float(str(each["unknown_share"])) for each in scripts.values()),
        "worst_round_trip_share": min(float(str(each["round_trip_share"])) for each in scripts.values()),
    }
    print(json.dumps(summary, ensure_ascii=False))


if __name__ == "__main__":
    main()
