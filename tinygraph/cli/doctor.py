"""``tinygraph doctor``: what is installed, which renderer is active, and what to do about what is missing."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from importlib import metadata

import click

from tinygraph.cli.terminal import say

PACKAGES = ("graphviz", "pygraphviz", "matplotlib", "latex2mathml", "onnx", "safetensors", "click", "rich")


@click.command(short_help="Say what is installed and what is missing.")
def doctor() -> None:
    """Say what is installed, which renderer is active, and one fix for each thing that is missing."""
    from tinygraph.describe.columns import aligned

    rows = list(versions())
    found = dict(rows)
    active, formats, faults = rendering()
    rows += [("renderer", active), ("pictures", ", ".join(formats))]
    told = [(name, f"found but does not work: {faults[name]}" if name in faults else said) for name, said in rows]
    say(aligned([(name, said or "missing") for name, said in told]))
    for fix in fixes(found | {"renderer": active}, formats):
        say(f"fix: {fix}")


def versions() -> Iterator[tuple[str, str]]:
    """Yield names and versions of what tinygraph works with; an empty version for what is missing."""
    from tinygraph import __version__
    from tinygraph.draw.render import dot_version

    yield "tinygraph", __version__
    yield "Python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"
    yield "numpy", f"{version_of('numpy')} ({blas()})"
    yield "dot", dot_version() or ""
    for package in PACKAGES:
        yield package, version_of(package)


def version_of(package: str) -> str:
    """Return the version of an installed package, or an empty string."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return ""


def blas() -> str:
    """Return the name and version of the library that multiplies NumPy's matrices."""
    import numpy as np

    try:
        found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"BLAS: {found['name']} {found['version']}"
    except (KeyError, TypeError):
        return "BLAS: unknown"


def rendering() -> tuple[str, list[str], dict[str, str]]:
    """Return the first renderer that works, the formats that a trial shows to be possible, and the faults of the others."""
    from tinygraph.draw.render import FORMATS, renderers
    from tinygraph.errors import RenderError

    active, possible, faults = "", {"gv"}, {}
    for renderer in renderers():
        # The first format tells whether it works at all; a program that hangs is not waited for again.
        for format in FORMATS[1:]:
            try:
                renderer.render("digraph { trial }", format)
            except RenderError as fault:
                if format == FORMATS[1]:
                    faults[renderer.name] = str(fault)
                    break
            else:
                possible.add(format)
                active = active or f"{renderer.name} {renderer.version}".rstrip()
    return active, [format for format in FORMATS if format in possible], faults


def fixes(found: dict[str, str], formats: list[str]) -> Iterator[str]:
    """Yield one fix for each thing that is missing."""
    from tinygraph.draw.render import FIXES, FORMATS, carries_graphviz

    if not found["renderer"]:
        yield f"to render pictures, {FIXES}"
    elif len(formats) < len(FORMATS):
        absent = ", ".join(format for format in FORMATS if format not in formats)
        yield f"{found['renderer']} cannot render {absent}: {FIXES}"
    if found["pygraphviz"] and not carries_graphviz(found["pygraphviz"]):
        yield "pygraphviz older than 2.0 needs `dot` and is not used: pip install 'pygraphviz>=2.0'"
    if not found["matplotlib"]:
        yield "to draw learning curves: pip install matplotlib"
    if not found["latex2mathml"]:
        yield "to write notes as HTML: pip install latex2mathml"
    if not found["onnx"]:
        yield "to read and write ONNX files: pip install onnx"
    for package in ("graphviz", "safetensors"):
        if not found[package]:
            yield f"{package} is a dependency and missing: pip install {package}"
