"""Declared models: equations in a file, recorded as a graph.

Read in this order: ``toml`` (a file to tables), ``declaration`` (tables to a declaration), ``parse`` (equations
to syntax trees, and these to values), ``recorder`` (a declaration to a graph), ``scope`` and ``blocks`` (names and
calls in equations), ``variables``, ``model``, ``load``, ``writer`` (a model to a file).
"""

from tinygraph.model.declaration import Input, Training
from tinygraph.model.load import bundled_models, load_model
from tinygraph.model.model import Model
from tinygraph.model.recorder import Equation, Recording, Unfinished

__all__ = ["Equation", "Input", "Model", "Recording", "Training", "Unfinished", "bundled_models", "load_model"]
