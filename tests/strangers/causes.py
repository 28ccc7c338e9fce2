"""When does a hint name the cause of a mistake, and when does it mislead? Written before any hint was read.

Every mistake lists the causes that a hint may name. A hint that states another definite cause misleads. What a certificate
only observes, such as sizes or attributes at which the rule is wrong, is true for whatever reason, and never misleads.
"""

import re

# Words of a hint by which it states a cause.
STATED = {
    "sign": r"\bsign\b|minus",
    "factor": r"factor|missing 1/|too (large|small)|\bhalf of\b|\btwice\b(?! in)|times as large",
    "term": r"\bterms?\b|\blacks\b|\bsummand|dropped|is missing: |add .*(dy|[·*])|not subtracted|projection",
    "axis": r"wrong axis|other axis|axis=|summed over|\baxis (0|1|-1|-2|2)\b.* (for|instead of|not)\b|sums? over",
    "transpose": r"transpos",
    "swapped": r"swapped|exchanged|another order|rule of the other input|in the place of",
    "order": r"arguments? in another order|order of (its|the) arguments|arguments .*(swapped|exchanged)",
    "broadcast": r"broadcast|add its gradient up|sum(med)? over (those|the) axes",
    "overlap": r"overlap|assigned where|gradients add up",
    "sum": r"gradients add up|one contribution of several",
    "repeated": r"repeated|np\.add\.at|more than once|several times|gradients add up|accumulat",
    "place": r"place|shift|off by one|flip|permut|revers|wrong way round|rotated|rolled|order of|begins? one|right numbers",
    "condition": r"condition|branch|mask|> or >=|wrong way round",
    "tie": r"\btie",
    "yx": r"\by\b.*\b(for|instead of|in the place of|where)\b|\b(for|instead of|in the place of) y\b"
    r"|times y\b|[·*] y\b|power of y",
    "other": r"(rule|derivative|gradient) of (an?other|the|a )?[ ]?"
    r"(function|softmax|sigmoid|tanh|abs|determinant|logarithm|\w+ instead|\w+ is used)|softmax's",
    "dy": r"does not use dy|\bdy twice|without dy|depends on dy|linear in dy|dy is (clipped|changed|forgotten)|clips dy",
    "none": r"returns None|no gradient flows",
    "conjugate": r"conjugat",
    "constant": r"\.value\b|as a constant|not recorded|records nothing|stop_gradient",
    "unused": r"does not use \w+ as forward",
    "digits": r"constant with too few",
    "surrogate": r"surrogate|straight.through|forward is flat",
    "epsilon": r"epsilon",
    "float32": r"float32|single precision|precision",
    "zeros": r"\bzeros?\b|returns 0\b|gets no gradient|no gradient",
    "raises": r"\braises?\b|\bfails with\b|Error\b",
    "global": r"a rule knows dy|global|remembers",
}

# What a certificate observes, without a cause.
OBSERVED = {
    "size": r"\b(odd|even)\b|\bsizes?\b.*\bwrong\b|\bwrong\b.*\b(size|length|long|square)s?|(longer|more|larger) than \d+"
    r"|truncat|cut off|(up to|from|at) (size|length) \d+|square|elements apart|blocks? of",
    "value": r"clamp|clip|\blimit|satur|beyond|far from zero|above|below|larger than|numbers (up to|from)|outside",
    "attribute": r"right with .*wrong with|attribute|default|does not use \w+|depends on",
    "samples": r"next to (your|the|its) samples|right on (your|the|its) samples|sorted|symmetric|distinct",
}

# The lines of a certificate that name these causes in themselves, whatever their hint.
LINES = {
    "shape": r"^shape rule$",
    "float32": r"^(float32|precision)$",
    "second": r"^second derivatives$",
    "mutates": r"^inputs unmodified$",
    "state": r"^determinism$",
}

# A hint that excludes causes misleads where it excludes the first cause of a mistake.
EXCLUDED = re.compile(
    r"\bno (?:usual|common) (?:slip|mistake)[^(]*\((?P<causes>[^)]*)\)|\bneither (?P<more>.+?)(?:\.|;|$)"
)

# What is always possible states nothing.
VAGUE = re.compile(r"a term may be missing, or too many[^.]*")


def judge(check: str, hint: str, causes: list[str], figure: str = "") -> str:
    """Say whether one line of a certificate names one of ``causes``, misleads, or leaves the cause unknown.

    >>> judge("gradient of x", "off by a factor of 2", ["factor"])
    'named'
    >>> judge("gradient of x", "off by a factor of 2", ["sign"])
    'misleading'
    >>> judge("gradient of x", "no usual slip (sign, factor, axis)", ["sign", "term"])
    'misleading'
    >>> judge("gradient of x", "wrong in all elements", ["sign"])
    'unknown'
    """
    if any(re.search(LINES[cause], check) for cause in causes if cause in LINES):
        return "named"
    excluded = EXCLUDED.search(hint)
    if excluded:
        if re.search(STATED.get(causes[0], causes[0]), excluded["causes"] or excluded["more"]):
            return "misleading"
        hint = hint[: excluded.start()] + hint[excluded.end() :]
    hint = VAGUE.sub("", hint)
    if any(re.search(STATED[cause], hint) for cause in causes if cause in STATED):
        return "named"
    observed = OBSERVED | {"raises": STATED["raises"]}
    if any(re.search(observed[cause], f"{check}: {figure}; {hint}") for cause in causes if cause in observed):
        return "named"
    # The name of an input states nothing either.
    hint = re.sub(r"elements of the gradient of \w+", "elements of a gradient", hint)
    words = re.sub(r"`[^`]*`", "", hint)  # Code between backticks holds words such as axis, which state nothing.
    return "misleading" if any(re.search(pattern, words) for pattern in STATED.values()) else "unknown"


def judge_all(lines: list[tuple[str, str, str, bool | None]], causes: list[str]) -> str:
    """Judge failing lines from the top, as they are read: the first definite statement counts.

    A line is its check, its figure, its hint, and whether the edit of the rule that the hint names, if any, makes it right. One
    that does names the cause. One that does not, because it fits only the inputs that were tried, names none.
    """
    verdicts = []
    for check, figure, hint, helps in lines:
        words = judge(check, hint, causes, figure)
        verdicts.append({None: words, True: "named", False: "unknown" if words == "named" else "misleading"}[helps])
    return next((verdict for verdict in verdicts if verdict != "unknown"), "unknown")
