"""The table of Graves & Jaitly in Markdown: the paper's figures, and what lies in the files."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tools.made_runs import put_json
from tests.tools.made_table import FakeAsr, Made, write
from tools.paper_figures import HOURS, NGRAMS, PAPER, Figures

SEARCHED = ["none, best path", "none", "dictionary", "1-gram", "2-gram", "3-gram"]
RESCORED = [
    "1-gram, own lists rescored", "2-gram, own lists rescored", "3-gram, own lists rescored",
    "own lists as they are", "own lists, best candidates (oracle)",
]  # fmt: skip

Rows = dict[tuple[str, str], list[str]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def printed(made: Made, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert made.run(*words, command="print") == 0
    return capsys.readouterr().out


def rows_of(text: str) -> Rows:
    """The cells behind system and language model."""
    lines = [line[2:-2].split(" | ") for line in text.split("\n") if line.startswith("| ")]
    assert len({len(cells) for cells in lines}) == 1, "all rows are as wide as the head"
    return {(cells[0], cells[1]): cells[2:] for cells in lines[2:]}


def wer_of(arguments: Sequence[str]) -> float:
    """Another one for each kind of row."""
    if arguments[0] == "rescore":
        return 0.3
    return 0.2 if "--lm" in arguments else 0.4


def test_what_was_not_run_has_no_figures(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(printed(made, capsys))
    for system in ("CTC", "expected WER"):
        assert [lm for each, lm in rows if each == system] == SEARCHED + RESCORED
        assert {cells[2] for (each, _), cells in rows.items() if each == system} == {"not run"}
    assert not made.out.exists()


def test_rates_beside_those_of_the_paper(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.run(asr=FakeAsr(wer=wer_of))
    text = printed(made, capsys)
    rows = rows_of(text)
    assert rows["CTC", "none"][:3] == ["74.2 / 30.9", "30.1 / 9.2", "40.00 [30.00, 50.00] / 5.12"]
    assert rows["CTC", "none, best path"][:2] == ["–", "–"]
    assert rows["expected WER", "dictionary"][:2] == ["69.7 / 31.0", "21.9 / 7.3"]
    assert rows["CTC", "3-gram"][:3] == ["13.5", "8.7", "20.00 [10.00, 30.00] / 5.12"]
    reached = "30.00 [20.00, 40.00] / 6.00"
    assert rows["CTC", "3-gram, own lists rescored"][:3] == ["13.5", "8.7", reached]
    reached = "40.00 [30.00, 50.00] / 8.00"
    assert rows["CTC", "own lists as they are"][:3] == ["–", "–", reached]
    reached = "20.00 [10.00, 30.00] / 4.00"
    assert rows["CTC", "own lists, best candidates (oracle)"][:3] == ["–", "–", reached]
    assert rows["DNN-HMM of the paper", "2-gram"] == ["11.6", "9.4", "–", "–"]
    assert "another procedure" in text


def test_each_row_has_its_command(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    """And all commands, also those of the models, follow in the order in which they are run."""
    asr = FakeAsr()
    made.run(asr=asr)
    text = printed(made, capsys)
    commands = [" ".join(["asr", *call]) for call in asr.calls]
    assert text.split("```\n")[1].split("\n")[:-1] == commands
    cell = rows_of(text)["CTC", "2-gram"][3]
    assert cell.strip("`") in commands
    assert cell.startswith("`asr evaluate ")


def test_what_changed_since_is_out_of_date(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.run()
    write(made.lm / "1.arpa", "another model")
    rows = rows_of(printed(made, capsys))
    assert rows["CTC", "1-gram"][2] == "out of date"
    assert rows["CTC", "1-gram, own lists rescored"][2] == "out of date"
    assert rows["CTC", "2-gram"][2] != "out of date"
    (made.bundle("default") / "manifest.json").unlink()
    assert rows_of(printed(made, capsys))["CTC", "none"][2] == "out of date"


def test_lists_of_another_system(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--nbest-from", made.lists("t", score=1.0), "--nbest-dev", made.lists("d", score=1.0)]
    made.run(*given)
    rows = rows_of(printed(made, capsys, *given))
    names = [lm for system, lm in rows if system == "CTC"]
    other = [name.replace("own lists", "lists of another system") for name in RESCORED]
    last = "3-gram, combination with another system"
    assert names == [*SEARCHED, *RESCORED, *other, last]
    assert rows["CTC", last][:3] == ["–", "6.7", "25.00 [15.00, 35.00] / 5.00"]
    assert rows["CTC", other[0]][:2] == ["25.8", "15.8"]


def test_both_sizes_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Made(tmp_path, trainings=("default", "si84"))
    write(made.recipe / "si84.toml", "")
    made.run()
    large, small = printed(made, capsys).split("## Trained on ")[1:]
    assert large.startswith("81 h\n")
    assert small.startswith("14 h\n")
    assert f"`asr evaluate {made.bundle('default')} " in large
    assert f"`asr evaluate {made.bundle('si84')} " in small.split("## Commands")[0]


def test_synthetic_speech_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Made(tmp_path, name="made_words")
    assert "The speech here is synthetic" in printed(made, capsys)
    text = printed(made, capsys, "--without-paper")
    assert "paper" not in text.replace("table of Graves", "")
    assert "| system | language model | reached | command |" in text
    other = Made(tmp_path / "other", name="words")
    assert "The speech here is synthetic" not in printed(other, capsys)


def test_print_is_the_default(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    from tools.paper_table import main

    places = ["--out", str(made.out), "--lm", str(made.lm)]
    assert main([str(made.recipe), *places], FakeAsr()) == 0
    assert capsys.readouterr().out.startswith("# made: the table of Graves & Jaitly (2014)\n")


def test_results_without_rates(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.run()
    put_json(made.out / "default" / "none" / "scores.json", {"words": 3})
    assert made.run(command="print") == 2
    told = capsys.readouterr().err
    assert "none/scores.json: has no rates; remove its folder and run again" in told


def test_the_figures_of_the_paper() -> None:
    """Those that its abstract has as well, and what must hold of all."""
    assert PAPER["expected WER", "none"]["81 h"].wer == 27.3
    assert PAPER["expected WER", "dictionary"]["81 h"].wer == 21.9
    assert PAPER["expected WER", "3-gram"]["81 h"].wer == 8.2
    assert PAPER["combination", "3-gram"] == {"81 h": Figures(6.7)}
    for system in ("CTC", "expected WER", "DNN-HMM"):
        for hours in HOURS:
            rates = [PAPER[system, lm][hours].wer for lm in ("dictionary", *NGRAMS.values())]
            assert rates == sorted(rates, reverse=True), "a better language model helps"
    assert len(PAPER) == 15
