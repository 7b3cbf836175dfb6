"""The notebooks, read, executed and stored.

``python tests/notebooks.py 01 06`` executes these notebooks (all, without numbers) and stores them with their outputs
and the pictures of the gallery; ``--figures FOLDER`` writes the stored figures there, to be looked at.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "notebooks"
GALLERY = FOLDER / "gallery"
CELL_SECONDS = 300
GALLERY_WIDTH = 660  # pixels

Notebook = dict[str, Any]


def paths(numbers: Sequence[str] = ()) -> list[Path]:
    """Return all notebooks, or those whose names begin so."""
    return [path for path in sorted(FOLDER.glob("*.ipynb")) if not numbers or path.name.startswith(tuple(numbers))]


def read(path: Path) -> Notebook:
    notebook: Notebook = json.loads(path.read_text("utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def code_cells(notebook: Notebook) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def tree(notebook: Notebook) -> ast.Module:
    """Return the syntax of the whole code, magics left out."""
    lines = [line for cell in code_cells(notebook) for line in cell["source"].splitlines()]
    return ast.parse("\n".join(line for line in lines if not line.startswith("%")))


def digest(notebook: Notebook) -> str:
    """Return what ties stored outputs to the code that made them."""
    code = "\0".join(cell["source"] for cell in code_cells(notebook))
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def figures(notebook: Notebook) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each cell and output (its ``data``) that holds a PNG."""
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                yield cell, output["data"]


def execute(path: Path, folder: Path) -> Any:
    """Return the notebook with fresh outputs, run in `folder` by a kernel of this Python; errors are raised."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",  # with ipykernel installed, that of sys.executable
        record_timing=False,
        coalesce_streams=True,  # the same outputs, however the kernel flushed them
        extra_arguments=["--log-level=ERROR"],  # not of sockets on this machine that are not encrypted
        resources={"metadata": {"path": str(folder)}},
    )
    # the user's start-up files and the backend of the tests are no part of a notebook
    others = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    client.execute(env=others | {"IPYTHONDIR": str(folder / ".ipython")})
    return notebook


def store(path: Path) -> None:
    """Execute a notebook in place, with small pictures and nothing that depends on the machine."""
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(path, Path(folder))
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "manifold": {"code": digest(notebook)},
    }
    for _, data in figures(notebook):
        data["image/png"] = b64encode(small(b64decode(data["image/png"]))).decode()
    nbformat.write(notebook, path)


def hang_gallery() -> None:
    """Write each stored figure of a cell whose metadata has ``{"gallery": name}``, and remove what no cell makes."""
    GALLERY.mkdir(exist_ok=True)
    stale = set(GALLERY.glob("*.png"))
    for path in paths():
        for cell, data in figures(read(path)):
            if name := cell["metadata"].get("gallery"):
                picture = GALLERY / f"{name}.png"
                picture.write_bytes(small(b64decode("".join(data["image/png"])), width=GALLERY_WIDTH))
                stale.discard(picture)
    for picture in stale:
        picture.unlink()


def small(png: bytes, width: int | None = None) -> bytes:
    """Return a picture with at most 256 colours, and no wider than `width`."""
    from PIL import Image

    picture = Image.open(BytesIO(png)).convert("RGB")
    if width is not None and picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(file, format="png", optimize=True)
    return file.getvalue()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", help="first characters of names; all by default")
    parser.add_argument("--figures", type=Path, help="write the stored figures into this folder, execute nothing")
    chosen = parser.parse_args(arguments)
    for path in paths(chosen.numbers):
        if chosen.figures is None:
            store(path)
            print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")
            continue
        chosen.figures.mkdir(exist_ok=True)
        for i, (_, data) in enumerate(figures(read(path))):
            (chosen.figures / f"{path.stem}-{i}.png").write_bytes(b64decode("".join(data["image/png"])))
    if chosen.figures is None:
        hang_gallery()


if __name__ == "__main__":
    main(sys.argv[1:])
