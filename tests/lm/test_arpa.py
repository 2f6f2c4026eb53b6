"""Reading and writing ARPA files: what they mean, how they may be written, and back again."""

import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import ResourceError
from asr.lm import arpa_writer, blocks
from asr.lm.arpa import NgramTable, read_arpa, write_arpa
from asr.lm.ngram import NgramModel
from asr.storage import file_hash
from tests.lm.plain_ngram import PlainModel, random_model, random_sentence

PLAIN = "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1.5\t<unk>\n-99\t<s>\t-0.25\n-1\t</s>\n"
PLAIN += "-0.5\tthe\t-0.125\n\n\\2-grams:\n-0.25\t<s> the\n\n\\end\\\n"


def read(tmp_path: Path, content: str | bytes) -> NgramModel:
    path = tmp_path / "model.arpa"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_arpa(path)


def same(first: NgramModel, second: NgramModel) -> bool:
    arrays = zip(first.automaton, second.automaton, strict=True)
    return first.words == second.words and all(np.array_equal(*pair) for pair in arrays)


def test_a_file_by_hand(tmp_path: Path) -> None:
    model = read(tmp_path, PLAIN)
    assert model.counts == (4, 1)
    assert model.order == 2
    assert model.words == ("<unk>", "<s>", "</s>", "the")
    assert (model.unk, model.bos, model.eos) == (0, 1, 2)
    assert model.source == tmp_path / "model.arpa"
    assert model.sha256() == file_hash(model.source)
    scores = model.score_sentence(["the", "the", "other"])
    log10_probs = [-0.25, -0.125 - 0.5, -0.125 - 1.5, -1]
    assert scores == pytest.approx([value * math.log(10) for value in log10_probs], rel=1e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\t", " "),
        ("\t", " \t  "),
        (" the\n", "   the \t\n"),
        ("\n", "\r\n"),
        ("\n", " \t\r\n"),
        ("\\data\\", "A comment.\n\n ngram 1=9\n\\data\\ "),
        ("\n\n", "\n \n\n\t\n"),
        ("\n\n", "\n"),
        ("-1\t</s>\n", "\n-1\t</s>\n\n"),
        ("\\end\\\n", "\\end\\"),
        ("\\end\\\n", "\\end\\\n\n \n"),
        ("ngram 2=1", "ngram  2 =\t1"),
        ("-1\t</s>", "-1\t</s>\t0"),
        ("-1\t</s>", "-10e-1\t</s>\t-0.0"),
        ("-1\t</s>", "-.01E+2\t</s>\t+0e9"),
        ("\\data\\", "\ufeff\\data\\"),
        ("<unk>", "<UNK>"),
    ],
)
def test_ways_to_write_the_same(tmp_path: Path, old: str, new: str) -> None:
    assert old in PLAIN
    assert same(read(tmp_path, PLAIN.replace(old, new)), read(tmp_path, PLAIN))


def test_capital_unk_is_a_word_where_there_is_another(tmp_path: Path) -> None:
    model = read(tmp_path, PLAIN.replace("the", "<UNK>"))
    assert model.words == ("<unk>", "<s>", "</s>", "<UNK>")
    assert model.word_ids(["<UNK>", "new"]).tolist() == [3, 0]


@pytest.mark.parametrize("bytes_read", [1, 2, 7, 64])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_do_not_matter(
    tmp_path: Path, bytes_read: int, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = random_model(3, 3, num_words=3).arpa().encode()
    whole = read(tmp_path, text)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", bytes_read)
    assert same(read(tmp_path, gzip.compress(text) if packed else text), whole)


def test_any_bytes_but_white_space_are_words(tmp_path: Path) -> None:
    words = [
        "日本語",
        "naïve",
        "e\u0301",
        "a\u00a0b",
        "x\u2028y",
        "\x0b\x0c",
        "-1.5",
        "\\end\\",
        "🎈",
    ]
    lines = "".join(f"-{i}\t{word}\n" for i, word in enumerate(words, 1))
    text = PLAIN.replace("ngram 1=4", f"ngram 1={4 + len(words)}").replace(
        "-1.5\t", f"{lines}-1.5\t"
    )
    text = text.replace("ngram 2=1", "ngram 2=2").replace("<s> the\n", "<s> the\n-1 -1.5 \\end\\\n")
    model = read(tmp_path, text)
    assert model.words[: len(words)] == tuple(words)
    log_probs = model.score_sentence(words, bos=False, eos=False)
    assert log_probs[0] == pytest.approx(-math.log(10))
    assert log_probs[7] == pytest.approx(-math.log(10))
    assert log_probs[8] == pytest.approx(-9 * math.log(10))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.floats(-1e30, 0).map(repr),
            st.floats(-99, 0, width=32).map(lambda value: f"{value:.7g}"),
            st.from_regex(r"-[0-9]{1,30}\.[0-9]{0,30}([eE]-?[0-9]{1,2})?", fullmatch=True).filter(
                lambda text: float(text) > -1e38
            ),
            st.sampled_from(
                ["0", "-0", "-.5", "-5.", "+0.0", "-1e-999", "-0e999", "-1E-310", "5e-5"]
            ),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_numbers_are_those_that_python_reads(tmp_path: Path, numbers: list[str]) -> None:
    lines = "".join(f"{number}\tw{i}\n" for i, number in enumerate(numbers))
    text = f"\\data\\\nngram 1={3 + len(numbers)}\n\\1-grams:\n-1 <unk>\n-1 <s>\n-1 </s>\n{lines}"
    model = read(tmp_path, text + "\\end\\\n")
    expected = [min(float(number), 0.0) * math.log(10) for number in numbers]
    np.testing.assert_allclose(model.automaton.arc_log_probs[3:], expected, rtol=2e-7, atol=1e-44)


def test_probabilities_a_little_above_1_are_1(tmp_path: Path) -> None:
    model = read(tmp_path, PLAIN.replace("-0.25\t<s>", "1e-7\t<s>").replace("-0.5\t", "0.0001\t"))
    assert model.score_sentence(["the"], eos=False) == [0.0]
    assert model.score_sentence(["the"], bos=False, eos=False) == [0.0]


def test_orders_without_ngrams(tmp_path: Path) -> None:
    text = PLAIN.replace("ngram 2=1", "ngram 2=1\nngram 3=0\nngram 4=0")
    text = text.replace("\\end\\", "\\3-grams:\n\n\\4-grams:\n\n\\end\\")
    model = read(tmp_path, text)
    assert model.order == 4
    assert model.score_sentence(["the", "x"]) == read(tmp_path, PLAIN).score_sentence(["the", "x"])


def tables(model: PlainModel) -> list[NgramTable]:
    ids = {word: index for index, word in enumerate(model.words())}
    found = []
    for n in range(1, model.order + 1):
        grams = model.of_order(n)
        numbers = np.array([model.grams[gram] for gram in grams], dtype=np.float32).reshape(-1, 2)
        ngrams = np.array([[ids[word] for word in gram] for gram in grams], dtype=np.int32)
        backoffs = numbers[:, 1] if n < model.order else None
        found.append(NgramTable(ngrams.reshape(-1, n), numbers[:, 0], backoffs))
    return found


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
def test_written_and_read_again(
    tmp_path: Path, order: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arpa_writer, "BUFFER_BYTES", 200)
    plain = random_model(order, order, num_words=2)
    write_arpa(tmp_path / name, plain.words(), tables(plain))
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    model = read_arpa(tmp_path / name)
    assert model.words == tuple(plain.words())
    assert same(model, read_arpa(plain.write(tmp_path / "plain.arpa")))
    random = np.random.default_rng(0)
    for _ in range(20):
        words = random_sentence(random, plain, 6)
        expected = [value * math.log(10) for value in plain.sentence(words)]
        assert model.score_sentence(words) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_what_a_written_file_looks_like(tmp_path: Path) -> None:
    grams = {("<unk>",): (-2.0, 0.0), ("<s>",): (-99.0, -0.30103), ("</s>",): (-1.25, 0.0)}
    plain = PlainModel({**grams, ("<s>", "</s>"): (-1e-7, 0.0)}, 2)
    write_arpa(tmp_path / "a.arpa", plain.words(), tables(plain))
    assert (tmp_path / "a.arpa").read_text(encoding="utf-8") == (
        "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-2\t<unk>\t0\n-99\t<s>\t-0.30103\n"
        "-1.25\t</s>\t0\n\n\\2-grams:\n-1e-07\t<s> </s>\n\n\\end\\\n"
    )


@given(
    st.lists(
        st.floats(-(2.0**127), 2.0**127, width=32).filter(lambda x: x == 0 or abs(x) > 1e-37)
        | st.floats(-10, 10, width=32).filter(lambda x: x == 0 or abs(x) > 1e-37)
        | st.sampled_from([9.9999995, 0.99999994, 99999.995, 9999999.0, 1e7, 100.0, -1e-5, 1e-6]),
        max_size=50,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_are_written_with_seven_digits(tmp_path: Path, numbers: list[float]) -> None:
    values = np.array([0.0, *numbers], dtype=np.float32)
    probs = np.zeros(len(values), dtype=np.float32)
    ids = np.zeros((len(values), 1), dtype=np.int32)
    empty = NgramTable(np.empty((0, 2), dtype=np.int32), probs[:0], None)
    write_arpa(tmp_path / "a.arpa", ["w"], [NgramTable(ids, probs, values), empty])
    lines = (tmp_path / "a.arpa").read_text(encoding="utf-8").split("\n")
    fields = [line.split("\t")[2] for line in lines if "\tw\t" in line]
    assert [float(field) for field in fields] == pytest.approx(values.tolist(), rel=5.1e-7, abs=0)
    assert max(map(len, fields)) <= 14


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    plain = random_model(1, 2)
    for name in ("a.gz", "b.gz"):
        write_arpa(tmp_path / name, plain.words(), tables(plain))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = random_model(1, 2)
    (tmp_path / "a").write_text("old", encoding="utf-8")
    with pytest.raises(ResourceError, match=r"b\.arpa: cannot be written: File exists; check"):
        write_arpa(tmp_path / "a" / "b.arpa", plain.words(), tables(plain))

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResourceError, match="cannot be written: No space left on device; free som"):
        write_arpa(tmp_path / "a", plain.words(), tables(plain))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"


def table(rows: list[list[int]], *, probs: object = None, backoffs: object = None) -> NgramTable:
    ngrams = np.array(rows, dtype=np.int32)
    numbers = np.zeros(len(rows)) if probs is None else np.array(probs)
    weights = None if backoffs is None else np.array(backoffs, dtype=np.float32)
    return NgramTable(ngrams, numbers.astype(np.float32), weights)


NO_WORDS = NgramTable(np.empty((0, 1), dtype=np.int32), np.empty(0, dtype=np.float32), None)


@pytest.mark.parametrize(
    ("words", "orders", "message"),
    [
        (["a"], [], "a model has 1 to 6 orders, got 0"),
        (["a"], [table([[0]])] * 7, "a model has 1 to 6 orders, got 7"),
        (["a b"], [table([[0]])], "'a b' is no word: empty, or with white space in it"),
        (["a\n"], [table([[0]])], "is no word"),
        ([""], [table([[0]])], "'' is no word"),
        (["a"], [table([[0, 0]])], r"the 1-grams must be \(n, 1\), got \(1, 2\)"),
        (["a"], [table([[1]])], "the 1-grams: a word id outside 0 to 0"),
        (["a"], [table([[-1]])], "the 1-grams: a word id outside 0 to 0"),
        (["a"], [table([[0]], backoffs=[0.0])], "only the highest order is without back-off weig"),
        (["a"], [table([[0]]), table([[0, 0]])], "the 1-grams: only the highest order is without"),
        (["a"], [table([[0]], probs=[0, 0])], r"the 1-grams: 1 n-grams, but numbers \(2,\)"),
        (["a"], [table([[0]], probs=[math.nan])], "the 1-grams: a number that is not finite"),
        (
            ["a"],
            [table([[0]], backoffs=[math.inf]), table([[0, 0]])],
            "the 1-grams: a number that is not finite",
        ),
        (["a"], [NO_WORDS], "the 1-grams: a model has at least one word"),
    ],
)
def test_misuse_of_the_writer_is_named(
    tmp_path: Path, words: list[str], orders: list[NgramTable], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_arpa(tmp_path / "a.arpa", words, orders)
    assert list(tmp_path.iterdir()) == []
