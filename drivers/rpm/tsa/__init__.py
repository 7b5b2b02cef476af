"""TSA and Rapiscan portals with the ASCII protocol."""
