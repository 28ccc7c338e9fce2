"""Declared models: equations in a file, recorded as a graph."""

from tinygraph.model.declaration import Input, Training
from tinygraph.model.files import bundled_models, load_model
from tinygraph.model.model import Model
from tinygraph.model.recording import Equation, Recording, Unfinished

__all__ = ["Equation", "Input", "Model", "Recording", "Training", "Unfinished", "bundled_models", "load_model"]
