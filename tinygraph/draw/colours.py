"""The colours of pictures: of both lanes, of the families of operations, and of verdicts."""

INK, QUIET, LINE, PAPER, BLOCK = "#1A1A1A", "#595959", "#8A8A8A", "#FFFFFF", "#F7F9FC"
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


def tint(colour: str, strength: float = 0.45, paper: str = PAPER) -> str:
    """Return a colour ``#RRGGBB`` mixed with that of the paper; with white, light enough for black text.

    >>> tint("#000000", 0.5), tint("#FFFFFF", 0.25, "#000000")
    ('#808080', '#404040')
    """
    parts = zip(*([int(one[i : i + 2], 16) for i in (1, 3, 5)] for one in (colour, paper)), strict=True)
    return "#" + "".join(f"{round(white - strength * (white - part)):02X}" for part, white in parts)


# For each colour, its counterpart on a dark screen. Heat maps stay as they are, because the legend names their colours.
_DARK_PAPER = "#16181C"
DARK = {
    **{PAPER: _DARK_PAPER, BLOCK: "#1F2228", INK: "#E9E5DC", QUIET: "#BDB7AB", LINE: "#70757F"},
    **{VALUE_LANE: "#56B4E9", VALUE_INK: "#7CC4F0", GRADIENT_LANE: "#F0924D", GRADIENT_INK: "#F5A468"},
    **{tint(c): tint(c, 0.22, _DARK_PAPER) for c in dict.fromkeys((*FAMILIES.values(), CUSTOM, PARAMETER))},
    **{WARNING: "#4A3F14", WRONG: "#56281F", RIGHT: "#173A2E"},
    **{"#00785A": "#4FC3A1", "#8A6D00": "#E0B93A", "#B3261E": "#F2857C"},
}


def dark_style(id: str) -> str:
    """Return a style sheet that gives the SVG with this id its dark colours on a dark screen, and never on paper.

    Only polygons and ellipses change the colour of the paper, not the white cells of heat maps, which are paths.

    >>> dark_style("p1").count("#p1 ") > 20
    True
    """
    rules = []
    for light, dark in DARK.items():
        shapes = ("polygon", "ellipse") if light == PAPER else ("",)
        filled = [f'#{id} {shape}[fill="{light.lower()}"]' for shape in shapes]
        rules.append(f'{",".join(filled)}{{fill:{dark}}}#{id} [stroke="{light.lower()}"]{{stroke:{dark}}}')
    return f"@media screen and (prefers-color-scheme: dark) {{{''.join(rules)}}}"
