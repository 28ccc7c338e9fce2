"""The certificate of an operation: everything that can be asked of one, asked."""

from tinygraph.verify.certificate.certificate import Certificate, certify
from tinygraph.verify.certificate.line import Line

__all__ = ["Certificate", "Line", "certify"]
