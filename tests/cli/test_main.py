"""The command line: what it prints, where, and the exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import typer

from asr.cli import main as cli
from asr.decoding.nbest import NbestList, read_nbest
from asr.errors import (
    AsrError,
    AudioError,
    ConfigError,
    DataError,
    DivergedError,
    ModelError,
    ResourceError,
    StoppedError,
)
from tests.cli.conftest import Run
from tests.made import RATE, TEST_TEXTS, spoken


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder with two good files, one that is no sound, and one of another kind."""
    folder = tmp_path / "sounds"
    (folder / "deep").mkdir(parents=True)
    soundfile.write(folder / "a.wav", spoken("FACE BED"), RATE)
    soundfile.write(folder / "deep" / "b.flac", spoken("CAB"), RATE)
    (folder / "bad.wav").write_bytes(b"no sound at all, but long enough for a header" * 9)
    (folder / "notes.txt").write_text("not for you", encoding="utf-8")
    return folder


def test_every_command_helps(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    commands = "prepare train transcribe evaluate decode tune rescore combine lm config info"
    for command in commands.split():
        assert command in out
        assert run(command, "--help")[0] == 0


def test_version(run: Run) -> None:
    assert run("--version") == (0, "asr 0.1.0\n", "")


def test_help_is_quick_and_imports_no_torch() -> None:
    script = (
        "import sys; from asr.cli.main import main; main(['--help']); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("False")


def test_python_m_asr() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asr", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "asr 0.1.0\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "No such command 'trian'"),
        (["transcribe"], "Missing argument"),
        (["transcribe", "a.wav", "--format", "xml"], "'xml' is not one of 'txt', 'json'"),
        (["train", "recipes/none", "--nothing"], "No such option: --nothing"),
    ],
)
def test_usage_errors_are_one_line(run: Run, words: list[str], message: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("asr: error: ")
    assert message in err
    assert "--help)" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("a\nb"), 2, "asr: error: a\nasr: error: b\n"),
        (DataError("x"), 2, "asr: error: x\n"),
        (ModelError("x"), 2, "asr: error: x\n"),
        (AudioError("f.wav", "silent", "BAD_AUDIO"), 3, "asr: error: f.wav: silent [BAD_AUDIO]\n"),
        (ResourceError("x"), 5, "asr: error: x\n"),
        (DivergedError("x"), 6, "asr: error: x\n"),
        (StoppedError("stopped", 15), 143, "asr: error: stopped\n"),
        (AsrError("x"), 2, "asr: error: x\n"),
        (KeyboardInterrupt(), 130, "asr: error: stopped by SIGINT\n"),
        (typer.Abort(), 130, "asr: error: stopped by SIGINT\n"),
        (typer.Exit(7), 7, ""),
        (MemoryError(), 5, f"asr: error: out of memory; {cli.SMALLER}\n"),
        (ZeroDivisionError("division by zero"), 1,
         "asr: error: a fault of asr itself: ZeroDivisionError: division by zero; "
         "--debug shows where\n"),
    ],
)  # fmt: skip
def test_errors_and_their_codes(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert run("info", "x") == (code, "", said)
    with pytest.raises(type(error)):
        run("--debug", "info", "x")
    with pytest.raises(type(error)):
        run("info", "x", "--debug")


def test_a_gpu_without_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def fail(words: list[str]) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cli, "_run", fail)
    code, _, err = run("info", "x")
    assert code == 5
    assert "out of GPU memory; lower training.batch_seconds (of a language model: " in err
    assert err.endswith("training.batch_characters), or use --device cpu\n")


def test_a_reader_that_goes_away(trained: Path, tmp_path: Path) -> None:
    """`asr … | head -1` ends quietly."""
    for index in range(300):
        soundfile.write(tmp_path / f"{index}.wav", spoken("A"), RATE)
    command = [sys.executable, "-m", "asr", "transcribe", str(tmp_path), "--model",
               str(trained / "run" / "best")]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read().decode()
    assert process.returncode == 141
    assert error == ""


def test_transcribe_one_file(run: Run, trained: Path, sounds: Path) -> None:
    model = trained / "run" / "best"
    assert run("transcribe", sounds / "a.wav", "--model", model) == (0, "FACE BED\n", "")


def test_transcribe_as_json(run: Run, trained: Path, sounds: Path) -> None:
    model = trained / "run" / "best"
    code, out, err = run("transcribe", sounds / "a.wav", "--model", model, "--format", "json")
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert record["file"] == str(sounds / "a.wav")
    assert record["text"] == "FACE BED"
    assert record["duration"] == pytest.approx(len(spoken("FACE BED")) / RATE, abs=1e-3)
    assert [word["word"] for word in record["words"]] == ["FACE", "BED"]
    for word in record["words"]:
        assert 0 <= word["start"] < word["end"] <= record["duration"]
        assert 0 <= word["confidence"] <= 1


def test_one_bad_file_never_stops_the_rest(run: Run, trained: Path, sounds: Path) -> None:
    model = trained / "run" / "best"
    code, out, err = run("transcribe", sounds, "--model", model)
    assert code == 4
    assert out.split("\n")[:-1] == [f"{sounds}/a.wav\tFACE BED", f"{sounds}/deep/b.flac\tCAB"]
    assert err.count("\n") == 1
    assert err.startswith(f"asr: error: {sounds}/bad.wav: ")
    code, out, _ = run("transcribe", sounds, "--model", model, "--format", "json")
    records = [json.loads(line) for line in out.split("\n")[:-1]]
    assert [record.get("text") for record in records] == ["FACE BED", None, "CAB"]
    assert records[1]["code"] == "BAD_AUDIO"
    assert code == 4
    _, out, _ = run("transcribe", sounds, "--model", model, "--format", "ctm")
    [comment] = [line for line in out.split("\n") if line.startswith(";; ")]
    assert comment.startswith(f";; not transcribed: {sounds}/bad.wav: ")


def test_no_input_succeeded(run: Run, trained: Path, sounds: Path) -> None:
    model = trained / "run" / "best"
    names = [sounds / "bad.wav", sounds / "none.wav"]
    code, out, err = run("transcribe", *names, "--model", model)
    assert (code, out) == (3, "")
    assert err.count("asr: error: ") == 2


def test_a_truncated_file(run: Run, trained: Path, tmp_path: Path) -> None:
    model = trained / "run" / "best"
    soundfile.write(tmp_path / "a.wav", spoken("FACE BED"), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: len(content) * 5 // 9])
    code, out, err = run("transcribe", tmp_path / "a.wav", "--model", model)
    assert (code, out) == (0, "FACE\n")
    assert "a.wav: cut off or damaged: 0.4" in err
    assert err.count("\n") == 1
    assert run("transcribe", tmp_path / "a.wav", "--model", model, "--strict")[0] == 4
    _, out, _ = run("transcribe", tmp_path / "a.wav", "--model", model, "--format", "json")
    record = json.loads(out)
    assert record["truncated"] is True
    assert record["declared_seconds"] > record["read_seconds"]


def test_standard_input(trained: Path, sounds: Path) -> None:
    command = [sys.executable, "-m", "asr", "transcribe", "-", "--model", str(trained / "run/best")]
    done = subprocess.run(
        command, input=(sounds / "deep" / "b.flac").read_bytes(), capture_output=True, check=True
    )
    assert done.stdout == b"CAB\n"


@pytest.mark.parametrize(
    "name",
    [
        "-rf.wav",
        "new\nline.wav",
        "a;$(touch owned).wav",
        "q'\"uote.wav",
        b"\xff\xfe.wav",
        "x" * 246 + ".wav",
    ],
)
def test_odd_file_names(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    file = os.fsdecode(name)
    soundfile.write("plain.wav", spoken("BED"), RATE)
    Path("plain.wav").rename(file)
    model = trained / "run" / "best"
    code, out, err = run("transcribe", "--model", model, "--format", "json", "--", file)
    record = json.loads(out)
    assert (code, err, record["text"]) == (0, "", "BED")
    assert out.count("\n") == 1
    assert [os.fsdecode(path.name) for path in Path.cwd().iterdir()] == [file]
    _, out, _ = run("transcribe", "--model", model, "--", file, file)
    assert out.count("\n") == 2, "control characters of a name are escaped"


def test_an_empty_folder(run: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("", encoding="utf-8")
    code, _, err = run("transcribe", tmp_path, "--model", trained / "run" / "best")
    assert code == 2
    assert "no audio files in this folder" in err


def test_the_default_model_is_named(
    run: Run, trained: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASR_MODEL", str(trained / "run" / "best"))
    code, out, err = run("transcribe", sounds / "a.wav")
    assert (code, out) == (0, "FACE BED\n")
    assert err.startswith(f"model {trained}/run/best (dev WER ")


def test_no_model_at_all(
    run: Run, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASR_MODEL", raising=False)
    code, _, err = run("transcribe", sounds / "a.wav")
    assert code == 2
    assert "`make demo`" in err
    assert err.count("\n") == 1


def test_evaluate(run: Run, trained: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    code, out, err = run(
        "evaluate", trained / "run" / "best", trained / "data" / "test.jsonl",
        "--out", tmp_path / "out", "--json", scores,
    )  # fmt: skip
    assert code == 0
    assert out.startswith("WER ")
    assert "real-time factor" in out
    content = json.loads(scores.read_text(encoding="utf-8"))
    assert content["utterances"] == len(TEST_TEXTS)
    assert content["wer"] == pytest.approx(content["words"]["rate"])
    assert content["words"]["reference_length"] == sum(len(t.split()) for t in TEST_TEXTS)
    assert content["rtf"] > 0
    text = (tmp_path / "out" / "hypotheses.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.split("\n") if line]
    assert [record["reference"] for record in records] == TEST_TEXTS
    assert (tmp_path / "out" / "report.txt").read_text(encoding="utf-8") == out
    assert "written to" in err


def test_evaluate_counts_what_cannot_be_read(run: Run, trained: Path, tmp_path: Path) -> None:
    """A missing file is deletions, a line of the report, and exit code 4; never left out."""
    lines = (trained / "data" / "test.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    for record in records:
        record["audio_filepath"] = str(trained / "data" / record["audio_filepath"])
    records[1]["audio_filepath"] = str(tmp_path / "gone.wav")
    manifest = tmp_path / "test.jsonl"
    manifest.write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    code, out, err = run(
        "evaluate", trained / "run" / "best", manifest, "--json", tmp_path / "s.json",
        "--out", tmp_path, "--scores", tmp_path / "s.npz",
    )  # fmt: skip
    assert code == 4
    gone = f"{tmp_path}/gone.wav: does not exist [NOT_A_FILE]"
    said = "asr: error: 1 of 4 utterances were not transcribed and count as deletions, such as "
    assert f"{said}test-001: {gone}" in err.split("\n")
    assert "not transcribed: test-001" in out
    content = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert (content["utterances"], content["failed"]) == (4, 1)
    assert content["words"]["deletions"] >= 2
    hypotheses = (tmp_path / "hypotheses.jsonl").read_text(encoding="utf-8").split("\n")
    assert json.loads(hypotheses[1])["code"] == "NOT_A_FILE"
    lists = read_nbest(tmp_path / "nbest.jsonl")
    assert [bool(one.candidates) for one in lists] == [True, False, True, True]
    assert lists[1] == NbestList("test-001", (), "does not exist")
    words = (tmp_path / "words.ctm").read_text(encoding="utf-8").split("\n")
    assert f";; test-001: not transcribed: {gone}" in words
    code, _, err = run(
        "rescore", tmp_path / "nbest.jsonl", "--weight", "acoustic=1", "--out", tmp_path / "r.jsonl"
    )
    assert code == 0
    assert "asr: warning: utterance 'test-001' has no candidates: does not exist" in err
    assert read_nbest(tmp_path / "r.jsonl")[1] == lists[1]


def test_evaluate_when_nothing_can_be_read(run: Run, trained: Path, tmp_path: Path) -> None:
    lines = (trained / "data" / "test.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    (tmp_path / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, _, err = run(
        "evaluate", trained / "run" / "best", tmp_path / "test.jsonl", "--out", tmp_path / "out"
    )
    assert code == 3
    assert "4 of 4 utterances were not transcribed" in err
    with pytest.raises(DataError, match="has no candidates, since no utterance could be decoded"):
        read_nbest(tmp_path / "out" / "nbest.jsonl")


def test_a_report_is_printed_even_if_no_file_can_be_written(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, out, err = run(
        "evaluate", trained / "run" / "best", trained / "data" / "test.jsonl",
        "--out", tmp_path / "file" / "out",
    )  # fmt: skip
    assert code == 5
    assert out.startswith("WER ")
    assert "cannot be written" in err


def test_evaluate_an_empty_manifest(run: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("", encoding="utf-8")
    code, _, err = run("evaluate", trained / "run" / "best", tmp_path / "x.jsonl")
    assert code == 2
    assert "has no utterances to evaluate" in err


def test_info(run: Run, trained: Path) -> None:
    code, out, _ = run("info", trained / "run" / "best")
    assert code == 0
    assert out.startswith("# A speech recogniser made with `asr`")
    code, out, _ = run("info", trained / "run" / "best", "--json")
    assert json.loads(out)["facts"]["finished"] is True


def test_config(run: Run, trained: Path) -> None:
    code, out, _ = run("config", trained / "beeps", "--set", "training.epochs=3")
    assert code == 0
    assert "epochs = 3\n" in out
    code, _, err = run("config", trained / "beeps", "--set", "training.epoch=3")
    assert code == 2
    assert "unknown key 'training.epoch'; did you mean 'epochs'?" in err


def test_train_again_says_finished(run: Run, trained: Path) -> None:
    code, out, err = run("train", trained / "beeps", "--out", trained / "run")
    assert code == 0
    assert "this training is finished (20 epochs); to go on: --set training.epochs=40" in err
    assert out == f"{trained}/run/best\n"


def test_train_and_its_options(run: Run, trained: Path, tmp_path: Path) -> None:
    code, out, err = run(
        "train", trained / "beeps", "--out", tmp_path / "run", "--set", "training.epochs=1",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0
    assert "parameters, on cpu" in err
    assert "train: 150 utterances" in err
    assert "; 1 epoch about" in err
    assert "dev: WER" in out
    assert "test: WER" in out
    settings = json.loads((tmp_path / "run" / "recipe.json").read_text(encoding="utf-8"))
    assert settings["recipe"]["training"]["epochs"] == 1


def test_changed_data_needs_allow_changed(run: Run, trained: Path, tmp_path: Path) -> None:
    common = ["train", trained / "beeps", "--out", tmp_path / "run", "--set"]
    assert run(*common, "training.epochs=1")[0] == 0
    dev = trained / "data" / "dev.jsonl"
    changed = ["training.epochs=2", "--set", f"data.train={dev}"]
    code, _, err = run(*common, *changed)
    assert code == 2
    assert "the training data changed since this training began" in err
    assert run(*common, *changed, "--allow-changed")[0] == 0


def test_missing_manifests_without_a_program(run: Run, trained: Path, tmp_path: Path) -> None:
    code, _, err = run(
        "train", trained / "beeps", "--out", tmp_path / "run", "--set", "data.train=none.jsonl"
    )
    assert code == 2
    assert "none.jsonl: no such manifest; make it with asr prepare, or correct [data]" in err


def test_float16_needs_a_gpu(run: Run, trained: Path) -> None:
    code, _, err = run(
        "train", trained / "beeps", "--set", "training.precision=float16", "--device", "cpu"
    )
    assert code == 2
    assert 'training.precision = "float16" needs a GPU; use bfloat16 on a CPU' in err


def test_prepare_own_recordings(run: Run, tmp_path: Path) -> None:
    for speaker in "abcdefghij":
        folder = tmp_path / "mine" / speaker
        folder.mkdir(parents=True)
        for index in range(3):
            soundfile.write(folder / f"{speaker}{index}.wav", spoken("BED"), RATE)
            (folder / f"{speaker}{index}.txt").write_text("BED\n", encoding="utf-8")
    code, out, err = run("prepare", tmp_path / "mine", "--out", tmp_path / "out")
    assert code == 0, err
    for split in ("train", "dev", "test"):
        assert (tmp_path / "out" / f"{split}.jsonl").exists()
        assert f"{split}.jsonl" in out
