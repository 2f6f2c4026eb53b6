"""Who may import whom: only downwards; the same rung only inside one package."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LADDER = [
    {"__main__"},
    {"cli"},
    {"tuning"},
    {"experiment", "showing", "transcription", "evaluation"},
    {"recognizer"},
    {"building", "preparation", "decoder", "made_speech"},
    {"warm_start", "pretraining"},
    {"bundle_fit"},
    {"bundle"},
    {"recipe"},
    {"speech", "language", "image_task"},
    {"criterion"},
    {"training"},
    {"decoding"},
    {"objectives"},
    {"lm"},
    {"models"},
    {"scoring"},
    {"data", "frontend"},
    {"lock", "program", "pictures"},
    {"storage", "config", "devices", "compiled"},
    {"errors", "version"},
]
HEAVY = {"torch", "torchaudio", "numba", "numpy", "soundfile", "av", "sentencepiece", "pydantic"}
LIGHT = ["__init__", "__main__", "errors", "version"]


def rung(package: str) -> int:
    return next(i for i, names in enumerate(LADDER) if package in names)


def imports(source: str) -> list[str]:
    """The modules that a source imports anywhere, but not for type checking alone."""
    tree = ast.parse(source)
    guarded = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def violations(package: str, source: str) -> list[str]:
    wrong = []
    for module in imports(source):
        parts = module.split(".")
        if parts[0] != "asr" or len(parts) == 1:
            continue
        other = parts[1]
        if other != package and rung(other) <= rung(package):
            wrong.append(f"{package} imports {module}")
    return wrong


def modules() -> list[Path]:
    return sorted((ROOT / "asr").rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT / "asr").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_downwards(path: Path) -> None:
    if package_of(path) != "__init__":
        assert violations(package_of(path), path.read_text(encoding="utf-8")) == []


def test_the_test_sees_a_violation() -> None:
    assert violations("data", "def f():\n    from asr.models.ctc import CTCModel")
    assert violations("data", "import asr.frontend.augment"), "another package on the same rung"
    assert not violations("data", "from asr.data.text import words")
    assert not violations("data", "if TYPE_CHECKING:\n    from asr.models.ctc import CTCModel")


def top_level_imports(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    source = "\n".join(ast.unparse(n) for n in body if isinstance(n, ast.Import | ast.ImportFrom))
    return {module.split(".")[0] for module in imports(source)}


def test_help_imports_nothing_heavy() -> None:
    """`asr --help` must be quick: torch and its kin are imported inside the handlers."""
    paths = [ROOT / "asr" / f"{name}.py" for name in LIGHT]
    for path in [*paths, *(ROOT / "asr" / "cli").glob("*.py")]:
        assert not top_level_imports(path) & HEAVY, path


FORBIDDEN_CALLS = {"eval", "exec", "compile", "torch.load", "os.system"}
FORBIDDEN_METHODS = {"extractall", "splitlines", "popen", "unsafe_load"}
FORBIDDEN_MODULES = {"pickle", "yaml", "marshal", "shelve", "dill", "cloudpickle"}


@pytest.mark.parametrize(
    "path",
    [
        *modules(),
        *sorted((ROOT / "recipes").rglob("*.py")),
        *sorted((ROOT / "tools").rglob("*.py")),
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nothing_that_is_read_can_run_code(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not {module.split(".")[0] for module in imports(ast.unparse(tree))} & FORBIDDEN_MODULES
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        assert name not in FORBIDDEN_CALLS, f"{path}:{node.lineno} {name}"
        assert name.split(".")[-1] not in FORBIDDEN_METHODS, f"{path}:{node.lineno} {name}"
        shell = [key for key in node.keywords if key.arg == "shell"]
        assert not shell, f"{path}:{node.lineno} shell"
