"""Mutants: small mistakes planted in every gradient rule of the package, each of which the certificate must find.

python -m tests.mutants            # all rules
python -m tests.mutants conv2d     # those of one operation
"""
