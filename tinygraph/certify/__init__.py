"""The certificate of an operation: everything that can be asked of one, asked."""

from tinygraph.certify.certificate import Certificate, certify
from tinygraph.certify.line import Line

__all__ = ["Certificate", "Line", "certify"]
