"""What the documents and examples show passes ``mypy --strict`` as their readers run it: without our settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.documents import DOCUMENTS, ROOT, as_module, blocks

CACHED = f"--cache-dir={ROOT / '.mypy_cache' / 'shown'}"


def test_python_in_documents_and_examples_is_typed(tmp_path: Path) -> None:
    shown = {f"{path.stem}.py".replace("-", "_"): path for path in DOCUMENTS if blocks(path, "python")}
    for name, document in shown.items():
        (tmp_path / name).write_text(as_module(document))
    examples = sorted(ROOT.glob("examples/*.py"))

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", CACHED, *shown, *map(str, examples)],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    said = checked.stdout
    for name, document in shown.items():  # the lines have the document's own numbers
        said = said.replace(f"{name}:", f"{document.relative_to(ROOT)}:")
    assert checked.returncode == 0, said + checked.stderr
    assert len(shown) >= 3
