"""Matrix products whose source panel is gathered while it is packed."""
