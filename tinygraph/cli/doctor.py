"""``tinygraph doctor``: what is installed, which renderer is active, and what to do about what is missing."""

import contextlib
import platform
from collections import Counter
from collections.abc import Iterator
from importlib import metadata

import click
import numpy as np

from tinygraph import __version__
from tinygraph.cli.terminal import say
from tinygraph.describe.text import aligned
from tinygraph.draw import render
from tinygraph.engines import Engine, engines
from tinygraph.engines.plan.threads import thread_count
from tinygraph.errors import RenderError, TinygraphError, counted

PACKAGES = (
    *("graphviz", "pygraphviz", "matplotlib", "pypdf", "latex2mathml", "onnx", "pillow", "safetensors", "click"),
    *("numba", "jax", "jaxlib"),
)
# What a missing package is for.
USES = {
    "matplotlib": "to draw learning curves",
    "pypdf": "to write the pages of a picture as one PDF",
    "latex2mathml": "to write notes as HTML",
    "onnx": "to read and write ONNX files",
    "pillow": "to read images as data",
    "numba": "to compute with generated kernels",
    "jax": "to compute on GPUs, TPUs and several machines",
    "graphviz": "graphviz is a dependency and missing",
    "safetensors": "safetensors is a dependency and missing",
}


@click.command
def doctor() -> None:
    """Say what is installed, which renderer is active, and one fix for each thing that is missing."""
    found = {
        "tinygraph": __version__,
        "Python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        "numpy": f"{version_of('numpy')} ({blas()})",
        "dot": render.dot_version() or "",
        **{package: version_of(package) for package in PACKAGES},
    }
    active, formats, faults = rendering()
    rows = found | {"renderer": active, "pictures": ", ".join(formats)}
    rows |= {f"engine {engine.name}": computes_on(engine) for engine in engines()}
    broken = {name: f"found but does not work: {fault}" for name, fault in faults.items() if name in rows}
    say(aligned([(name, text or "missing") for name, text in (rows | broken).items()]))
    for fix in fixes(rows, formats):
        say(f"fix: {fix}")


def version_of(package: str) -> str:
    """Return the version of an installed package, or an empty string."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return ""


def blas() -> str:
    """Return the name and version of the library that multiplies NumPy's matrices."""
    try:
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"BLAS: {found['name']} {found['version']}"
    except (KeyError, TypeError):
        return "BLAS: unknown"


def computes_on(engine: Engine) -> str:
    """Return what an engine computes on, or an empty string if its package is missing."""
    if not engine.available or not engine.packages:
        return f"{engine.runs_on}: {thread_count()}" if engine.available else ""
    from tinygraph.engines.xla import Devices

    try:
        kinds = Counter(f"{device.platform} ({device.device_kind})" for device in Devices(local=True).all)
    except TinygraphError as error:
        return f"found but does not work: {error}"
    return f"{engine.runs_on}: " + ", ".join(f"{counted(count, 'device')}, {kind}" for kind, count in kinds.items())


def rendering() -> tuple[str, list[str], dict[str, str]]:
    """Return the first renderer that works, the formats that a trial shows to be possible, and the faults of the others."""
    active, possible, faults = "", {"gv"}, {}
    for renderer in render.renderers():
        # The first format shows whether it works at all; a program that hangs is not waited for again.
        for format in render.FORMATS[1:]:
            try:
                renderer.render("digraph { trial }", format)
            except RenderError as fault:
                if format == render.FORMATS[1]:
                    faults[renderer.name] = str(fault)
                    break
            else:
                possible.add(format)
                active = active or f"{renderer.name} {renderer.version}".rstrip()
    return active, [format for format in render.FORMATS if format in possible], faults


def fixes(found: dict[str, str], formats: list[str]) -> Iterator[str]:
    """Yield one fix for each thing that is missing."""
    if not found["renderer"]:
        yield f"to render pictures, {render.FIXES}"
    elif len(formats) < len(render.FORMATS):
        absent = ", ".join(format for format in render.FORMATS if format not in formats)
        yield f"{found['renderer']} cannot render {absent}: {render.FIXES}"
    if found["pygraphviz"] and not render.carries_graphviz(found["pygraphviz"]):
        yield "pygraphviz older than 2.0 needs `dot` and is not used: pip install 'pygraphviz>=2.0'"
    for package, use in USES.items():
        if not found[package]:
            yield f"{use}: pip install {package}"
