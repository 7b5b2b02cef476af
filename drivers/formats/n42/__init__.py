"""ANSI N42.42-2012 documents of portals: read and written."""
