"""For the tests of a package of operations: ``check_op`` certifies one, and fails with the certificate."""

from tinygraph.verify.certificate import check_op

__all__ = ["check_op"]
