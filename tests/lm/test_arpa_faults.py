"""Broken ARPA files: each kind is refused with its line, what is wrong and what to do."""

import gzip
import os
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import DataError, ResourceError
from asr.lm import arpa_sections, blocks, states
from asr.lm.arpa import read_arpa
from asr.lm.arpa_kernel import MAX_LINE_BYTES

GOOD = """\\data\\
ngram 1=5
ngram 2=3
ngram 3=2

\\1-grams:
-2	<unk>
-99	<s>	-0.5
-1	</s>
-0.7	a	-0.3
-0.8	b	-0.2

\\2-grams:
-0.3	<s> a	-0.1
-0.4	a b	-0.2
-0.6	b </s>

\\3-grams:
-0.2	<s> a b
-0.1	a b </s>

\\end\\
"""
LINES = GOOD.encode().split(b"\n")  # line n is LINES[n - 1]


def changed(line: int, *replacement: bytes) -> bytes:
    """The good file with other lines in the place of one; none removes it."""
    return b"\n".join([*LINES[: line - 1], *replacement, *LINES[line:]])


def without(first: int, last: int) -> bytes:
    return b"\n".join([*LINES[: first - 1], *LINES[last:]])


def moved(first: int, last: int, before: int) -> bytes:
    """The good file with lines in front of an earlier one."""
    lines = LINES[first - 1 : last]
    return b"\n".join([*LINES[: before - 1], *lines, *LINES[before - 1 : first - 1], *LINES[last:]])


def test_the_good_file_is_good(tmp_path: Path) -> None:
    path = tmp_path / "good.arpa"
    path.write_text(GOOD, encoding="utf-8")
    assert read_arpa(path).counts == (5, 3, 2)


HEADER = {
    "no data line": (changed(1), 21, r"ends without a line \\data\\, so it is no ARPA file; give"),
    "a text": (b"Call me Ishmael.\n", 1, r"ends without a line \\data\\"),
    "binary": (b"\x7fELF\x02\x01\0\0\n" + GOOD.encode(), 1, "is no ARPA file, which is text"),
    "web page": (b"<!DOCTYPE html>\n<html>\n", 1, "is a web page, no ARPA file; download"),
    "web page without type": (b"<HTML><body>\n", 1, "is a web page"),
    "UTF-16": (GOOD.encode("utf-16"), 1, "is UTF-16; save the file as UTF-8"),
    "count without a number": (changed(3, b"ngram 2=many"), 3, "'ngram 2=many' is no count of n"),
    "negative count": (changed(3, b"ngram 2=-3"), 3, "'ngram 2=-3' is no count of n-grams; lines"),
    "count of a fraction": (changed(3, b"ngram 2=3.5"), 3, r"'ngram 2=3\.5' is no count"),
    "something else": (changed(3, b"bigrams: 3"), 3, "'bigrams: 3' is no count of n-grams"),
    "no counts": (without(2, 4), 3, r"no counts after \\data\\; lines such as 'ngram 1=5000'"),
    "nothing after data": (b"\\data\\\n", 2, r"no counts after \\data\\"),
    "order missing": (changed(3), 3, "'ngram 3=' where 'ngram 2=' is due; the orders are counted"),
    "order twice": (changed(3, LINES[1]), 3, "'ngram 1=' where 'ngram 2=' is due"),
    "begins with order 2": (changed(2), 2, "'ngram 2=' where 'ngram 1=' is due"),
    "order 0": (changed(2, b"ngram 0=1"), 2, "'ngram 0=' where 'ngram 1=' is due"),
    "order 7": (changed(4, b"ngram 7=1"), 4, "order 7 is above 6; make a model of a lower order"),
    "no words": (changed(2, b"ngram 1=0"), 2, "no 1-grams, so the model has no words; make it"),
    "absurd count": (
        changed(4, b"ngram 3=99999999999999999"),
        4,
        "99999999999999999 3-grams are more than the file has room for: it is cut off, or the "
        "count is wrong",
    ),
    "slightly absurd count": (changed(2, b"ngram 1=60"), 2, "60 1-grams are more than the file"),
}

SECTIONS = {
    "cut in the header": (b"\\data\\\nngram 1=1", 2, r"ends where \\1-grams: is due: it is cut"),
    "cut between sections": (b"\n".join(LINES[:17]), 16, r"ends where \\3-grams: is due: it is"),
    "cut in a section": (
        b"\n".join(LINES[:14]) + b"\n",
        14,
        "the file ends after 1 of the 3 2-grams of the header; copy or make the file again",
    ),
    "cut in a line": (b"\n".join(LINES[:15])[:-6], 15, "too few words; a line is a log10 probabi"),
    "no section for order 1": (without(6, 12), 6, r"\\2-grams: where \\1-grams: is due, which is"),
    "no section for order 2": (without(13, 17), 13, r"\\3-grams: where \\2-grams: is due, which"),
    "no last section": (without(18, 21), 18, r"\\end\\ where \\3-grams: is due, which is missing"),
    "sections out of order": (moved(18, 21, 13), 13, r"\\3-grams: stands before \\2-grams:; put "),
    "section twice": (changed(17, *LINES[12:17]), 17, r"\\2-grams: stands twice, and \\3-grams:"),
    "last section twice": (changed(21, *LINES[17:21]), 21, r"'\\3-grams:' stands twice, and \\end"),
    "section of no order": (changed(21, b"\\4-grams:"), 21, r"'\\4-grams:' is not in the header"),
    "odd section header": (changed(13, b"\\2-gram:"), 13, r"'\\2-gram:' where \\2-grams: is due"),
    "no end": (b"\n".join(LINES[:20]) + b"\n", 20, r"ends without \\end\\: it is cut off; copy"),
    "text after the end": (GOOD.encode() + b"\n\nBye\n", 25, r"'Bye' after \\end\\; remove what"),
    "too many": (changed(4, b"ngram 3=1"), 20, "more 3-grams than the 1 of the header; copy or"),
    "too many words": (changed(2, b"ngram 1=4"), 11, "more 1-grams than the 4 of the header"),
    "too few": (changed(3, b"ngram 2=4"), 18, "the section ends after 3 of the 4 2-grams of the"),
    "too few words": (changed(2, b"ngram 1=6"), 13, "the section ends after 5 of the 6 1-grams"),
}

NGRAMS = {
    "unknown word": (changed(15, b"-0.4\ta c"), 15, "'c' is no word of the 1-grams; add it there"),
    "unknown word with a vertical tab": (
        changed(15, b"-0.4\t\x0ba b"),
        15,
        r"'\\x0ba' is no word of the 1-grams",
    ),
    "unknown word in front": (changed(20, b"-0.1\tA b </s>"), 20, "'A' is no word of the 1-gram"),
    "unknown context": (
        changed(19, b"-0.2\tb a b"),
        19,
        "this 3-gram begins with 'b a', which is no 2-gram; make the model again, with the begin",
    ),
    "doubled n-gram": (changed(20, LINES[18]), 20, "this 3-gram stands twice; remove one of the"),
    "doubled in another place": (changed(16, b"-0.9\t<s>  a"), 16, "this 2-gram stands twice"),
    "doubled word": (changed(11, b"-0.8\ta"), 11, "the word 'a' stands twice among the 1-grams"),
    "above 1": (changed(15, b"0.4\ta b"), 15, r"the log10 probability 0\.4 is above 0; a probabi"),
    "a little above 1": (changed(10, b"2e-4 a"), 10, "the log10 probability 2e-4 is above 0"),
    "minus infinity": (changed(10, b"-inf a"), 10, "the log10 probability -inf is not finite; -9"),
    "infinity": (changed(10, b"Infinity a"), 10, "the log10 probability Infinity is not finite"),
    "nan": (changed(19, b"nan\t<s> a b"), 19, "the log10 probability nan is not finite"),
    "overflow": (changed(10, b"-1e999 a"), 10, "the log10 probability -1e999 is not finite"),
    "beyond float32": (changed(10, b"-2e38 a"), 10, "the log10 probability -2e38 is not finite"),
    "no number": (changed(15, b"-0.4x\ta b"), 15, r"'-0\.4x' is no number; a line is a log10"),
    "two points": (changed(15, b"-0.4.1\ta b"), 15, r"'-0\.4\.1' is no number"),
    "decimal comma": (changed(15, b"-0,4\ta b"), 15, "'-0,4' is no number"),
    "hexadecimal": (changed(15, b"-0x1p1\ta b"), 15, "'-0x1p1' is no number"),
    "only a sign": (changed(15, b"-\ta b"), 15, "'-' is no number"),
    "open exponent": (changed(15, b"-1e\ta b"), 15, "'-1e' is no number"),
    "open exponent with sign": (changed(15, b"-1e-\ta b"), 15, "'-1e-' is no number"),
    "bad exponent": (changed(15, b"-1e1x\ta b"), 15, "'-1e1x' is no number"),
    "no probability": (changed(15, b"a b"), 15, "no probability; a line is a log10 probability, 2"),
    "too few words": (changed(15, b"-0.4\ta"), 15, "too few words; a line is a log10 probability"),
    "only a number": (
        changed(10, b"-0.7"),
        10,
        "too few words; .* probability, 1 word and perhaps",
    ),
    "too many fields": (
        changed(15, b"-0.4 a b -0.2 c"),
        15,
        "too many fields; .* a log10 back-off",
    ),
    "far too many fields": (changed(15, b"-1" + b" a" * 99), 15, "too many fields"),
    "back-off in the highest order": (
        changed(19, b"-0.2\t<s> a b\t-0.1"),
        19,
        r"a back-off weight \(-0\.1\) in the highest order; a line is a log10 prob.*, 3 words$",
    ),
    "back-off no number": (changed(14, b"-0.3\t<s> a\tb"), 14, "the back-off weight 'b' is no num"),
    "back-off infinite": (
        changed(10, b"-1\ta\tinf"),
        10,
        "log10 back-off weight inf is not finite",
    ),
    "back-off minus infinity": (changed(10, b"-1\ta\t-inf"), 10, "weight -inf is not finite; 0"),
    "back-off nan": (changed(14, b"-0.3\t<s> a\tNaN"), 14, "back-off weight NaN is not finite; 0"),
    "no <s>": (changed(8, b"-1 c"), 6, r"the 1-grams lack <s>, .* '-99\\t<s>' under \\1-grams: "),
    "no </s>": (
        changed(9, b"-1 c"),
        6,
        "the 1-grams lack </s>, which every model needs; add lines",
    ),
    "no <unk>": (changed(7, b"-1 c"), 6, r"the 1-grams lack <unk>, .* such as '-99\\t<unk>' under"),
    "capital <S>": (changed(8, b"-99 <S>"), 6, "the 1-grams lack <s>"),
    "no special words": (
        b"\\data\\\nngram 1=1\n\\1-grams:\n-1 a\n\\end\\\n",
        3,
        "lack <unk>, <s>, </s>, .* '-99.t<unk>' and '-99.t<s>' and '-99.t</s>' under",
    ),
    "zero byte in a word": (changed(10, b"-0.7\ta\0b"), 10, "a byte 0: the file is damaged, or no"),
    "zero byte in an n-gram": (changed(15, b"-0.4\ta \0"), 15, "a byte 0: the file is damaged"),
    "zero byte in a number": (changed(15, b"-0.\0\ta b"), 15, "a byte 0: the file is damaged"),
    "Latin-1 word": (
        changed(10, b"-0.7\tcaf\xe9"),
        10,
        r"byte 4 of the line \(0xe9\) is not UTF-8",
    ),
    "Latin-1 n-gram": (
        changed(15, b"-0.4\ta \xe9"),
        15,
        r"\(0xe9\) is not UTF-8; save the file as",
    ),
    "half a character": (changed(11, b"-0.8\tb\xc3"), 11, r"\(0xc3\) is not UTF-8"),
    "surrogate": (changed(11, b"-0.8\t\xed\xa0\x80"), 11, r"\(0xed\) is not UTF-8"),
    "long line": (changed(10, b"-0.7\t" + b"a" * MAX_LINE_BYTES), 10, "a line of more than 65536"),
    "long line of a section": (changed(15, b" " * (1 << 17)), 15, "more than 65536 bytes: the fi"),
    "long line in the header": (changed(3, b"n" * (1 << 17)), 3, "more than 65536 bytes"),
}
CASES = HEADER | SECTIONS | {f"n-grams: {name}": case for name, case in NGRAMS.items()}


def check(path: Path, content: bytes, line: int, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_arpa(path)
    text = str(error.value)
    assert text.startswith(f"{path}:{line}: "), text
    assert "\n" not in text
    assert len(text) < len(str(path)) + 250


@pytest.mark.parametrize("name", CASES)
def test_a_broken_file_is_refused(tmp_path: Path, name: str) -> None:
    check(tmp_path / "broken.arpa", *CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_the_line_does_not_depend_on_the_blocks(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 7)
    check(tmp_path / "broken.arpa", *CASES[name])


@pytest.mark.parametrize("name", ["order missing", "no end", "n-grams: above 1"])
def test_a_broken_compressed_file_has_lines_too(tmp_path: Path, name: str) -> None:
    content, line, message = CASES[name]
    check(tmp_path / "broken", gzip.compress(content), line, message)


def test_a_cut_gzip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
    whole = gzip.compress(GOOD.encode(), compresslevel=0)
    check(tmp_path / "a.gz", whole[:-8], 20, "the compressed file is cut off in or after this line")
    check(tmp_path / "b.gz", whole[:120], 8, "the compressed file is cut off in or after this line")
    check(tmp_path / "c.gz", whole[:5], 1, "the compressed file is cut off")


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD.encode())
    path = tmp_path / "a.gz"
    checksum = whole[:-8] + b"\0\0\0\0" + whole[-4:]
    check(path, checksum, 1, "the compressed file is damaged in or after this line .*CRC")
    check(path, whole[:20] + b"\xff" * 9 + whole[29:], 1, "the compressed file is damaged .*; copy")
    check(path, whole + b"more", 1, "the compressed file is damaged in or after this line")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.arpa: cannot be read: No such file"):
        read_arpa(tmp_path / "missing.arpa")
    with pytest.raises(DataError, match="is a folder; give the file"):
        read_arpa(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: is no regular file; save its content as one"):
        read_arpa(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="empty: is empty; copy or make the file again"):
        read_arpa(tmp_path / "empty")
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"empty\.gz: is empty"):
        read_arpa(tmp_path / "empty.gz")


@pytest.mark.parametrize("failing", ["read", "seek", "fileno"])
def test_a_disk_that_fails(tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, file: object) -> None:
            self.file, self.reads = file, 0

        def __getattr__(self, name: str) -> object:
            self.reads += name == "read"
            if name == failing and not (name == "read" and self.reads < 3):
                raise OSError(5, "Input/output error")
            return getattr(self.file, name)

    path = tmp_path / "good.arpa"
    path.write_text(GOOD, encoding="utf-8")
    opened = blocks.LineBlocks._opened
    monkeypatch.setattr(blocks.LineBlocks, "_opened", lambda lines: Failing(opened(lines)))
    with pytest.raises(DataError, match=r"good\.arpa: cannot be read: Input/output error"):
        read_arpa(path)


def test_a_disk_that_fails_while_the_file_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: object, name: str) -> None:
        raise OSError(5, "Input/output error")

    path = tmp_path / "good.arpa"
    path.write_text(GOOD, encoding="utf-8")
    monkeypatch.setattr(blocks.hashlib, "file_digest", fail)
    with pytest.raises(DataError, match=r"good\.arpa: cannot be read: Input/output error"):
        read_arpa(path)


def test_more_ngrams_than_32_bits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arpa_sections, "MAX_NGRAMS", 7)
    check(tmp_path / "a.arpa", GOOD.encode(), 3, "more than 7 n-grams; prune the model")


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError

    path = tmp_path / "good.arpa"
    path.write_text(GOOD, encoding="utf-8")
    monkeypatch.setattr(states.StateBuilder, "automaton", fail)
    with pytest.raises(ResourceError, match=r"good\.arpa: does not fit into memory; prune the mod"):
        read_arpa(path)


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    content = changed(15, b"-0.4\ta \x1b[31mred")
    check(tmp_path / "a.arpa", content, 15, re.escape(r"'\x1b[31mred' is no word of the 1-grams"))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_does_worse_than_an_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        cut = data.draw(st.integers(0, 12))
        content[place : place + cut] = data.draw(st.binary(max_size=12))
    path = tmp_path / "damaged.arpa"
    path.write_bytes(content)
    with suppress(DataError):
        model = read_arpa(path)
        states = range(len(model.automaton.backoff_states))
        log_probs, after = model.score(states, [model.unk] * len(states))
        assert (log_probs < 1e38).all()
        assert set(after.tolist()) <= set(states)
