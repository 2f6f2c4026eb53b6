"""A trained model as a user holds it."""

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import asr
from asr.building import build_model
from asr.bundle import model_card, read_bundle
from asr.decoder import Decoding, build_decoder
from asr.decoding.batch import Decoder
from asr.errors import AudioError, ConfigError, ModelError
from asr.evaluation import evaluate
from asr.recognizer import Recognizer, default_bundle, described
from asr.scoring.equivalence import Scoring
from asr.storage import MANIFEST, file_hash, load_tensors, save_tensors
from tests.lm.made_neural import write_neural
from tests.made import RATE, recipe_with, spoken


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> Recognizer:
    return asr.load(trained / "run" / "best", device="cpu")


def test_transcribes_arrays_files_and_streams(recognizer: Recognizer, tmp_path: Path) -> None:
    waveform = spoken("FACE BED")
    path = tmp_path / "x.wav"
    soundfile.write(path, waveform, RATE)
    for audio in (waveform, path, str(path), io.BytesIO(path.read_bytes())):
        transcript = recognizer.transcribe(audio)
        assert transcript.text == "FACE BED"
        assert transcript.duration == pytest.approx(len(waveform) / RATE)
    assert asr.transcribe(path, model=recognizer.folder).text == "FACE BED"


def test_word_times_and_confidence(recognizer: Recognizer) -> None:
    """Each letter is 80 ms long, after 50 ms of silence; the times must find them."""
    first, second = recognizer.transcribe(spoken("FACE BED")).words
    assert (first.word, second.word) == ("FACE", "BED")
    assert first.start == pytest.approx(0.05, abs=0.06)
    assert first.end == pytest.approx(0.05 + 4 * 0.08, abs=0.08)
    assert second.start == pytest.approx(0.05 + 5 * 0.08, abs=0.06)
    assert second.end == pytest.approx(0.05 + 8 * 0.08, abs=0.08)
    assert 0.5 < first.confidence <= 1


def test_a_batch_equals_single_transcriptions(recognizer: Recognizer) -> None:
    from asr.data.audio import read_audio

    waveforms = [spoken(text, seed=3) for text in ("A", "BED FACE CAB", "DEAF", "")]
    audios = []
    for waveform in waveforms:
        file = io.BytesIO()
        soundfile.write(file, waveform, RATE, format="WAV", subtype="FLOAT")
        file.seek(0)
        audios.append(read_audio(file, sample_rate=RATE))
    together = recognizer.transcribe_all(audios)
    for audio, transcript in zip(audios, together, strict=True):
        alone = recognizer.transcribe_all([audio])[0]
        assert alone.text == transcript.text
        assert alone.log_prob == pytest.approx(transcript.log_prob, rel=1e-3, abs=1e-4)
        assert alone.text == transcript.text


def test_another_rate_is_resampled(recognizer: Recognizer) -> None:
    import soxr

    waveform = spoken("FACE BED")
    at_44k = soxr.resample(waveform, RATE, 44100)
    assert recognizer.transcribe(at_44k, 44100).text == "FACE BED"
    assert recognizer.transcribe(at_44k.astype(np.float64), 44100).text == "FACE BED"


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_too_short_is_no_error(recognizer: Recognizer, samples: int) -> None:
    transcript = recognizer.transcribe(np.zeros(samples, np.float32))
    assert transcript.text == ""
    assert transcript.too_short
    assert transcript.as_dict() == {
        "text": "", "duration": round(samples / RATE, 3), "words": [], "too_short": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(16000, np.float32),
        np.full(16000, 0.5, np.float32),
        np.sign(np.sin(np.arange(16000) * 0.2)).astype(np.float32),
        (1e-3 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32),
    ],
)
def test_silence_noise_and_clipping_are_no_error(
    recognizer: Recognizer, waveform: np.ndarray
) -> None:
    transcript = recognizer.transcribe(waveform)
    assert np.isfinite(transcript.log_prob)


def test_digital_silence_is_no_words(recognizer: Recognizer) -> None:
    assert recognizer.transcribe(np.zeros(60 * RATE, np.float32)).text == ""


@pytest.mark.parametrize(
    ("waveform", "rate", "error", "message"),
    [
        (np.zeros(9, np.int16), None, TypeError, r"must be floats in \[-1, 1\], got int16"),
        (np.zeros((2, 9), np.float32), None, ValueError, r"must be \(samples,\), got shape"),
        (np.array([0.0, np.nan]), None, ValueError, "has NaN or infinite samples"),
        (np.zeros(9, np.float32), 0, ValueError, "sample_rate must be positive, got 0"),
    ],
)
def test_bad_arrays(
    recognizer: Recognizer,
    waveform: np.ndarray,
    rate: int | None,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        recognizer.transcribe(waveform, rate)


def test_bad_files(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="NOT_A_FILE"):
        recognizer.transcribe(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "title"),
    [
        ([], "CTC"),
        (["objective.name=expected_wer"], "expected WER by sampling"),
        (
            ["objective.name=expected_wer", "objective.loss=cer", "objective.estimator=nbest"],
            "expected CER by n-best lists",
        ),
        (
            ["objective.name=expected_wer", "objective.estimator=reinforce"],
            "expected WER by REINFORCE",
        ),
        (
            ["objective.name=transducer", "objective.prediction_size=9"],
            "RNN transducer (tanh joint network; prediction network of 1 x 9 lstm)",
        ),
    ],
)
def test_the_card_says_what_was_minimised(
    recognizer: Recognizer, trained: Path, overrides: list[str], title: str
) -> None:
    recipe = recipe_with(trained, *overrides)
    card = model_card(recipe, {}, recognizer.model, recognizer.tokenizer)
    assert card.split("\n")[2].startswith(f"- {title}, {recipe.encoder.num_layers} x ")


def test_facts_and_card(recognizer: Recognizer, trained: Path) -> None:
    assert recognizer.facts["finished"] is True
    assert recognizer.facts["dev"]["wer"] <= 0.2
    card = (recognizer.folder / "README.md").read_text(encoding="utf-8")
    assert f"asr train {trained / 'beeps'}" in card
    assert "WER" in card
    assert "not finished" not in card
    assert described(recognizer).startswith("model ")
    assert "dev WER" in described(recognizer)


def test_the_score_of_phones_is_described(trained: Path) -> None:
    recognizer = asr.load(trained / "run" / "best")
    recognizer.scoring = Scoring(unit="phone")
    for dev, said in (
        ({"per": 0.25, "per_merged": 0.2}, "dev PER 25.0 %"),
        ({"wer": 0.25, "cer": 0.1}, "dev WER 25.0 %"),  # a bundle of an older version
        ({}, "no dev score"),
    ):
        recognizer.facts = {"dev": dev, "finished": True}
        assert described(recognizer) == f"model {recognizer.folder} ({said})"


def test_a_bundle_knows_how_it_is_scored(bundle: Path, trained: Path) -> None:
    manifest = trained / "data" / "test.jsonl"
    assert asr.load(bundle).scoring == Scoring()
    plain = evaluate(asr.load(bundle), manifest)
    content = json.loads((bundle / "recipe.json").read_text(encoding="utf-8"))
    content["recipe"]["scoring"] = {"replace": {"FACE": "", "A": "BEE"}, "merge": ["BEE"]}
    change_json(bundle / "recipe.json", **content)
    result = evaluate(asr.load(bundle), manifest)
    references = [one.reference for one in result.score.utterances]
    assert references == ["BED", "CAB", "DAD", "BEE BEE"], "of BED, CAB FACE, DAD, A BEE"
    assert result.score.merged is not None
    assert (result.score.wer.reference_length, result.score.merged.reference_length) == (5, 4)
    assert set(result.as_dict()) - set(plain.as_dict()) == {"wer_merged", "words_merged"}
    assert set(plain.as_dict()) < set(result.as_dict())
    assert "WER with repeats merged " in result.report()
    assert "merged" not in plain.report()


@pytest.mark.parametrize("objective", ["ctc", "transducer"])
def test_compiling_a_search_is_not_in_the_real_time_factor(
    trained: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    """With a clock on which compiling takes 100 s, and a search 1 s."""
    recognizer = made_recognizer(trained, objective)
    search, frames = type(recognizer.decoder), list[int]()
    decode_nbest = search.decode_nbest

    def noted(self: Decoder, outputs: Tensor, lengths: Tensor, **options: Any) -> Any:
        frames.append(int(lengths.max()))
        return decode_nbest(self, outputs, lengths, **options)

    def now() -> float:
        return 100.0 * bool(frames) + len(frames)

    monkeypatch.setattr(search, "decode_nbest", noted)
    monkeypatch.setattr("asr.evaluation.time.perf_counter", now)
    result = evaluate(recognizer, trained / "data" / "test.jsonl")
    assert len(result.hypotheses) == 4
    assert result.seconds == len(frames) - 1 == 1, "all four utterances are one batch"
    assert frames[0] > 0, "without frames nothing is compiled"


def made_recognizer(trained: Path, objective: str) -> Recognizer:
    """One that searches: the trained one, or a transducer that nobody trained."""
    bundle = read_bundle(trained / "run" / "best")
    recipe = recipe_with(trained, f"objective.name={objective}", "frontend.normalize=utterance")
    model = build_model(recipe, bundle.tokenizer.vocabulary_size)
    decoder = build_decoder(Decoding(beam_size=2), bundle, model, lambda line: None)
    return Recognizer(replace(bundle, recipe=recipe), model, torch.device("cpu"), decoder)


def test_the_default_bundle(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASR_MODEL", raising=False)
    with pytest.raises(ConfigError, match=r"no model: name one with --model .* `make demo`"):
        default_bundle()
    for age, name in enumerate(("newest", "older", "unfinished")):
        run = tmp_path / "exp" / "x" / name
        shutil.copytree(trained / "run", run)
        os.utime(run / "best" / MANIFEST, (1_000_000 - age, 1_000_000 - age))
    os.utime(tmp_path / "exp/x/unfinished/best" / MANIFEST)
    (tmp_path / "exp/x/unfinished/finished.json").unlink()
    language_model = write_neural(tmp_path / "exp" / "x" / "lm" / "best")  # newer, and finished
    (language_model.parent / "finished.json").touch()
    assert default_bundle() == Path("exp/x/newest/best")
    monkeypatch.setenv("ASR_MODEL", "elsewhere")
    assert default_bundle() == Path("elsewhere")


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "run" / "best", tmp_path / "best"))


def reseal(bundle: Path) -> None:
    """Make the manifest agree with the files, as an attacker would."""
    content = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    content["files"] = {name: file_hash(bundle / name) for name in content["files"]}
    (bundle / MANIFEST).write_text(json.dumps(content), encoding="utf-8")


def change_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    reseal(path.parent)


def test_a_changed_file_is_refused(bundle: Path) -> None:
    with (bundle / "README.md").open("a", encoding="utf-8") as file:
        file.write("!")
    with pytest.raises(ModelError, match=r"README\.md: checksum differs"):
        asr.load(bundle)


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none: no such bundle"):
        asr.load(tmp_path / "none")
    with pytest.raises(ModelError, match=r"no manifest\.json, so this is no finished bundle"):
        asr.load(tmp_path)


def test_a_pickle_in_place_of_the_weights(bundle: Path, tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    torch.save({"x": Exploit()}, bundle / "model.safetensors")
    reseal(bundle)
    with pytest.raises(ModelError, match="not a safetensors file"):
        asr.load(bundle)
    assert not (tmp_path / "owned").exists()


def test_a_config_that_names_code(bundle: Path) -> None:
    content = json.loads((bundle / "recipe.json").read_text(encoding="utf-8"))
    content["recipe"]["encoder"]["_target_"] = "os.system"
    change_json(bundle / "recipe.json", **content)
    with pytest.raises(ModelError, match=r"recipe\.json: unknown key 'encoder\._target_'"):
        asr.load(bundle)


def test_foreign_contents_of_recipe_json(bundle: Path) -> None:
    (bundle / "recipe.json").write_text("[]", encoding="utf-8")
    reseal(bundle)
    with pytest.raises(ModelError, match="needs 'recipe' and 'facts'"):
        asr.load(bundle)


def test_another_tokenizer(bundle: Path) -> None:
    content = json.loads((bundle / "recipe.json").read_text(encoding="utf-8"))
    content["facts"]["tokens"] = "0" * 64
    change_json(bundle / "recipe.json", **content)
    with pytest.raises(ModelError, match="the tokenizer is not the one that the model was trained"):
        asr.load(bundle)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype"])
def test_tensors_that_do_not_fit(bundle: Path, change: str) -> None:
    tensors = load_tensors(bundle / "model.safetensors")
    weight = tensors.pop("output.weight")
    if change != "missing":
        tensors["output.weight"] = {
            "extra": weight, "shape": weight[:-1].clone(), "dtype": weight.double(),
        }[change]  # fmt: skip
    if change == "extra":
        tensors["more"] = weight.clone()
    save_tensors(bundle / "model.safetensors", tensors)
    reseal(bundle)
    names = {"missing": "lacks output.weight", "extra": "has more, which the model lacks"}
    needed = names.get(change, r"output\.weight is .* the model needs")
    with pytest.raises(ModelError, match=rf"does not fit the model \(1 problems\): {needed}"):
        asr.load(bundle)


def test_a_bundle_of_a_newer_version(bundle: Path) -> None:
    content = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    (bundle / MANIFEST).write_text(json.dumps({**content, "format_version": 99}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"made by a newer version \(format 99"):
        read_bundle(bundle)


def test_devices(trained: Path) -> None:
    with pytest.raises(ConfigError, match="--device tpu: choose auto, cpu, cuda or cuda:N"):
        asr.load(trained / "run" / "best", device="tpu")
    with pytest.raises(ConfigError, match=r"--device cuda:99: . GPUs here; choose cpu"):
        asr.load(trained / "run" / "best", device="cuda:99")


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'asr' has no attribute 'nothing'"):
        asr.nothing  # noqa: B018
