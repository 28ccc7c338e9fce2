"""The graph: the core of tinygraph. It imports no other room, and all other rooms import it.

To understand how everything works, read these files in this order:

1. ``tensor.py``: a node of the graph: the operation that made it, its inputs, shape, dtype, name and value.
2. ``leaves.py``: nodes that no operation made: inputs, parameters, states, constants.
3. ``op.py``: an operation: attributes, shape, forward, gradient rule, formula, samples.
4. ``function.py``: how an operation is made and registered (``@tg.op``), and how it is called.
5. ``apply.py``: a call computes on arrays and records a node on tensors.
6. ``graph.py``: the nodes that some outputs depend on, in topological order.
7. ``run.py``: the values of a graph, node by node: the meaning that every engine must reproduce.
8. ``backprop.py``: the reverse sweep, which adds gradient nodes; ``rules.py`` calls one gradient rule.
9. ``composite.py``: operations made of other operations.

The other files serve these, and may be read when they are met:

- ``protocols.py``, ``conversion.py``: how a tensor behaves like an array of NumPy.
- ``registry.py``: the table of operations. ``readers.py``: the table of what rooms above offer to tensors and graphs.
- ``attributes.py``, ``batch.py``, ``explanation.py``, ``record.py``: types and checks of what an operation declares.
- ``arrays.py``, ``budget.py``, ``locks.py``: arrays that users give, the cost of opening a file, locks.
"""
