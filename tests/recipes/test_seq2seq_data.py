"""Pairs for sequence to sequence networks: preparing, reading, batching, scoring."""

import gzip
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from asr.data.corpus.prepared_texts import find_texts
from asr.errors import ConfigError, DataError
from asr.training.plain_task import TaskData
from recipes.seq2seq.cmudict import dictionary_sets, find_dictionary, read_dictionary
from recipes.seq2seq.data import (
    BUCKET_RATIO,
    UNKNOWN,
    LinePacker,
    batches_of_similar_length,
    buckets,
    pad,
    read_pairs,
    split_text,
    vocabulary_of,
)
from recipes.seq2seq.made_pairs import COUNTS, made_pairs
from recipes.seq2seq.pairs import Reading, read_held_out, read_training
from recipes.seq2seq.prepare import prepare
from recipes.seq2seq.scores import bleu, error_rates, score

READING = Reading(units="words", case="keep", source_size=0, target_size=0, max_tokens=0)
DICTIONARY = """;;; remarks
record  R AH0 K AO1 R D
RECORD(2)  R EH1 K ER0 D
record(3) R AH1 K AO2 R D # only the stress is another

aalborg AO1 L B AO0 R G # place, danish
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_dictionary_without_stress(tmp_path: Path) -> None:
    file = write(tmp_path / "cmudict.dict", DICTIONARY)
    assert find_dictionary([tmp_path]) == find_dictionary([file]) == file
    assert read_dictionary(file) == {
        "record": ["R AH K AO R D", "R EH K ER D"],
        "aalborg": ["AO L B AO R G"],
    }


@pytest.mark.parametrize("line", ["word", "word K AE3 T", "word k ae t", "word(2)"])
def test_lines_that_are_no_word_with_phones(tmp_path: Path, line: str) -> None:
    file = write(tmp_path / "cmudict.dict", f"cat K AE1 T\n{line}\n")
    with pytest.raises(DataError, match=r"cmudict\.dict:2: is no word with its phones: 'word"):
        read_dictionary(file)


def test_a_dictionary_that_is_missing_or_too_small(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no cmudict\.dict; give --corpus the CMU pronouncing"):
        prepare([tmp_path], tmp_path / "out")
    with pytest.raises(DataError, match=r"seq2seq: no cmudict\.dict; give --corpus"):
        prepare([], tmp_path / "out")
    file = write(tmp_path / "cmudict.dict", DICTIONARY)
    with pytest.raises(DataError, match="2 words are too few to hold any out; 20 or more are need"):
        prepare([file], tmp_path / "out")


def test_words_are_in_one_set_with_all_their_pronunciations(tmp_path: Path) -> None:
    words = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    lines = [f"{word} K AE1 T\n{word}(2) D AO1 G\n" for word in words]
    sets = dictionary_sets(write(tmp_path / "cmudict.dict", "".join(lines)))
    listed = {name: [line.split("\t")[0] for line in part] for name, part in sets.items()}
    assert {name: len(part) for name, part in sets.items()} == {"dev": 10, "test": 10, "train": 180}
    assert all(set(Counter(part).values()) == {2} for part in listed.values())
    assert sorted(word for part in listed.values() for word in set(part)) == sorted(words)
    assert sets["dev"][0].endswith("\tK AE T")


@pytest.mark.data
def test_the_whole_dictionary(corpora: Path, tmp_path: Path) -> None:
    prepare([corpora / "text" / "cmudict"], tmp_path)
    prepared = find_texts(tmp_path)
    assert prepared is not None
    assert prepared.counts == {"train": 121_377, "dev": 6_758, "test": 6_725}
    words: dict[str, set[str]] = {}
    phones: set[str] = set()
    for name, path in prepared.paths.items():
        pairs = [
            line.split("\t") for line in gzip.decompress(path.read_bytes()).decode().split("\n")
        ]
        words[name] = {pair[0] for pair in pairs[:-1]}
        phones.update(*(pair[1].split(" ") for pair in pairs[:-1]))
    assert len(phones) == 39
    assert {name: len(found) for name, found in words.items()} == {
        "train": 113_446, "dev": 6_303, "test": 6_303,
    }  # fmt: skip
    assert len(set.union(*words.values())) == 126_052, "no word in two sets"


def parallel(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        stem, _, language = name.rpartition("_")
        write(folder / f"{stem}.{language}", text)
    return folder


def test_parallel_texts(tmp_path: Path) -> None:
    folder = parallel(
        tmp_path / "wmt",
        europarl_en="a  b\nc\n\nd\n", europarl_fr="A B\n\n\nD\n",
        newstest2013_en="e\n", newstest2013_fr="E\n",
    )  # fmt: skip
    for language, text in (("en", b"f\n"), ("fr", b"F\n")):
        (folder / f"ntst14.{language}.gz").write_bytes(gzip.compress(text))
    prepare([folder], tmp_path / "out", variant="wmt14")
    prepared = find_texts(tmp_path / "out")
    assert prepared is not None
    assert prepared.notes == (f"{folder}/europarl.en: 2 pairs with an empty side left out",)
    lines = {name: gzip.decompress(path.read_bytes()) for name, path in prepared.paths.items()}
    assert lines == {"train": b"a b\tA B\nd\tD\n", "dev": b"e\tE\n", "test": b"f\tF\n"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train_en": "a\nb\n", "train_fr": "A\n"},
            r"train\.fr: ends after line 1, but .*en goes",
        ),
        (
            {"train_en": "a\n", "train_fr": "A\nB\n"},
            r"train\.en: ends after line 1, but .*fr goes",
        ),
        ({"dev_en": "a\n", "dev_fr": "\n"}, r"dev\.fr:1: is empty, and dev must be whole; corr"),
        ({"test_en": "\n", "test_fr": "A\n"}, r"test\.en:1: is empty, and test must be whole"),
        ({"other_en": "a\n"}, r"other\.en: has no other\.fr beside it; parallel files are pairs"),
    ],
)
def test_texts_that_are_not_parallel(tmp_path: Path, files: dict[str, str], message: str) -> None:
    whole = {f"{name}_{lang}": "x\n" for name in ("train", "dev", "test") for lang in ("en", "fr")}
    folder = parallel(tmp_path / "wmt", **{**whole, **files})
    with pytest.raises(DataError, match=message):
        prepare([folder], tmp_path / "out", variant="wmt14")
    assert not (tmp_path / "out" / "prepared.json").exists()


def test_parallel_texts_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no parallel files for train; give --corpus a folder with"):
        prepare([tmp_path], tmp_path / "out", variant="wmt14")
    folder = parallel(tmp_path / "wmt", train_en="a\n", train_fr="A\n")
    with pytest.raises(
        DataError, match=r"no parallel files for dev; .* names as in train, newstes"
    ):
        prepare([folder], tmp_path / "out", variant="wmt14")
    with pytest.raises(DataError, match="seq2seq: no parallel files for train"):
        prepare([], tmp_path / "out", variant="wmt14")


@pytest.mark.parametrize("mirrored", [False, True])
def test_made_pairs(mirrored: bool) -> None:
    sets = made_pairs(mirrored=mirrored)
    assert {name: len(lines) for name, lines in sets.items()} == COUNTS
    pairs = [line.split("\t") for lines in sets.values() for line in lines]
    assert len({source for source, _ in pairs}) == len(pairs), "no source twice"
    for source, target in pairs:
        words = source.split(" ")
        assert target.split(" ") == (words[::-1] if mirrored else words)
        assert 3 <= len(words) <= 8


def test_vocabularies_keep_the_most_frequent(tmp_path: Path) -> None:
    file = write(tmp_path / "pairs.txt", "b b c\tx\na b </s>\ty y\n")
    train = read_training(
        TaskData(train=str(file)),
        Reading(units="words", case="keep", source_size=4, target_size=0, max_tokens=0),
    )
    assert train.source_vocabulary.symbols == ("</s>", "<unk>", "b", "a")
    assert train.target_vocabulary.symbols == ("</s>", "<unk>", "y", "x")
    assert train.source[0].tolist() == [2, 2, UNKNOWN]
    assert train.source[1].tolist() == [3, 2, UNKNOWN], "a word that looks like the end is none"
    assert train.target_vocabulary.decode(train.target[1].tolist()) == ["y", "y"]
    other = read_training(TaskData(train=str(file)), READING)
    assert train.fingerprint() != other.fingerprint()
    assert vocabulary_of(Counter({"<unk>": 3, "z": 1}), 0).encode(["<unk>", "z"]) == [UNKNOWN, 2]


def test_pairs_with_accents_are_read_as_they_were_prepared(tmp_path: Path) -> None:
    texts = {"train": ("the cat eats", "le chat a mangé"), "dev": ("na\u00efve", "e\u0301té")}
    folder = tmp_path / "wmt"
    for name, (source, target) in {**texts, "test": ("a", "à")}.items():
        write(folder / f"{name}.en", f"{source}\n")
        write(folder / f"{name}.fr", f"{target}\n")
    prepare([folder], tmp_path / "out", variant="wmt14")
    prepared = find_texts(tmp_path / "out")
    assert prepared is not None
    found = {name: list(read_pairs(path)) for name, path in prepared.paths.items()}
    assert [(pair.source, pair.target) for pair in found["train"]] == [texts["train"]]
    assert [(pair.source, pair.target) for pair in found["dev"]] == [("naïve", "été")]
    assert [(pair.source, pair.target) for pair in found["test"]] == [("a", "à")]


def test_sources_have_the_case_that_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "pairs.txt", "a B\tx X\n")
    assert [pair.source for pair in read_pairs(file, "lower")] == ["a b"]
    assert [pair.source for pair in read_pairs(file, "upper")] == ["A B"]
    assert [pair.target for pair in read_pairs(file, "upper")] == ["x X"]


def test_long_pairs_are_left_out_and_recorded(tmp_path: Path) -> None:
    file = write(tmp_path / "pairs.txt", "a b\tx\na\tx y z\nb\ty\n")
    reading = Reading(units="words", case="keep", source_size=0, target_size=0, max_tokens=2)
    train = read_training(TaskData(train=str(file)), reading)
    assert [line.tolist() for line in (train.source[0], train.source[1])] == [[3, 2], [2]]
    (skipped,) = train.excluded
    assert skipped.id == f"{file}:2"
    assert skipped.reason == "3 tokens, more than task.max_tokens = 2"
    reading = Reading(units="words", case="keep", source_size=0, target_size=0, max_tokens=0)
    assert not read_training(TaskData(train=str(file)), reading).excluded
    write(file, "a b\tx\n")
    reading = Reading(units="words", case="keep", source_size=0, target_size=0, max_tokens=1)
    with pytest.raises(DataError, match=r"every pair has more than task\.max_tokens = 1 tokens"):
        read_training(TaskData(train=str(file)), reading)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nc\n", r"pairs\.txt:2: 1 columns; a line is a source, a tab and a target"),
        ("a\tb\tc\n", r"pairs\.txt:1: 3 columns"),
        ("a\tb\n \tc\n", r"pairs\.txt:2: the source is empty; remove the line"),
        ("a\t\n", r"pairs\.txt:1: the target is empty"),
        ("", r"pairs\.txt: is empty; copy or make the file again"),
    ],
)
def test_files_that_are_no_pairs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_pairs(write(tmp_path / "pairs.txt", text)))


def test_no_training_pairs() -> None:
    with pytest.raises(ConfigError, match=r"data\.train: is empty; name the training pairs"):
        read_training(TaskData(), READING)
    assert read_held_out("", READING, group=True) is None


def test_references_of_one_source_come_together(tmp_path: Path) -> None:
    file = str(write(tmp_path / "pairs.txt", "a\tx y\nb\tz\na\tw\n"))
    grouped = read_held_out(file, READING, group=True)
    assert grouped is not None
    assert grouped.sources == [["a"], ["b"]]
    assert grouped.texts == ["a", "b"]
    assert grouped.references == [[["x", "y"], ["w"]], [["z"]]]
    assert grouped.source == [0, 1, 0]
    apart = read_held_out(file, READING, group=False)
    assert apart is not None
    assert apart.sources == [["a"], ["b"], ["a"]]
    assert apart.references == [[["x", "y"]], [["z"]], [["w"]]]


def test_tokens_are_words_or_characters() -> None:
    assert split_text("ab c", "words") == ["ab", "c"]
    assert split_text("ab c", "characters") == ["a", "b", " ", "c"]


def test_lines_are_packed() -> None:
    packer = LinePacker()
    for line in ([3, 4], [], [5]):
        packer.add(line)
    lines = packer.packed()
    assert [lines[index].tolist() for index in range(len(lines))] == [[3, 4], [], [5]]
    assert lines.lengths.tolist() == [2, 0, 1]
    tokens, lengths = pad([lines[index] for index in range(3)])
    assert tokens.tolist() == [[3, 4], [0, 0], [5, 0]]
    assert lengths.tolist() == [2, 0, 1]


def test_lengths_in_a_bucket_are_alike() -> None:
    lengths = np.arange(1, 200)
    kinds = buckets(lengths)
    assert (np.diff(kinds) >= 0).all()
    for kind in np.unique(kinds):
        inside = lengths[kinds == kind]
        assert inside.max() <= BUCKET_RATIO * inside.min()
        if inside.max() < lengths.max():
            assert inside.max() + 1 > BUCKET_RATIO * inside.min(), "smaller than it may be"


def test_batches_have_each_pair_once_and_similar_lengths() -> None:
    generator = np.random.default_rng(0)
    sources, targets = generator.integers(1, 40, 500), generator.integers(1, 40, 500)
    items = generator.permutation(500)[:400]
    batches = batches_of_similar_length(items, sources, targets, batch_size=16, generator=generator)
    assert sorted(item for batch in batches for item in batch) == sorted(items.tolist())
    assert max(map(len, batches)) == 16
    for batch in batches:
        assert sources[batch].max() <= BUCKET_RATIO * sources[batch].min()
    longest = [int(sources[batch].max()) for batch in batches]
    assert longest != sorted(longest), "the batches come in no order"


def test_errors_are_counted_against_the_nearest_reference() -> None:
    hypotheses = [["a", "b"], ["c"], ["d", "e"]]
    references = [[["x", "y", "z"], ["a", "b"]], [["c", "d", "e"], ["f", "g"]], [["d", "x"]]]
    # none of 2; 2 of 3 and, as near, 2 of 2: the first counts; 1 of 2
    assert error_rates(hypotheses, references) == (3 / 7, 2 / 3)
    assert score("phones", hypotheses, references) == {"per": 3 / 7, "wer": 2 / 3}
    assert score("tokens", hypotheses, references) == {"ter": 3 / 7, "ser": 2 / 3}
    unknown = [["<unk>"]]
    assert error_rates(unknown, [[["rare"]]]) == (1.0, 1.0), "the unknown word is never right"


def test_bleu_of_tokens_as_they_are() -> None:
    pytest.importorskip("sacrebleu")
    reference = ["the", "cat", "sat", "on", "the", "mat", ",", "twice"]
    assert bleu([reference], [reference]) == pytest.approx(100.0)
    assert bleu([[word.upper() for word in reference]], [reference]) < 20
    # 4 of 4, 3 of 3, 2 of 2, 1 of 1 n-grams, and exp(1 - 8 / 4) for being half as long
    assert bleu([reference[:4]], [reference]) == pytest.approx(100 * np.exp(-1.0))
    assert score("bleu", [reference], [[reference]]) == {"bleu": pytest.approx(100.0)}


def test_bleu_without_what_measures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ConfigError, match=r"BLEU needs sacrebleu: pip install 'asr-toolkit\[trans"):
        bleu([["a"]], [["a"]])


def test_bleu_gets_tokens_and_gives_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of sacrebleu, where it is not installed."""
    asked: list[object] = []

    class BLEU:
        def __init__(self, **options: object) -> None:
            asked.append(options)

        def corpus_score(self, texts: list[str], references: list[list[str]]) -> object:
            asked.extend([texts, references])
            return type("Score", (), {"score": 12.5})()

    module, metrics = ModuleType("sacrebleu"), ModuleType("sacrebleu.metrics")
    metrics.BLEU = BLEU  # type: ignore[attr-defined]
    module.metrics = metrics  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sacrebleu", module)
    assert bleu([["a", "b"]], [["a", "c"]]) == 12.5
    assert asked == [{"tokenize": "none", "force": True}, ["a b"], [["a c"]]]
