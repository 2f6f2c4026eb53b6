"""Commands with the bundle of a transducer: transcripts, searches, tuning, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile
import torch

from asr.building import build_model
from asr.bundle import WEIGHTS, read_bundle, write_bundle
from asr.models.transducer import TransducerModel
from asr.storage import folder_writer, load_tensors
from tests.cli.conftest import Run
from tests.made import RATE, recipe_with, spoken

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    """A transducer with the weights of a CTC model, which holds a label for some frames.

    Its prediction network remembers the last label, which its joint network makes improbable, and
    blanks more probable; so it says what the CTC model says, but for doubled letters.
    """
    ctc = read_bundle(trained / "run" / "best")
    vocabulary_size = ctc.tokenizer.vocabulary_size
    recipe = recipe_with(
        trained,
        "objective.name=transducer",
        "objective.joint=additive",
        "objective.prediction_cell=tanh",
        f"objective.prediction_size={vocabulary_size - 1}",
    )
    model = build_model(recipe, vocabulary_size)
    assert isinstance(model, TransducerModel)
    weights, own = load_tensors(ctc.folder / WEIGHTS), model.state_dict()
    after = -30 * torch.eye(vocabulary_size)[:, 1:]
    after[0] = 4.0
    last = {
        "prediction.stack.layers.0.input_weight": 3 * torch.eye(vocabulary_size - 1)[None],
        "prediction_projection.weight": after,
        "encoder_projection.weight": weights["output.weight"],
        "encoder_projection.bias": weights["output.bias"],
    }
    zeros = {name: torch.zeros_like(one) for name, one in own.items() if "prediction" in name}
    shared = {name: value for name, value in weights.items() if name in own}
    model.load_state_dict({**zeros, **shared, **last})
    with folder_writer(tmp_path / "run" / "best") as temporary:
        write_bundle(
            temporary, model, ctc.tokenizer, recipe, facts={}, vocabulary=dict(ctc.vocabulary)
        )
    return tmp_path / "run" / "best"


@pytest.fixture
def arpa(run: Run, trained: Path, tmp_path: Path) -> Path:
    path = tmp_path / "words.arpa"
    assert run("lm", "train", trained / "data" / "train.jsonl", "--order", 2, "-o", path)[0] == 0
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    soundfile.write(path, spoken("FACE BED"), RATE)
    return path


@pytest.mark.parametrize("search", [(), ("--beam-size", 4)], ids=["greedy", "search"])
def test_transcribing(run: Run, bundle: Path, sound: Path, search: tuple[object, ...]) -> None:
    code, out, err = run("transcribe", sound, "--model", bundle, *search)
    assert (code, out) == (0, "FACE BED\n"), err
    code, out, _ = run("transcribe", sound, "--model", bundle, *search, "--format", "ctm")
    lines = [line.split() for line in out.split("\n")[:-1]]
    assert [line[4] for line in lines] == ["FACE", "BED"]
    starts, lengths, confidences = ([float(line[at]) for line in lines] for at in (2, 3, 5))
    assert 0 < starts[0] < starts[0] + lengths[0] < starts[1] < 0.8
    assert all(0.1 < length < 0.4 for length in lengths)
    assert all(0.2 < confidence <= 1 for confidence in confidences)


def test_transcribing_with_all_that_a_search_knows(
    run: Run, bundle: Path, sound: Path, arpa: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    for lexicon in ({"FACE", "BED", "CAB"}, {"FACED", "BE", "CAB"}):
        words.write_text("\n".join(lexicon), encoding="utf-8")
        code, out, _ = run("transcribe", sound, "--model", bundle, "--lexicon", words)
        assert code == 0
        assert out.split() == ["FACE", "BED"] if "BED" in lexicon else set(out.split()) <= lexicon
    search = ("--lm", arpa, "--lm-weight", 0.1, "--nbest", 3, "--format", "json")
    code, out, err = run("transcribe", sound, "--model", bundle, *search)
    assert code == 0, err
    assert "asr: weight 0.1, word bonus 0 (not tuned for this model: see asr tune)" in err
    record = json.loads(out)
    first, *others = record["nbest"]
    assert first["text"] == record["text"] == "FACE BED"
    assert len(others) == 2
    unknown = first["acoustic"] + 0.1 * first["lm"] - first["score"]
    assert unknown == pytest.approx(round(unknown), abs=1e-2), "10 nats, weighed, for each"
    assert 0 <= round(unknown) <= 2
    assert all(first["score"] >= other["score"] for other in others)
    words.write_text("BE\t30\n", encoding="utf-8")
    code, out, _ = run("transcribe", sound, "--model", bundle, "--hotwords", words)
    assert (code, "BE" in out.split()) == (0, True)


def test_evaluating(run: Run, bundle: Path, trained: Path, arpa: Path, tmp_path: Path) -> None:
    manifest, out = trained / "data" / "test.jsonl", tmp_path / "out"
    code, report, _ = run("evaluate", bundle, manifest, "--json", tmp_path / "greedy.json")
    assert (code, "BEE" in report) == (0, True), "it cannot say two of a letter"
    scores = json.loads((tmp_path / "greedy.json").read_text("utf-8"))
    assert scores["utterances"] == 4
    assert 1 / 6 <= scores["wer"] <= 2 / 6
    assert "beam" not in scores["words"]["signature"]
    search = ("--beam-size", 8, "--lm", arpa, "--lm-weight", 0.1, "--nbest", 2)
    files = ("--json", tmp_path / "search.json", "--out", out)
    code, _, err = run("evaluate", bundle, manifest, *search, *files)
    assert code == 0, err
    scores = json.loads((tmp_path / "search.json").read_text("utf-8"))
    assert scores["words"]["signature"].endswith(
        "|beam:8|lm:words.arpa|shallow word|lm_weight:0.1|word_bonus:0"
    )
    lines = (out / "nbest.jsonl").read_text("utf-8").split("\n")
    records = [json.loads(line) for line in lines[:-1]]
    assert [len(record["nbest"]) for record in records] == [2] * 4
    assert [record["nbest"][0]["text"] for record in records][:3] == ["BED", "CAB FACE", "DAD"]


def test_scores_of_frames_are_refused(
    run: Run, bundle: Path, trained: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "s.npz"
    for search in ((), ("--beam-size", 4)):
        manifest = trained / "data" / "test.jsonl"
        code, out, err = run("evaluate", bundle, manifest, "--scores", scores, *search)
        assert (code, out) == (2, "")
        assert "error: --scores has no effect on a transducer: what it says of a frame" in err
        assert not scores.exists()


def test_another_search_is_refused(run: Run, bundle: Path, sound: Path) -> None:
    code, out, err = run("transcribe", sound, "--model", bundle, "--decoder", "pyctcdecode")
    assert (code, out) == (2, "")
    assert err == (
        "asr: error: --decoder pyctcdecode searches what CTC models put out, no transducer\n"
    )


def test_tuning(
    run: Run, bundle: Path, trained: Path, arpa: Path, sound: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy" / "best")
    search = ("--lm", arpa, "--beam-size", 4)
    code, out, err = run("tune", copy, trained / "data" / "dev.jsonl", *search)
    assert code == 0, err
    assert "weight\\bonus" in out
    assert f"asr: stored in {copy}, for every command with the same --lm" in err
    (tuned,) = read_bundle(copy).tunings
    assert tuned.beam_size == 4
    assert tuned.dev_wer <= tuned.dev_wer_greedy <= 2 / 6
    code, out, err = run("transcribe", sound, "--model", copy, *search)
    assert code == 0, err
    assert f"asr: weight {tuned.lm_weight:g}, word bonus {tuned.word_bonus:g}, tuned on " in err
