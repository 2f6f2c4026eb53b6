"""The version of the toolkit, and of what it computes with; importing this imports nothing else."""

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """What made a model: the versions of the toolkit, of torch and of Python."""
    import sys

    import torch

    return {
        "version": __version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
