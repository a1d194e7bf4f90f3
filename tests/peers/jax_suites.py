"""A plugin of pytest: JAX's own tests of ``lax``'s convolutions call fastconv."""

from __future__ import annotations

from fastconv.compat import lax

lax.install()
