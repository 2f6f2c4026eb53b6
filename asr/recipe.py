"""The schema of a recipe: reading, overriding and checking a TOML file.

Precedence: defaults < the file < `--set`. There is no inheritance between files and no
interpolation, and no key can name code.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from asr.config import Config, parse, parse_toml, read_toml
from asr.data.tokenizer import CharactersConfig, TokenizerConfig
from asr.errors import ConfigError, shown
from asr.frontend.augment import AugmentConfig
from asr.frontend.filter_bank import LogMelConfig
from asr.frontend.frontend import FrontendConfig
from asr.models.lstm import EncoderConfig
from asr.objectives.ctc import CTCConfig
from asr.training.optimizer import AdamWConfig, OptimizerConfig
from asr.training.settings import TrainingConfig

DEFAULT_FILE = "recipe.toml"


class DataConfig(Config):
    """The manifests of a recipe; relative paths are relative to the working directory."""

    train: str
    dev: str = ""  # chooses the best model; empty: the last one
    test: str = ""  # scored once, at the end
    case: Literal["keep", "lower", "upper"] = "keep"  # of the transcripts
    cache_mb: int = Field(default=1024, ge=0)  # decoded audio that is kept in memory


class Recipe(Config):
    """A complete recipe."""

    seed: int = Field(default=1, ge=0)
    data: DataConfig
    frontend: FrontendConfig = LogMelConfig(name="log_mel")
    augment: AugmentConfig = AugmentConfig()
    tokenizer: TokenizerConfig = CharactersConfig(name="characters")
    encoder: EncoderConfig = EncoderConfig()
    objective: CTCConfig = CTCConfig(name="ctc")
    optimizer: OptimizerConfig = AdamWConfig(name="adamw")
    training: TrainingConfig = TrainingConfig()


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


def load_recipe(recipe: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The checked recipe in a folder or file, with `section.key=value` overrides.

    Raises:
        ConfigError: every problem of the file and of the overrides, one a line.
    """
    file = recipe_file(recipe)
    mapping = read_toml(file)
    for override in overrides:
        apply_override(mapping, override)
    return parse(Recipe, mapping, shown(file))


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


def as_toml(recipe: Recipe) -> str:
    """A resolved recipe as TOML."""
    lines = [f"seed = {recipe.seed}"]
    for section, values in recipe.model_dump(exclude_none=True).items():
        if isinstance(values, dict):
            lines.append(f"\n[{section}]")
            lines += [f"{key} = {_as_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


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
    return repr(value)
