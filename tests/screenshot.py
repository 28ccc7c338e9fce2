"""The screenshot of the documentation (extra ``browser``): ``python -m tests.screenshot docs/pictures/page.png``."""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

import tinygraph as tg
from tests.tools.browser import Visit, browser

# A gradient of the kernel: its terms, its card, and the numbers on the cards.
STEP = "#step=24&at=dK1:0.0.1.2"


def main() -> None:
    """Write the page of the lecture's CNN as a PNG, with few colours, so that it is small."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshot", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.png")
    file = parser.parse_args().file
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        page = Path(folder) / "notes.html"
        tg.notes(tg.load_model("notes_cnn"), page)
        visit = Visit(chromium, page, STEP)
        visit.page.set_viewport_size({"width": 1280, "height": 760})
        visit.page.reload()
        visit.page.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
