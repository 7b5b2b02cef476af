"""Portals that leave an N42 document of each passage in a folder."""
