"""The usual causes of exceptions that a forward computation or a rule raised, recognized by words in their messages."""

_ONE_NUMBER = "the functions of the module math take one number; those of NumPy, such as np.exp, take arrays"
_OPAQUE = "@name.vjp(opaque=True), or opaque_vjp = True in the class"
# Words in the message of an exception that a forward or a rule raised, and the usual cause.
_CAUSES = {
    "it must return one array": "an operation has one result: make one for each, or put them together into one array",
    "read-only": "it writes into an array that it was given: np.array(x) makes a copy",
    "writes into an array cannot be recorded": "mark a rule that writes into arrays as opaque: opaque_vjp = True in the "
    "class, or @name.vjp(opaque=True)",
    "truth value of an array": "`if` asks one question about an array; np.where(condition, a, b) asks it of each element",
    "has a shape and no value": "it reads the values of an input, as np.asarray does, which a recorded rule does not know: "
    "write that part in operations, such as tg.one_hot, or mark the rule as opaque, @name.vjp(opaque=True)",
    "one number or boolean is needed": "`if` and the functions of the module math take one number; np.where and np.exp, "
    "for example, take arrays",
    "Python scalars": _ONE_NUMBER,
    "must be real number": _ONE_NUMBER,
    "positional argument": "a rule takes dy, y and each input, in this order: def name_vjp(dy, y, x)",
    "unexpected keyword argument": "forward and the rule name attributes after a *: def name_vjp(dy, y, x, *, threshold)",
    "cannot be recorded on tensors": f"a rule that needs such functions of NumPy works on plain arrays: {_OPAQUE}",
    "a tensor has no attribute": "a tensor has fewer methods than an array: write it with tg's operations, or mark the "
    "rule as opaque, @name.vjp(opaque=True), and it is given arrays",
    "broadcast": "the shapes do not fit: keepdims=True keeps an axis that is summed over, tg.expand_dims puts one in",
    "has no gradient rule": "write one; where it follows from operations, a plain function of them needs none",
}


def cause_of(message: str) -> str:
    """Return the usual cause of an exception with this message, or an empty string.

    >>> cause_of("ValueError: output array is read-only")
    'it writes into an array that it was given: np.array(x) makes a copy'
    """
    return next((cause for words, cause in _CAUSES.items() if words in message), "")
