"""What the station has promised to keep: journal, blobs, feed."""
