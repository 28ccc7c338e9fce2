"""``tinygraph doctor``."""

import re

import numpy as np

import tinygraph as tg
from tinygraph.draw import render


def test_doctor_says_what_is_installed(run):
    result = run("doctor")
    assert result.exit_code == 0
    found = dict(re.findall(r"^(\w+) +(.+)$", result.stdout, re.MULTILINE))
    assert found["tinygraph"] == tg.__version__
    assert found["numpy"].startswith(np.__version__)
    assert "BLAS" in found["numpy"]
    assert {"Python", "dot", "graphviz", "pygraphviz", "matplotlib", "safetensors", "renderer"} <= set(found)
    assert found["pictures"].startswith("gv")


def test_doctor_names_one_fix_for_each_thing_that_is_missing(run, monkeypatch):
    from importlib import metadata

    real = metadata.version

    def version(package):
        if package in ("matplotlib", "pygraphviz", "latex2mathml", "safetensors"):
            raise metadata.PackageNotFoundError(package)
        # All others are there.
        return real(package) if package not in ("numba", "jax", "jaxlib", "onnx", "pillow") else "1.0"

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(metadata, "version", version)
    output = run("doctor").stdout
    assert re.search(r"^renderer +missing$", output, re.MULTILINE)
    assert re.search(r"^pictures +gv$", output, re.MULTILINE)
    fixes = re.findall(r"^fix: (.*)$", output, re.MULTILINE)
    assert len(fixes) == 4
    assert "`dot` is on PATH" in fixes[0]
    assert fixes[1] == "to draw learning curves: pip install matplotlib"
    assert fixes[2] == "to write notes as HTML: pip install latex2mathml"
    assert "pip install safetensors" in fixes[3]


class Broken(render.Renderer):
    """A renderer that fails for the formats in its command."""

    def render(self, dot, format):
        if f"-T{format}" in self.command:
            raise tg.RenderError("libcgraph.so.6 is missing")
        return b"picture"


def test_doctor_sees_a_renderer_that_cannot_do_everything(run, monkeypatch):
    svg_only = Broken("dot", "1.0", ["-Tpng", "-Tpdf"])
    monkeypatch.setattr(render, "renderers", lambda: (svg_only,))
    monkeypatch.setattr("tinygraph.cli.doctor.version_of", lambda package: "1.14" if package == "pygraphviz" else "9")
    output = run("doctor").stdout
    assert "fix: dot 1.0 cannot render png, pdf" in output
    assert "fix: pygraphviz older than 2.0" in output


def test_doctor_tries_what_it_finds(run, monkeypatch):
    broken, sound = Broken("dot", "", ["-Tsvg", "-Tpng", "-Tpdf"]), Broken("pygraphviz", "2.0", [])
    monkeypatch.setattr(render, "renderers", lambda: (broken, sound))
    output = run("doctor").stdout
    assert re.search(r"^dot +found but does not work: libcgraph.so.6 is missing$", output, re.MULTILINE)
    assert re.search(r"^renderer +pygraphviz 2.0$", output, re.MULTILINE)
    assert re.search(r"^pictures +gv, svg, png, pdf$", output, re.MULTILINE)
    monkeypatch.setattr(render, "renderers", lambda: (broken,))
    output = run("doctor").stdout
    assert re.search(r"^renderer +missing$", output, re.MULTILINE)
    assert "fix: to render pictures, either `pip install pygraphviz" in output


def test_an_unknown_blas_is_no_failure(monkeypatch):
    from tinygraph.cli import doctor

    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert doctor.blas() == "BLAS: unknown"
