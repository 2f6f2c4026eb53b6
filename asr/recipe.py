"""The schemas of recipes: reading, overriding and checking a TOML file.

Precedence: defaults < the file < `--set`. There is no inheritance between files and no
interpolation, and no key can name code. The key `task` says what is trained: a recogniser, or with
`task = "language_model"` a neural language model, whose recipe has other sections. A section
`[task]` is that of a task which the recipe's folder brings, in its `task.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationInfo, create_model, field_validator

from asr.config import Config, parse, parse_toml, read_toml
from asr.data.bundle_tokenizer import BundleTokenizerConfig
from asr.data.text import Case, normalize_text
from asr.data.tokenizer import (
    CharactersConfig,
    PhonesConfig,
    SentencePieceConfig,
)
from asr.errors import ConfigError, shown
from asr.frontend.augment import AugmentConfig
from asr.frontend.filter_bank import LogMelConfig
from asr.frontend.frontend import FrontendConfig
from asr.lm.neural import NeuralConfig
from asr.models.lstm import EncoderConfig
from asr.models.transducer import TransducerConfig
from asr.objectives.ctc import CTCConfig
from asr.objectives.expected_wer import ExpectedWERConfig
from asr.program import load_program
from asr.scoring.equivalence import ScoringConfig
from asr.training.optimizer import AdamWConfig, OptimizerConfig
from asr.training.plain_task import TaskData
from asr.training.settings import TrainingConfig

DEFAULT_FILE = "recipe.toml"
AnyTokenizerConfig = Annotated[
    CharactersConfig | PhonesConfig | SentencePieceConfig | BundleTokenizerConfig,
    Field(discriminator="name"),
]
AnyObjectiveConfig = Annotated[
    CTCConfig | ExpectedWERConfig | TransducerConfig, Field(discriminator="name")
]


class DataConfig(Config):
    """The manifests of a recipe; relative paths are relative to the working directory."""

    train: str
    dev: str = ""  # chooses the best model; empty: the last one
    test: str = ""  # scored once, at the end
    case: Case = "keep"  # of the transcripts
    cache_mb: int = Field(default=1024, ge=0)  # decoded audio that is kept in memory


class SpeechTrainingConfig(TrainingConfig):
    """The section `[training]` of a recogniser."""

    batch_seconds: float = Field(default=60.0, gt=0)  # audio per batch, padding included
    # Most utterances per batch; 0 = as many as fit. Left out when 0, as `pretrain` when empty.
    batch_utterances: int = Field(default=0, ge=0, exclude_if=lambda value: value == 0)


class PretrainConfig(Config):
    """The section `[pretrain]`: bundles whose weights parts of a transducer begin with."""

    encoder: str = ""  # of a recogniser, best of CTC: the front end and the encoder
    prediction: str = ""  # of a neural language model: the prediction network

    def is_empty(self) -> bool:
        """Whether it names nothing."""
        return not (self.encoder or self.prediction)


class Recipe(Config):
    """A complete recipe of a recogniser."""

    init_from: str = ""  # a bundle whose weights the training begins with
    seed: int = Field(default=1, ge=0)
    data: DataConfig
    frontend: FrontendConfig = LogMelConfig(name="log_mel")
    augment: AugmentConfig = AugmentConfig()
    tokenizer: AnyTokenizerConfig = CharactersConfig(name="characters")
    encoder: EncoderConfig = EncoderConfig()
    objective: AnyObjectiveConfig = CTCConfig(name="ctc")
    # Left out when empty: other bundles and run folders are as they were before there was one.
    pretrain: PretrainConfig = Field(
        default=PretrainConfig(), exclude_if=lambda pretrain: pretrain.is_empty()
    )
    optimizer: OptimizerConfig = AdamWConfig(name="adamw")
    training: SpeechTrainingConfig = SpeechTrainingConfig()
    scoring: ScoringConfig = Field(  # left out when empty, as `pretrain`
        default=ScoringConfig(), exclude_if=lambda scoring: scoring.is_empty()
    )

    @field_validator("pretrain")
    @classmethod
    def _has_a_use(cls, pretrain: PretrainConfig, info: ValidationInfo) -> PretrainConfig:
        if pretrain.is_empty():
            return pretrain
        objective = info.data.get("objective")
        if objective is not None and not isinstance(objective, TransducerConfig):
            raise ValueError(
                f"empty where objective.name is '{objective.name}' (only a transducer has such "
                "parts; init_from begins with all weights of a bundle)"
            )
        if info.data.get("init_from"):
            raise ValueError("empty beside init_from, which gives all weights (set only one)")
        return pretrain

    @field_validator("training")
    @classmethod
    def _draws_weights(
        cls, training: SpeechTrainingConfig, info: ValidationInfo
    ) -> SpeechTrainingConfig:
        if training.initial_range and info.data.get("init_from"):
            raise ValueError(
                "without initial_range beside init_from, which gives all weights (set only one)"
            )
        return training

    @field_validator("scoring")
    @classmethod
    def _is_in_the_case(cls, scoring: ScoringConfig, info: ValidationInfo) -> ScoringConfig:
        case: Case = info.data["data"].case if "data" in info.data else "keep"
        for word in (*scoring.replace, *scoring.replace.values(), *scoring.merge):
            if normalize_text(word, case) != word:
                raise ValueError(f"in the case of the texts, data.case = '{case}', unlike {word!r}")
        return scoring


class TextDataConfig(Config):
    """The texts of a language model: a sentence a line, plain or gzip; or manifests (.jsonl)."""

    train: str
    dev: str = ""  # chooses the best model; empty: the last one
    test: str = ""  # scored once, at the end
    case: Case = "keep"  # of all of it
    max_characters: int = Field(default=2000, ge=1)  # a longer line is left out of the training
    epoch_lines: int = Field(default=0, ge=0)  # of the training text; 0 = all


class ExamplesConfig(Config):
    """What is drawn from a language model at each evaluation, to look at."""

    prompt: str = ""
    temperatures: list[Annotated[float, Field(ge=0)]] = Field(default=[0.25, 0.75, 1.5])
    length: int = Field(default=100, ge=1)  # most tokens


class LanguageTrainingConfig(TrainingConfig):
    """The section `[training]` of a language model."""

    batch_characters: int = Field(default=8192, ge=1)  # text per batch, padding included
    # See `asr.lm.neural.sentence_losses`. Left out when 0, as `batch_utterances`.
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, exclude_if=lambda value: value == 0)


class LanguageRecipe(Config):
    """A complete recipe of a neural language model."""

    task: Literal["language_model"]
    seed: int = Field(default=1, ge=0)
    data: TextDataConfig
    tokenizer: AnyTokenizerConfig = CharactersConfig(name="characters")
    model: NeuralConfig = NeuralConfig()
    examples: ExamplesConfig = ExamplesConfig()
    optimizer: OptimizerConfig = AdamWConfig(name="adamw")
    training: LanguageTrainingConfig = LanguageTrainingConfig()


class TaskRecipe(Config):
    """A complete recipe that brings its own task: `[task]` is what its `task.py` calls Config."""

    program: ClassVar[ModuleType]

    task: Config
    seed: int = Field(default=1, ge=0)
    data: TaskData = TaskData()
    optimizer: OptimizerConfig = AdamWConfig(name="adamw")
    training: TrainingConfig = TrainingConfig()


AnyRecipe = Recipe | LanguageRecipe | TaskRecipe


def recipe_file(recipe: Path) -> Path:
    """The TOML file that a command's RECIPE names: a file, or a folder with `recipe.toml`.

    Raises:
        ConfigError: there is none.
    """
    file = recipe / DEFAULT_FILE if recipe.is_dir() else recipe
    if not file.is_file():
        if recipe.is_dir():
            variants = ", ".join(sorted(path.name for path in recipe.glob("*.toml")))
            advice = f"name one of {variants}" if variants else "name a folder that has one"
            raise ConfigError(f"{shown(recipe)}: has no {DEFAULT_FILE}; {advice}")
        raise ConfigError(f"{shown(recipe)}: no such recipe (a folder, or a .toml file)")
    return file


def load_recipe(recipe: Path, overrides: Sequence[str] = ()) -> AnyRecipe:
    """The checked recipe in a folder or file, with `section.key=value` overrides.

    Raises:
        ConfigError: every problem of the file and of the overrides, one a line.
    """
    file = recipe_file(recipe)
    return parse_recipe(read_toml(file), file, overrides)


def parse_recipe(mapping: dict[str, Any], file: Path, overrides: Sequence[str] = ()) -> AnyRecipe:
    """The checked recipe in a mapping, which came from `file` or a training of it.

    A section `[task]` makes it one with a task of its own, whose `task.py` is run.

    Raises:
        ConfigError: every problem of the mapping and of the overrides, one a line.
    """
    for override in overrides:
        apply_override(mapping, override)
    match mapping.get("task", "speech"):
        case dict():
            return parse(task_recipe(file.parent), mapping, shown(file))
        case "language_model":
            return parse(LanguageRecipe, mapping, shown(file))
        case "speech":  # the only task there was: neither bundles nor run folders say it
            speech = {key: value for key, value in mapping.items() if key != "task"}
            return parse(Recipe, speech, shown(file))
        case other:
            raise ConfigError(
                f"{shown(file)}: 'task' must be 'speech', 'language_model' or a section [task], "
                f"got {other!r}"
            )


def task_recipe(folder: Path) -> type[TaskRecipe]:
    """The schema of the recipes in a folder that brings its own task; runs its `task.py`.

    Raises:
        ConfigError: there is none, or it lacks `Config` or `build`.
    """
    advice = "a section [task] needs one; a recogniser or language model has no such section"
    program = load_program(folder, "task", "build(config, data, seed)", advice)
    config = getattr(program, "Config", None)
    if not (isinstance(config, type) and issubclass(config, Config)):
        raise ConfigError(f"{shown(folder / 'task.py')}: has no class Config, an asr.config.Config")
    schema = create_model("TaskRecipe", __base__=TaskRecipe, task=(config, ...))
    schema.program = program
    return schema


def apply_override(mapping: dict[str, Any], override: str) -> None:
    """Put one `section.key=value` into a mapping.

    The value is TOML; what is no TOML value is taken as a string, so that
    `--set data.train=my/train.jsonl` needs no quotes.

    Raises:
        ConfigError: there is no `=`, or a section is no section.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {shown(override)}: write section.key=value")
    here = mapping
    for part in parts[:-1]:
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            raise ConfigError(f"--set {shown(override)}: '{part}' is a value, not a section")
    here[parts[-1]] = _toml_value(text.strip())


def run_folder(recipe: Path) -> Path:
    """Where a recipe trains by default: `exp/<recipe>/<variant>`."""
    file = recipe_file(recipe)
    variant = "default" if file.name == DEFAULT_FILE else file.stem
    return Path("exp") / file.resolve().parent.name / variant


def recipe_of(bundle: Path) -> Path | None:
    """The recipe in `recipes/` whose training makes a bundle, by `run_folder`; None: there is none.

    Args:
        bundle: a run folder or its `best/`, neither of which need be there.
    """
    run = bundle.parent if bundle.name == "best" else bundle
    folder = Path("recipes") / run.parent.name
    whole = run.name == "default"
    file = folder / (DEFAULT_FILE if whole else f"{run.name}.toml")
    if not file.is_file() or run_folder(file).resolve() != run.resolve():
        return None
    return folder if whole else file


def as_toml(recipe: AnyRecipe) -> str:
    """A resolved recipe as TOML, with every default, also those that run folders leave out."""
    resolved = _every_value(recipe)
    sections = {key: value for key, value in resolved.items() if isinstance(value, dict)}
    # Before all sections: below one they would be keys of it.
    lines = [f"{key} = {_as_value(resolved[key])}" for key in resolved if key not in sections]
    for section, values in sections.items():
        lines.append(f"\n[{section}]")
        lines += [f"{key} = {_as_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _every_value(config: BaseModel) -> dict[str, Any]:
    """Of each field that is set; sections that are not used are left out."""
    every: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            if field.exclude_if is None or not field.exclude_if(value):
                every[name] = _every_value(value)
        elif value is not None:
            every[name] = value
    return every


def _toml_value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}", "--set")["value"]
    except ConfigError:
        return text


def _as_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_value, value)) + "]"
    if isinstance(value, dict):
        pairs = (f"{_as_value(key)} = {_as_value(one)}" for key, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    return repr(value)
