"""The operations, one folder for each family. Importing this package registers them all.

``FAMILIES`` lists them in the order in which a course teaches them.
"""

import importlib
import pkgutil

from tinygraph.graph import OPERATIONS

FAMILIES = (
    *("elementwise", "comparison", "reduction", "shape", "indexing", "linear", "convolution", "pooling"),
    *("activation", "loss", "statistics", "normalization", "dropout"),
)

for family in FAMILIES:
    package = importlib.import_module(f"{__name__}.{family}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
importlib.import_module(f"{__name__}.numpy_functions")
