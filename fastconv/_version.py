"""The library's version: read by the build, by ``fastconv.__version__`` and by the fingerprint of tuned choices."""

__version__ = "0.1.0"
