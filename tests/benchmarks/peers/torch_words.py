"""What the operations of tinygraph's equations are called in PyTorch, so that it runs the same text."""

from __future__ import annotations

from typing import Any


def words(torch: Any) -> dict[str, Any]:
    """Return PyTorch's functions by the names that equations use, each as its users would write it."""
    F = torch.nn.functional

    def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
        return F.layer_norm(x, scale.shape, scale, shift)

    def group_norm(x: Any, scale: Any, shift: Any, groups: int) -> Any:
        return F.group_norm(x, groups, scale, shift)

    def standardize(x: Any, axis: Any) -> Any:
        return F.batch_norm(x, None, None, training=True)

    return {
        "relu": torch.relu,
        "relu6": F.relu6,
        "gelu": F.gelu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "leaky_relu": F.leaky_relu,
        "softmax": lambda x, axis: torch.softmax(x, axis),
        "mean": lambda x, axis: x.mean(axis),
        "flatten": lambda x: x.flatten(1),
        "reshape": torch.reshape,
        "transpose": lambda x, axes: x.permute(axes),
        "concatenate": lambda xs, axis: torch.cat(xs, axis),
        "conv1d": F.conv1d,
        "conv2d": F.conv2d,
        "conv3d": F.conv3d,
        "conv_transpose2d": F.conv_transpose2d,
        "max_pool2d": F.max_pool2d,
        "global_avg_pool": lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True),
        "layer_norm": layer_norm,
        "group_norm": group_norm,
        "standardize": standardize,
        "cross_entropy": F.cross_entropy,
        "mse": F.mse_loss,
    }
