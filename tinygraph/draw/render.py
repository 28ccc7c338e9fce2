"""Render DOT as a picture: by the ``dot`` program where it is installed, else by the Graphviz that pygraphviz contains."""

import contextlib
import html
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tinygraph.draw.cards import Drawing
from tinygraph.draw.colours import dark_style
from tinygraph.draw.literal import visible
from tinygraph.errors import RenderError, listing, nearest

FORMATS = ("gv", "svg", "png", "pdf")
FIXES = (
    "either `pip install pygraphviz matplotlib` (pygraphviz renders, matplotlib brings fonts and draws learning curves), "
    "or install Graphviz so that `dot` is on PATH"
)
FEWER = 'fold="all" (--fold all on the command line) or a list of blocks draws fewer cards, view="forward" fewer arrows'
# In seconds: the largest bundled model takes less than one.
TIMEOUT, VERSION_TIMEOUT = 60.0, 10.0
# A process of its own: what its C libraries print and read from the environment stays out of the user's process.
_PYGRAPHVIZ = """\
import sys, pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
sys.stdout.buffer.write(graph.draw(format=sys.argv[1][2:], prog="dot"))
"""
_SHRUNK = re.compile(rb"too large for cairo-renderer bitmaps. Scaling by ([\d.]+)")
# A cell of a heat map as Graphviz writes it, and several in a row.
_CELL = re.compile(
    r'<polygon fill="([#\w]+)" stroke="(?:none|transparent)" '
    r'points="([-\d.]+),([-\d.]+) \2,([-\d.]+) ([-\d.]+),\4 \5,\3 \2,\3"/>\n'
)
_CELLS = re.compile(r'(?:<polygon fill="[#\w]+" stroke="(?:none|transparent)" points="[-\d. ,]+"/>\n){4,}')
_FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
FONT_FOLDERS = tuple(Path(folder).expanduser() for folder in _FONTS)


class _TooSlowError(RenderError):
    """A layout that takes too long."""


@dataclass(frozen=True)
class Renderer:
    """A program that lays out and renders DOT: its name, its version, and the command that starts it."""

    name: str
    version: str
    command: Sequence[str]

    def render(self, dot: str, format: str) -> bytes:
        """Return DOT rendered in a format of Graphviz. Raises ``RenderError`` with what the program says."""
        done = _run([*self.command, f"-T{format}"], dot.encode("utf-8"), TIMEOUT)
        if not done.stdout:
            raise RenderError("it wrote no picture")
        if shrunk := _SHRUNK.search(done.stderr):
            warnings.warn(
                f"Graphviz made the picture smaller, by a factor of {float(shrunk[1]):.2g}, because a {format.upper()} "
                "has at most 32,767 pixels a side: write SVG or PDF, which have no limit, or fold the picture",
                stacklevel=2,
            )
        return done.stdout


def renderers() -> tuple[Renderer, ...]:
    """Return the renderers that are installed, the preferred one first.

    >>> all(renderer.name in ("dot", "pygraphviz") for renderer in renderers())
    True
    """
    found = []
    if dot := shutil.which("dot"):
        found.append(Renderer("dot", dot_version() or "", [dot]))
    version = pygraphviz_version()
    if version is not None and carries_graphviz(version) and sys.executable:
        found.append(Renderer("pygraphviz", version, [sys.executable, "-P", "-c", _PYGRAPHVIZ]))
    return tuple(found)


def render(dot: str, format: str) -> bytes:
    """Return DOT rendered as ``"svg"``, ``"png"`` or ``"pdf"``, or laid out as ``"plain"``, by the first renderer that can.

    Raises ``RenderError`` if none is installed or each of them fails. A layout that takes too long is not tried again, because
    it is the same with each renderer. Warns where a PNG had to be made smaller.
    """
    if format not in (*FORMATS[1:], "plain"):
        raise RenderError(f"pictures are rendered as {listing(FORMATS[1:])}; found {format!r}")
    installed = renderers()
    if not installed:
        raise RenderError(f"no renderer is installed, so no picture can be made: {FIXES}")
    faults: list[str] = []
    for renderer in installed:
        try:
            picture = renderer.render(dot, format)
        except _TooSlowError as fault:
            raise RenderError(f"the picture could not be rendered as {format}: {fault}; {FEWER}") from None
        except RenderError as fault:
            faults.append(f"{renderer.name} failed: {fault}")
        else:
            if faults:
                warnings.warn(f"{'; '.join(faults)}; {renderer.name} rendered the picture instead", stacklevel=2)
            return picture
    raise RenderError(f"the picture could not be rendered as {format}: {'; '.join(faults)}")


def joined(pages: Sequence[bytes]) -> bytes | None:
    """Return PDF files of one page as one file, or ``None`` if the package pypdf is missing, which joins them."""
    if len(pages) == 1:
        return pages[0]
    if not importlib.util.find_spec("pypdf"):
        return None
    import pypdf

    writer, content = pypdf.PdfWriter(), io.BytesIO()
    for page in pages:
        writer.append(io.BytesIO(page))
    writer.write(content)
    return content.getvalue()


def format_of(path: Path) -> str:
    """Return the format that a file's suffix names. Raises ``RenderError`` with the valid suffixes.

    >>> format_of(Path("net.SVG"))
    'svg'
    """
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        valid = listing(f".{name}" for name in FORMATS)
        raise RenderError(
            f"the suffix of {str(path)!r} does not name a format of pictures{nearest(suffix, FORMATS)} (valid: {valid})"
        )
    return suffix


def dot_version() -> str | None:
    """Return the version of the ``dot`` program on PATH, or ``None`` if there is none or it does not print its version."""
    with contextlib.suppress(RenderError):
        done = _run([shutil.which("dot") or "dot", "-V"], b"", VERSION_TIMEOUT)
        if found := re.search(rb"version (\d+(?:\.\d+)*)", done.stderr + done.stdout):
            return found[1].decode()
    return None


def pygraphviz_version() -> str | None:
    """Return the version of the installed pygraphviz, or ``None``."""
    with contextlib.suppress(ImportError, ValueError, metadata.PackageNotFoundError):
        return metadata.version("pygraphviz") if importlib.util.find_spec("pygraphviz") else None
    return None


def carries_graphviz(version: str) -> bool:
    """Whether this version of pygraphviz contains the layout engine: 2.0 and newer.

    >>> carries_graphviz("2.0.4"), carries_graphviz("1.14")
    (True, False)
    """
    major = version.partition(".")[0]
    return major.isdigit() and int(major) >= 2


def _run(command: Sequence[str], source: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
    try:
        with font_environment() as environment:
            done = subprocess.run(command, input=source, capture_output=True, timeout=timeout, env=environment)
    except subprocess.TimeoutExpired:
        raise _TooSlowError(f"its layout did not end within {timeout:g} seconds") from None
    except OSError as error:
        raise RenderError(error.strerror or str(error)) from None
    if done.returncode:
        raise RenderError(_main_line(done.stderr) or f"it ended with code {done.returncode}")
    return done


def _main_line(printed: bytes) -> str:
    """Return the line that names the fault: the first, or the last of a Python traceback."""
    lines = printed.decode("utf-8", "replace").strip().splitlines()
    lines = [line for line in lines if "Fontconfig" not in line] or lines or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


@contextlib.contextmanager
def font_environment(folders: Sequence[Path] = FONT_FOLDERS) -> Iterator[dict[str, str]]:
    """Give the environment of a renderer, in which Fontconfig finds matplotlib's fonts where the machine has none.

    Without a font, Graphviz draws every letter of a PNG or PDF as an empty box. Small containers have none.
    """
    environment = dict(os.environ)
    needed = sys.platform.startswith("linux") and environment.keys().isdisjoint(("FONTCONFIG_FILE", "FONTCONFIG_PATH"))
    spec = importlib.util.find_spec("matplotlib") if needed and not _has_fonts(folders) else None
    fonts = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" if spec and spec.origin else None
    if fonts is None or not fonts.is_dir():
        yield environment
        return
    with tempfile.TemporaryDirectory(prefix="tinygraph-fonts-") as folder:
        file = Path(folder, "fonts.conf")
        file.write_text(f"<fontconfig><dir>{fonts}</dir><cachedir>{folder}</cachedir></fontconfig>", encoding="utf-8")
        yield environment | {"FONTCONFIG_FILE": str(file)}


def _has_fonts(folders: Sequence[Path]) -> bool:
    suffixes = (".ttf", ".otf", ".ttc", ".pfb", ".t1")
    return any(path.suffix.lower() in suffixes for folder in folders for path in folder.rglob("*"))


def accessible(svg: str, drawing: Drawing, prefix: str) -> str:
    """Return the SVG of a drawing with a title and a role, and with each card's id and classes on its group.

    ``prefix`` begins all ids, so that a page may show several pictures.
    """
    if not re.fullmatch(r"([A-Za-z_][\w-]*)?", prefix, re.ASCII):
        raise RenderError(f"ids begin with a letter and have letters, digits, - and _; found the prefix {prefix!r}")
    title = html.escape(visible(drawing.title or "A graph"))
    words = html.escape(f"{len(drawing.cards)} cards, {len(drawing.edges)} edges. {drawing.caption}".strip())
    svg = re.sub(r"<svg ", '<svg id="picture" role="img" ', svg, count=1)
    end = svg.index(">", svg.index("<svg ")) + 1
    head = f'<title id="title">{title}</title>\n<desc id="words">{words}</desc>\n'
    style = f"<style>{dark_style(f'{prefix}picture')}</style>\n"
    svg = f"{svg[:end]}\n{head}{style}{svg[end:].lstrip()}"
    for card in drawing.cards:
        if f'<g id="{card.id}" class=' not in svg:
            svg = svg.replace(f'<g id="a_{card.id}">', f'<g id="{card.id}" class="{card.classes}">')
    svg = re.sub(r'(?<= id=")', prefix, svg.replace(' xlink:href="#"', ""))
    svg = svg.replace(' role="img"', f' role="img" aria-labelledby="{prefix}title {prefix}words"', 1)
    return _CELLS.sub(_merged, svg)


def _merged(cells: re.Match[str]) -> str:
    """Return neighbouring cells of a heat map as one path for each colour: a sixth of the text."""
    paths: dict[str, list[str]] = {}
    for fill, left, bottom, top, right in _CELL.findall(cells[0]):
        width, height = float(right) - float(left), float(bottom) - float(top)
        paths.setdefault(fill, []).append(f"M{left},{top}h{width:g}v{height:g}h{-width:g}z")
    rest = _CELL.sub("", cells[0])
    drawn = {fill: "".join(d) for fill, d in paths.items()}
    return rest + "".join(f'<path fill="{fill}" shape-rendering="crispEdges" d="{d}"/>\n' for fill, d in drawn.items())
