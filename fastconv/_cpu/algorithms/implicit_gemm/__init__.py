"""Matrix products whose source panel is gathered while it is packed."""

from .algorithm import ImplicitGemm

ALGORITHMS = (ImplicitGemm(),)
