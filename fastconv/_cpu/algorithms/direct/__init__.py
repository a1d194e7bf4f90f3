"""Few channels or pixels: register tiles that read the source where it lies, or a padded copy of a part of it."""

from .algorithm import Direct
from .few_filters import FewFilters

ALGORITHMS = (Direct(), FewFilters())
