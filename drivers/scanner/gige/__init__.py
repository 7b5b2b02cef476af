"""Line cameras over GigE Vision."""
