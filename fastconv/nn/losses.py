"""Losses: how far a prediction is from its target, and the gradient of that for the prediction."""

from __future__ import annotations

from typing import Any

import numpy as np

from .parameter import array_module

Array = Any
REDUCTIONS = ("mean", "sum", "none")


class Loss:
    """A loss: ``loss(prediction, target)`` is a number, and ``loss.backward()`` its gradient for the prediction.

    Half floats are computed with in single precision; the gradient has the prediction's dtype.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        What is made of the elements' losses; with "none" they are returned as an array.
    """

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction: {reduction!r} is none of {', '.join(map(repr, REDUCTIONS))}")
        self.reduction = reduction
        self._gradient: Array | None = None
        self._dtype: Any = None

    def __call__(self, prediction: Array, target: Array) -> Any:
        """The loss; a float, or an array with the reduction "none"."""
        self._dtype = prediction.dtype
        losses, self._gradient, count = self._terms(_computed_with(prediction), target)
        if self.reduction == "none":
            return losses
        total = float(losses.sum())
        if self.reduction == "sum":
            return total
        self._gradient *= 1 / count if count else float("nan")
        return total / count if count else float("nan")

    def backward(self, scale: Any = 1.0) -> Array:
        """The gradient of the last call's loss for the prediction; once for each call.

        Parameters
        ----------
        scale : float or array, default 1.0
            The gradient is multiplied by it. With the reduction "none": an array of the losses' shape, if need be.

        Raises
        ------
        RuntimeError
            If the loss was not called before.
        """
        if self._gradient is None:
            raise RuntimeError(f"{self!r} has no gradient: call it with a prediction and a target first")
        gradient, self._gradient = self._gradient, None
        if np.ndim(scale):
            gradient *= self._spread(scale)
        elif scale != 1.0:
            gradient *= scale
        # A scale may be too large for half floats: nn.MixedPrecision sees to that.
        with np.errstate(over="ignore"):
            return gradient.astype(self._dtype, copy=False)

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Array, float]:
        """The losses, the gradient of their sum in a new array, and what the sum is divided by for a mean."""
        raise NotImplementedError

    def _spread(self, scale: Array) -> Array:
        """Losses' scales in a shape that fits the gradient."""
        return scale

    def __repr__(self) -> str:
        return f"{type(self).__name__}(reduction={self.reduction!r})"


class CrossEntropyLoss(Loss):
    """The cross entropy of classes, from their logits, as ``torch.nn.CrossEntropyLoss``.

    Parameters
    ----------
    weight : array, optional
        A weight for each class.
    ignore_index : int, default -100
        Targets of this number take no part.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean is weighted by the targets' classes.
    label_smoothing : float, default 0.0
        From 0 to 1: this part of each target is spread evenly over all classes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> loss = nn.CrossEntropyLoss()
    >>> round(loss(np.zeros((2, 10), np.float32), np.array([3, 7])), 4)
    2.3026
    >>> loss.backward().shape
    (2, 10)
    """

    def __init__(
        self,
        weight: Array | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing: {label_smoothing!r} is not between 0 and 1")
        self.weight, self.ignore_index, self.label_smoothing = weight, ignore_index, label_smoothing

    def _terms(self, logits: Array, target: Array) -> tuple[Array, Array, float]:
        if logits.ndim < 2:
            raise ValueError(
                f"prediction: shape {logits.shape} has no axis of classes; (batch, classes, ...) is wanted"
            )
        xp = array_module(logits)
        weight = self._weights(xp, logits)
        log_p = logits - logits.max(axis=1, keepdims=True)
        p = xp.exp(log_p)
        total = p.sum(axis=1, keepdims=True)
        log_p -= xp.log(total)
        p /= total
        if tuple(target.shape) == tuple(logits.shape) and target.dtype.kind not in "iu":
            return self._of_probabilities(xp, p, log_p, target, weight)
        return self._of_classes(xp, p, log_p, target, weight)

    def _weights(self, xp: Any, logits: Array) -> Array | None:
        if self.weight is None:
            return None
        weight = xp.asarray(self.weight, dtype=logits.dtype)
        if weight.shape != (logits.shape[1],):
            raise ValueError(f"weight: shape {weight.shape}; the prediction has {logits.shape[1]} classes")
        return weight.reshape(1, -1, *(1,) * (logits.ndim - 2))

    def _of_probabilities(
        self, xp: Any, p: Array, log_p: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Array, float]:
        q = xp.asarray(target, dtype=p.dtype)
        if self.label_smoothing:
            q = q * (1 - self.label_smoothing) + self.label_smoothing / p.shape[1]
        if weight is not None:
            q = q * weight
        losses = -(q * log_p).sum(axis=1)
        p *= q.sum(axis=1, keepdims=True)
        p -= q
        return losses, p, losses.size

    def _of_classes(
        self, xp: Any, p: Array, log_p: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Array, float]:
        classes, wanted = p.shape[1], (p.shape[0], *p.shape[2:])
        if target.dtype.kind not in "iu" or tuple(target.shape) != wanted:
            raise ValueError(
                f"target: {target.dtype} of shape {tuple(target.shape)}; for a prediction of shape {p.shape}, integers "
                f"of shape {wanted} or probabilities of shape {p.shape} are wanted"
            )
        counts = target != self.ignore_index
        index = xp.expand_dims(xp.where(counts, target, 0), 1).astype(np.int64)
        if index.size and not (0 <= int(index.min()) and int(index.max()) < classes):
            raise ValueError(
                f"target: classes from {int(index.min())} to {int(index.max())}; those of the prediction are 0 to "
                f"{classes - 1}, and {self.ignore_index} is ignored"
            )
        counts = xp.expand_dims(counts, 1).astype(p.dtype)
        # What each target's class counts; the loss of a target is that of its class and a part of all the others'.
        own = counts if weight is None else xp.take(weight.reshape(-1), index) * counts
        smooth = self.label_smoothing
        losses = -(1 - smooth) * own * xp.take_along_axis(log_p, index, axis=1)
        share = (1 - smooth) * own
        if smooth:
            every = counts * (smooth / classes)
            weights = 1 if weight is None else weight
            losses -= every * (log_p * weights).sum(axis=1, keepdims=True)
            p *= share + every * (classes if weight is None else weight.sum())
            p -= every * weights
        else:
            p *= share
        xp.put_along_axis(p, index, xp.take_along_axis(p, index, axis=1) - share, axis=1)
        return losses[:, 0], p, float(own.sum())

    def _spread(self, scale: Array) -> Array:
        return scale[:, None]

    def __repr__(self) -> str:
        return f"CrossEntropyLoss(label_smoothing={self.label_smoothing}, reduction={self.reduction!r})"


class ElementwiseLoss(Loss):
    """A loss of every element of the prediction by itself."""

    def _terms(self, prediction: Array, target: Array) -> tuple[Array, Array, float]:
        if tuple(target.shape) != tuple(prediction.shape):
            raise ValueError(f"target: shape {tuple(target.shape)}; that of the prediction is {prediction.shape}")
        xp = array_module(prediction)
        losses, gradient = self._elements(xp, prediction, xp.asarray(target, dtype=prediction.dtype))
        return losses, gradient, losses.size

    def _elements(self, xp: Any, x: Array, target: Array) -> tuple[Array, Array]:
        """The elements' losses and their derivatives, in new arrays."""
        raise NotImplementedError


class MSELoss(ElementwiseLoss):
    """The squared difference."""

    def _elements(self, xp: Any, x: Array, target: Array) -> tuple[Array, Array]:
        difference = x - target
        losses = difference * difference
        difference *= 2
        return losses, difference


class L1Loss(ElementwiseLoss):
    """The difference without its sign."""

    def _elements(self, xp: Any, x: Array, target: Array) -> tuple[Array, Array]:
        difference = x - target
        return xp.abs(difference), xp.sign(difference)


class SmoothL1Loss(ElementwiseLoss):
    """The squared difference below ``beta``, and from there on a line of slope 1.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
    beta : float, default 1.0
        With 0: as ``L1Loss``.
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not beta >= 0:
            raise ValueError(f"beta: {beta!r} is negative")
        self.beta = beta

    def _elements(self, xp: Any, x: Array, target: Array) -> tuple[Array, Array]:
        difference = x - target
        size = xp.abs(difference)
        if self.beta == 0:
            return size, xp.sign(difference)
        inside = size < self.beta
        losses = xp.where(inside, size * size * (0.5 / self.beta), size - 0.5 * self.beta)
        return losses, xp.where(inside, difference * (1 / self.beta), xp.sign(difference))


class BCEWithLogitsLoss(ElementwiseLoss):
    """The cross entropy of what is true or not, from its logit, as ``torch.nn.BCEWithLogitsLoss``.

    Parameters
    ----------
    weight : array, optional
        Of elements; its shape is spread over the prediction's.
    reduction : {"mean", "sum", "none"}, default "mean"
    pos_weight : array, optional
        How much what is true counts; its shape is spread over the prediction's.
    """

    def __init__(self, weight: Array | None = None, reduction: str = "mean", pos_weight: Array | None = None) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def _elements(self, xp: Any, x: Array, target: Array) -> tuple[Array, Array]:
        # log(1 + exp(-x)) and the sigmoid, by an exponential that cannot overflow.
        small = xp.exp(-xp.abs(x))
        softplus = xp.log1p(small) + xp.maximum(-x, 0)
        sigmoid = xp.where(x >= 0, 1, small) / (1 + small)
        positive = 1 if self.pos_weight is None else xp.asarray(self.pos_weight, dtype=x.dtype)
        share = 1 + (positive - 1) * target
        losses = (1 - target) * x + share * softplus
        gradient = (1 - target) - share * (1 - sigmoid)
        if self.weight is not None:
            weight = xp.asarray(self.weight, dtype=x.dtype)
            losses, gradient = losses * weight, gradient * weight
        if losses.shape != x.shape:
            raise ValueError(f"weight, pos_weight: they do not fit the prediction's shape {x.shape}")
        return losses, gradient


def _computed_with(x: Array) -> Array:
    """The array, half floats as single ones."""
    if x.dtype.kind not in "fV" and x.dtype.name != "bfloat16":
        raise TypeError(f"prediction: {x.dtype}; floating point numbers are wanted")
    return x.astype(np.float32) if x.dtype.itemsize < 4 else x
