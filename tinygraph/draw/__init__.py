"""Pictures of graphs and models: cards and edges, made into DOT and rendered by Graphviz."""

from tinygraph.draw.cards import Card, Drawing, Edge
from tinygraph.draw.picture import Picture, draw

__all__ = ["Card", "Drawing", "Edge", "Picture", "draw"]
