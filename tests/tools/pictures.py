"""Graphs to draw, and what tests read of their pictures."""

import pytest

from tinygraph.draw import render

SVG = "{http://www.w3.org/2000/svg}"


def renderer(name):
    found = {installed.name: installed for installed in render.renderers()}
    if name not in found:
        pytest.skip(f"{name} is not installed")
    return found[name]
