"""The colours of pictures: of both lanes, of the families of operations, and of verdicts."""

INK, QUIET, LINE, PAPER = "#1A1A1A", "#595959", "#8A8A8A", "#FFFFFF"
VALUE_LANE, GRADIENT_LANE = "#0072B2", "#D55E00"
# The lanes' colours, dark enough for small text.
VALUE_INK, GRADIENT_INK = "#005A8C", "#A34700"
PARAMETER, WARNING, WRONG, RIGHT = "#F0E442", "#FFF3BF", "#F8C9BD", "#D5EFE5"
# For each verdict, the colour of its line and of the border of the card.
VERDICTS = {
    "ok": (RIGHT, "#00785A"),
    **dict.fromkeys(("at kinks", "not finite"), (WARNING, "#8A6D00")),
    **dict.fromkeys(("wrong", "failed", "error"), (WRONG, "#B3261E")),
}
# The palette of Okabe and Ito, safe for every kind of colour vision; its blue and vermilion are the colours of the lanes.
# An equation of several operations has the colour of the family that comes first here.
FAMILIES = {
    **dict.fromkeys(("convolution", "linear"), "#56B4E9"),
    **dict.fromkeys(("pooling", "normalization", "statistics"), "#CC79A7"),
    "dropout": "#BBBBBB",
    "loss": "#E69F00",
    "activation": "#009E73",
    "reduction": "#CC79A7",
    **dict.fromkeys(("shape", "indexing", "elementwise", "comparison", ""), "#BBBBBB"),
}
CUSTOM = "#595959"


def family_rank(family: str) -> int:
    """Return the place of a family among those that colour a card; a user's own family comes first."""
    return list(FAMILIES).index(family) if family in FAMILIES else -1


def tint(colour: str, strength: float = 0.45) -> str:
    """Return a colour ``#RRGGBB`` mixed with white, light enough for black text.

    >>> tint("#000000", 0.5)
    '#808080'
    """
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - strength * (255 - part)):02X}" for part in parts)
