"""Pictures of graphs and models: values go down, gradients go up.

Read in this order: ``cards`` (the content of a picture), ``build`` (a subject to cards), ``labels`` and ``dot`` (cards to
DOT), ``render`` (DOT to a picture), ``pages`` (columns and pages).
"""

from tinygraph.draw.cards import Bead, Card, Drawing, Edge
from tinygraph.draw.picture import Picture, draw

__all__ = ["Bead", "Card", "Drawing", "Edge", "Picture", "draw"]
