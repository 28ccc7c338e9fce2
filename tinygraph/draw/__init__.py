"""Pictures of graphs and models: values down, gradients up, made into DOT and rendered by Graphviz."""

from tinygraph.draw.cards import Bead, Card, Drawing, Edge
from tinygraph.draw.picture import Picture, draw

__all__ = ["Bead", "Card", "Drawing", "Edge", "Picture", "draw"]
