"""From a recipe to objects: the only place where a config meets a constructor."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.bundle import write_bundle
from asr.criterion import build_criterion
from asr.data.batching import AudioReader, collate, group_by_length
from asr.data.bundle_tokenizer import BundleTokenizerConfig, load_bundle_tokenizer
from asr.data.labels import Labels, labels_of
from asr.data.manifest import Utterance, read_manifest
from asr.data.text import normalize_text, words
from asr.data.tokenizer import (
    CharactersConfig,
    PhonesConfig,
    SentencePieceConfig,
    Tokenizer,
    load_tokenizer,
    train_tokenizer,
)
from asr.errors import AudioError, ConfigError, DataError, shown
from asr.frontend.building import build_frontend
from asr.language import Examples, LanguageTask, LineSampling, TextSplits
from asr.lm.neural import build_network
from asr.lm.neural_bundle import write_neural_bundle
from asr.lm.text_lines import TextLines, read_text_lines
from asr.models.batch_norm import FrameBatchNorm
from asr.models.ctc import CTCModel
from asr.models.lstm import RecurrentStack
from asr.models.speech import SpeechModel
from asr.models.transducer import PredictionNetwork, TransducerConfig, TransducerModel
from asr.objectives.expected_wer import ExpectedWERConfig
from asr.objectives.transcripts import spelling_of
from asr.pretraining import Pretraining, copy_pretrained, describe_pretraining, read_pretraining
from asr.recipe import AnyRecipe, LanguageRecipe, Recipe, TaskRecipe
from asr.scoring.equivalence import Scoring, ScoringConfig, Unit
from asr.speech import Sampling, SpeechTask, Splits
from asr.storage import folder_writer
from asr.training.checkpoint import has_checkpoint
from asr.training.task import Task
from asr.warm_start import check_same_start, describe_start, read_start, start_from

TOKENS = "tokenizer"  # in a run folder
STATISTICS_SECONDS = 3600.0  # of training audio for normalisation over the training set


def build_task(
    recipe: AnyRecipe, run: Path, *, command: str, say: Callable[[str], None] = print
) -> Task[Any]:
    """The training task of a recipe, in a run folder.

    The tokens are learnt from the training text when a run begins and are read from
    `run/tokenizer` once it has a checkpoint.

    Args:
        recipe: checked.
        run: the run folder.
        command: what the user typed, for the model card.
        say: is given lines about where the training begins.

    Raises:
        DataError: a manifest or text cannot be used, or its text has symbols that the tokens lack.
        ModelError: the tokens in the run folder, or in the bundle that has them, are damaged.
        ConfigError: there is no bundle that should have the tokens or the weights to begin with, it
            does not fit the recipe, or the tokens do not fit the objective.
    """
    if isinstance(recipe, TaskRecipe):
        return build_own_task(recipe)
    if isinstance(recipe, LanguageRecipe):
        return build_language_task(recipe, run, command=command)
    return build_speech_task(recipe, run, command=command, say=say)


def build_own_task(recipe: TaskRecipe) -> Task[Any]:
    """The task that a recipe's folder brings, by its `build(config, data, seed)`.

    Raises:
        AsrError: whatever `build` raises.
    """
    torch.manual_seed(recipe.seed)
    task: Task[Any] = recipe.program.build(recipe.task, recipe.data, recipe.seed)
    _draw_weights(task.model, recipe.training.initial_range)
    return task


def build_speech_task(
    recipe: Recipe, run: Path, *, command: str, say: Callable[[str], None] = print
) -> SpeechTask:
    """As `build_task`, of a recogniser."""
    splits = Splits(
        train=_read(recipe.data.train, recipe),
        dev=_read(recipe.data.dev, recipe),
        test=_read(recipe.data.test, recipe),
    )
    texts = (utterance.text for utterance in splits.train)
    tokenizer, resumes = _tokenizer(recipe.tokenizer, texts, run)
    labels = labels_of(tokenizer.pieces, tokenizer.symbols)
    _check_words(recipe, labels, splits)
    start, pretraining = None, Pretraining()
    if resumes:
        check_same_start(recipe, run)
    else:
        start, pretraining = read_start(recipe, tokenizer), read_pretraining(recipe, tokenizer)
        _keep(tokenizer, run)
        for line in (*describe_start(recipe, start), *describe_pretraining(pretraining)):
            say(line)
    torch.manual_seed(recipe.seed)
    model = build_model(recipe, tokenizer.vocabulary_size)
    _draw_weights(model, recipe.training.initial_range)
    reader = AudioReader(recipe.frontend.sample_rate, recipe.data.cache_mb * 1024 * 1024)
    if start is not None:
        start_from(start, model)
    copy_pretrained(pretraining, model)
    # They may have come with the weights; those of a training that goes on are in its checkpoint.
    if not resumes and model.frontend.needs_statistics():
        model.frontend.estimate_normalization(_statistics_batches(splits.train, reader))

    vocabulary = Counter(word for u in splits.train for word in words(u.text))

    def write(folder: Path, facts: Mapping[str, object]) -> None:
        described = {"command": command, **facts}
        write_bundle(folder, model, tokenizer, recipe, facts=described, vocabulary=vocabulary)

    return SpeechTask(
        model,
        tokenizer,
        replace(splits, scoring=build_scoring(recipe.scoring, tokenizer.name)),
        build_criterion(recipe.objective, labels, model),
        reader=reader,
        sampling=Sampling(
            batch_seconds=recipe.training.batch_seconds,
            batch_utterances=recipe.training.batch_utterances,
            seed=recipe.seed,
            speed_factors=tuple(recipe.augment.speed_factors),
            noise_probability=recipe.augment.noise_probability,
            noise_snr_db=(recipe.augment.noise_snr_db[0], recipe.augment.noise_snr_db[1]),
        ),
        write_bundle=write,
    )


def build_scoring(config: ScoringConfig, tokenizer: str) -> Scoring:
    """How texts of a recogniser are compared, by its section `[scoring]` and kind of tokens."""
    unit: Unit = "phone" if tokenizer == "phones" else "word"
    return Scoring(unit=unit, replace=config.replace, merge=frozenset(config.merge))


def build_model(recipe: Recipe, vocabulary_size: int) -> SpeechModel:
    """The untrained network of a recipe, with `vocabulary_size` outputs."""
    frontend = build_frontend(recipe.frontend, recipe.augment)
    encoder = RecurrentStack(
        frontend.output_size,
        recipe.encoder.hidden_size,
        recipe.encoder.num_layers,
        cell=recipe.encoder.cell,
        bidirectional=recipe.encoder.bidirectional,
        dropout=recipe.encoder.dropout,
        leak=recipe.encoder.leak,
        batch_norm=recipe.encoder.batch_norm,
    )
    objective = recipe.objective
    if not isinstance(objective, TransducerConfig):
        return CTCModel(frontend, encoder, vocabulary_size)
    return TransducerModel(
        frontend,
        encoder,
        build_prediction(objective, vocabulary_size),
        joint=objective.joint,
        joint_size=objective.joint_size,
        with_ctc=objective.ctc_weight > 0,
    )


@torch.no_grad()
def _draw_weights(model: nn.Module, limit: float) -> None:
    """Draw all trained weights anew, uniform in ±limit, biases and peepholes too; 0: none.

    What batch normalisation multiplies with and adds connects nothing, and stays at 1 and 0.
    """
    norms = [module for module in model.modules() if isinstance(module, FrameBatchNorm)]
    spared = {id(parameter) for norm in norms for parameter in norm.parameters()}
    for weights in model.parameters() if limit > 0 else ():
        if id(weights) not in spared:
            nn.init.uniform_(weights, -limit, limit)


def build_prediction(objective: TransducerConfig, vocabulary_size: int) -> PredictionNetwork:
    """The untrained prediction network of a transducer."""
    return PredictionNetwork(
        vocabulary_size,
        embedding_size=objective.prediction_embedding,
        hidden_size=objective.prediction_size,
        num_layers=objective.prediction_layers,
        cell=objective.prediction_cell,
        dropout=objective.prediction_dropout,
        leak=objective.prediction_leak,
    )


def _check_words(recipe: Recipe, labels: Labels, splits: Splits) -> None:
    """Return when what is counted can be counted.

    Raises:
        ConfigError: errors of words are to be counted, and no token stands between words.
    """
    objective = recipe.objective
    counts_words = isinstance(objective, ExpectedWERConfig) and objective.loss == "wer"
    if counts_words and not spelling_of(labels).has_boundaries:
        several = next((u for u in splits.train if len(words(u.text)) > 1), None)
        if several is not None:
            raise ConfigError(
                f"objective.loss: no token begins a word, but '{shown(several.id)}' has several; "
                'put a space into tokenizer.symbols, or set objective.loss = "cer"'
            )


def _read(manifest: str, recipe: Recipe) -> list[Utterance]:
    """The utterances of a manifest of the recipe, in its case; none when it names none."""
    if not manifest:
        return []
    utterances = read_manifest(Path(manifest))
    if not utterances:
        raise DataError(f"{shown(manifest)}: has no utterances; prepare the data again")
    case = recipe.data.case
    return [replace(u, text=normalize_text(u.text, case=case)) for u in utterances]


def _tokenizer(
    config: CharactersConfig | PhonesConfig | SentencePieceConfig | BundleTokenizerConfig,
    texts: Iterable[str],
    run: Path,
) -> tuple[Tokenizer, bool]:
    """The tokens of a run: those in its folder once it has a checkpoint; and whether it has."""
    if has_checkpoint(run / "checkpoints"):
        return load_tokenizer(run / TOKENS), True
    if isinstance(config, BundleTokenizerConfig):
        return load_bundle_tokenizer(config), False
    return train_tokenizer(config, texts), False


def _keep(tokenizer: Tokenizer, run: Path) -> None:
    """Put the tokens into the folder of a run that begins."""
    with folder_writer(run / TOKENS) as temporary:
        tokenizer.save(temporary)


def build_language_task(recipe: LanguageRecipe, run: Path, *, command: str) -> LanguageTask:
    """As `build_task`, of a language model."""
    splits = TextSplits(
        train=_read_text(recipe.data.train, recipe),
        dev=_read_text(recipe.data.dev, recipe),
        test=_read_text(recipe.data.test, recipe),
    )
    texts = (splits.train[index] for index in range(len(splits.train)))
    tokenizer, resumes = _tokenizer(recipe.tokenizer, texts, run)
    if not resumes:
        _keep(tokenizer, run)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.model, tokenizer.vocabulary_size)
    _draw_weights(network, recipe.training.initial_range)
    settings = json.loads(recipe.model_dump_json())

    def write(folder: Path, facts: Mapping[str, object]) -> None:
        described = {"command": command, **facts}
        write_neural_bundle(
            folder, network, tokenizer, recipe.model, recipe=settings, facts=described
        )

    return LanguageTask(
        network,
        tokenizer,
        splits,
        sampling=LineSampling(
            batch_characters=recipe.training.batch_characters,
            max_characters=recipe.data.max_characters,
            epoch_lines=recipe.data.epoch_lines,
            seed=recipe.seed,
        ),
        examples=Examples(
            prompt=recipe.examples.prompt,
            temperatures=tuple(recipe.examples.temperatures),
            length=recipe.examples.length,
        ),
        write_bundle=write,
        label_smoothing=recipe.training.label_smoothing,
    )


def _read_text(text: str, recipe: LanguageRecipe) -> TextLines:
    """The lines of a text of the recipe, in its case; none when it names none."""
    return read_text_lines([Path(text)] if text else [], recipe.data.case)


def _statistics_batches(
    utterances: Sequence[Utterance], reader: AudioReader
) -> Iterator[tuple[Tensor, Tensor]]:
    """Waveforms of the training set, or of an even sample of it when it is long."""
    total = sum(utterance.duration for utterance in utterances)
    every = max(1, int(total // STATISTICS_SECONDS))
    sample = utterances[::every]
    for group in group_by_length([u.duration for u in sample], batch_seconds=60.0):
        waveforms = []
        for index in group:
            try:
                waveforms.append(reader.read(sample[index]))
            except AudioError:
                continue  # the training names and records it
        batch = collate([""] * len(waveforms), waveforms, [()] * len(waveforms))
        yield batch.waveforms, batch.waveform_lengths
