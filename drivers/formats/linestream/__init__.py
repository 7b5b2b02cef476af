"""linestream v1, the open line-scanner protocol: TCP and journal bytes to values and back, pure.

``frames`` cuts and checks messages, ``messages`` gives them meaning, ``describe`` reads what a
scanner says of itself.
"""
