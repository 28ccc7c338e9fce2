"""The certificate of an operation: a line for each check of it.

A ``Candidate`` is an operation with the cases to try it on; its file also says what a check is. The checks are in
``gradients``, ``rules`` and ``values``; ``certificate`` runs them in order.
"""

from tinygraph.verify.certificate.candidate import Line
from tinygraph.verify.certificate.certificate import Certificate, certify, check_op

__all__ = ["Certificate", "Line", "certify", "check_op"]
