"""A classifier of sentences (Kim, 2014)."""

from __future__ import annotations

from collections.abc import Sequence

from ..activation import ReLU
from ..containers import Concatenate, Sequential
from ..convolution import Conv1d
from ..dropout import Dropout
from ..embedding import Embedding
from ..linear import Flatten, Linear, Permute
from ..module import Composite
from ..pooling import AdaptiveMaxPool1d


class TextCNN(Composite):
    """See ``textcnn``."""

    def __init__(
        self,
        num_embeddings: int,
        num_classes: int,
        embedding_dim: int,
        channels: int,
        widths: Sequence[int],
        dropout: float,
        padding_idx: int | None,
    ) -> None:
        self.embedding = Embedding(num_embeddings, embedding_dim, padding_idx=padding_idx)
        branches = []
        for words in widths:
            filters = Conv1d(embedding_dim, channels, words)
            setattr(self, f"words{words}", filters)
            branches.append(Sequential(filters, ReLU(), AdaptiveMaxPool1d(1), Flatten()))
        self.dropout = Dropout(dropout)
        self.fc = Linear(len(branches) * channels, num_classes)
        self._route = Sequential(self.embedding, Permute((0, 2, 1)), Concatenate(*branches), self.dropout, self.fc)


def textcnn(
    num_embeddings: int = 20000,
    num_classes: int = 2,
    embedding_dim: int = 300,
    channels: int = 100,
    widths: Sequence[int] = (3, 4, 5),
    dropout: float = 0.5,
    padding_idx: int | None = None,
) -> TextCNN:
    """Kim's classifier of sentences: filters over words, the maximum of each over the sentence, a linear layer.

    Its input is an array of integers (N, words), the numbers of the words, at least as many as the widest filter.
    Integers have no gradient: ``backward(dy, wants_dx=False)``.

    Parameters
    ----------
    num_embeddings : int, default 20000
        How many words it knows.
    num_classes : int, default 2
    embedding_dim : int, default 300
        How many numbers stand for a word.
    channels : int, default 100
        Filters of each width.
    widths : ints, default (3, 4, 5)
        How many words a filter sees; layers are called ``words3``...
    dropout : float, default 0.5
    padding_idx : int, optional
        The word that fills up sentences; its numbers begin as zeros and are not trained.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.networks.textcnn(num_embeddings=50).eval()(np.zeros((2, 7), np.int64)).shape
    (2, 2)
    """
    return TextCNN(num_embeddings, num_classes, embedding_dim, channels, widths, dropout, padding_idx)
