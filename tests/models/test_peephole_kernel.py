import ast
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from asr.models import peephole_kernel
from asr.models.peephole_kernel import Activity, Share, Steps, Weights, forward_pass
from asr.models.product import pack


def test_a_share_touches_only_its_direction_and_utterances():
    size, num_rows = 3, np.array([3, 2])
    rows = int(num_rows.sum())
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(size, 4 * size, generator=generator, dtype=torch.float64)
    weights = Weights(pack(matrix).numpy(), np.ones(4 * size), np.ones((3, size)))
    activity = Activity(
        np.ones((rows, 8 * size)),
        np.full((rows, 2 * size), np.nan),
        np.full((rows, 2 * size), np.nan),
        np.full((2, rows), -1),
    )
    forward_pass(Steps(np.array([0, 3]), num_rows), Share(1, 1, 3), weights, activity)
    expected = np.zeros((rows, 2 * size), bool)
    expected[[1, 2, 4], size:] = True  # the second and third utterance, the second direction
    np.testing.assert_array_equal(~np.isnan(activity.hidden), expected)
    np.testing.assert_array_equal(~np.isnan(activity.cells), expected)
    changed = (activity.gates != 1).reshape(rows, 2, 4 * size).any(axis=2)
    np.testing.assert_array_equal(changed, expected.reshape(rows, 2, size).any(axis=2))


def test_numbas_cache_sees_changes_of_all_that_is_compiled():
    folder = Path(peephole_kernel.__file__).parent
    tree = ast.parse(Path(peephole_kernel.__file__).read_text(encoding="utf-8"))
    used = {
        f"{node.module.rsplit('.', 1)[1]}.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("asr.")
    }
    files = ["activations.py", "product.py", "peephole_kernel.py"]
    assert used | {"peephole_kernel.py"} == set(files)
    expected = sha256(b"".join((folder / file).read_bytes() for file in files)).hexdigest()
    for compiled in (peephole_kernel.forward_pass, peephole_kernel.backward_pass):
        (cell,) = compiled.py_func.__closure__
        assert cell.cell_contents == expected
