"""The code in the documents runs."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.made import RATE, spoken, write_corpus

DOCS = Path(__file__).parent.parent


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_python_guide(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every block in one namespace, in the order of reading, as a reader would paste them."""
    from asr.data.audio import write_wav

    monkeypatch.chdir(tmp_path)
    target = tmp_path / "exp" / "an4" / "default"
    target.parent.mkdir(parents=True)
    target.symlink_to(trained / "run")
    write_wav(tmp_path / "audio.wav", spoken("FACE BED"), RATE)
    blocks = python_blocks(DOCS / "docs" / "python.md")
    assert len(blocks) == 3
    names: dict[str, object] = {"waveform": spoken("CAB").astype(np.float64)}
    for block in blocks:
        exec(block, names)  # noqa: S102  # the document's own code
    assert capsys.readouterr().out.startswith("FACE BED ")
    losses = names["losses"]
    assert tuple(losses.shape) == (2,)  # type: ignore[attr-defined]


def test_the_decoding_guide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.decoding.made_lm import made_model
    from tests.lm.made_neural import characters, write_neural

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made_model(np.random.default_rng(0), ["A", "TEA", "TO"], 3).write(tmp_path / "trigram.arpa")
    (tmp_path / "exp" / "an4" / "charlm").mkdir(parents=True)
    write_neural(tmp_path / "exp" / "an4" / "charlm" / "best", characters("ENTRSIX "))
    neural, any_model = python_blocks(DOCS / "docs" / "decoding.md")
    exec(neural, {})  # noqa: S102  # the document's own code
    assert capsys.readouterr().out.rstrip("\n").endswith("(1, 10)")
    assert len([line for line in any_model.split("\n") if line]) <= 22
    exec(any_model, {})  # noqa: S102  # the document's own code
    assert len(capsys.readouterr().out.rstrip("\n").split("\n")) == 2


def test_links_lead_somewhere() -> None:
    for page in [
        *DOCS.glob("*.md"),
        *(DOCS / "docs").rglob("*.md"),
        *(DOCS / "recipes").rglob("*.md"),
    ]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page}: {link}"


def test_pictures_of_recipes_are_shown_and_small() -> None:
    for folder in (DOCS / "recipes").glob("*/images"):
        shown = set(
            re.findall(r"\]\(images/([^)]+)", (folder.parent / "README.md").read_text("utf-8"))
        )
        assert {file.name for file in folder.iterdir()} == shown
        assert sum(file.stat().st_size for file in folder.iterdir()) < 200_000


def test_the_documents_speak_of_the_project_alone() -> None:
    forbidden = re.compile(r"(?<![\w.])/(home|root|tmp|mnt|work)\b")  # paths of one machine
    folders = (DOCS / "docs", DOCS / "recipes")
    for page in [
        *DOCS.glob("*.md"),
        *(page for folder in folders for page in folder.rglob("*.md")),
    ]:
        assert not forbidden.search(page.read_text(encoding="utf-8")), page


def test_every_named_command_exists() -> None:
    """`asr WORD` in the README is a command."""
    from asr.cli.main import app

    known = {entry.name for entry in (*app.registered_commands, *app.registered_groups)}
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`|\n)asr ([a-z]+)", text))
    assert named
    assert named <= known


def test_the_corpus_helper_is_reproducible(tmp_path: Path) -> None:
    first = write_corpus(tmp_path / "a")
    second = write_corpus(tmp_path / "b")
    for name in ("train.jsonl", "wav/train-000.wav", "wav/test-003.wav"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize("name", ["expected_wer", "transducer"])
def test_the_guide_to_an_objective_shows_the_tested_loop(name: str) -> None:
    script = DOCS / "tests" / "objectives" / f"{name}_example.py"
    (block,) = python_blocks(DOCS / "docs" / f"{name}.md")
    assert block == script.read_text(encoding="utf-8").replace("  # noqa: T201", "")
