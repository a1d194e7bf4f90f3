"""``python -m bench networks``: whole networks, beside the engines that people run and train them with."""
