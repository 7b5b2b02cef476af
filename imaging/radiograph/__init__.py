"""From raw detector lines to calibrated X-ray images."""
