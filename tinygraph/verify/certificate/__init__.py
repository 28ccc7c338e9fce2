"""The certificate of an operation: a line for each check of it.

A ``Candidate`` is an operation with the cases to try it on; its file also says what a check is. ``propose``, ``search`` and
``redraw`` find inputs where an operation has no samples. The checks are in ``gradients``, ``kinks``, ``neighbours``,
``rules``, ``special`` and ``values``; ``certificate`` runs them in order.
"""

from tinygraph.verify.certificate.candidate import Line
from tinygraph.verify.certificate.certificate import Certificate, certify, check_op

__all__ = ["Certificate", "Line", "certify", "check_op"]
