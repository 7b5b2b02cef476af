"""Print how many mutants of each file the tests saw; status 1 when a file has less than the goal.

``python scripts/mutation_score.py FOLDER PERCENT``, where FOLDER is what mutmut leaves behind. A mutant that
never ended counts as seen, one that no test reaches as not seen.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SURVIVED, UNREACHED = 0, 33
"""Exit codes of a run of the tests, as mutmut keeps them."""


def main() -> int:
    """Print one line a file, then the names of what was not seen."""
    folder, goal = Path(sys.argv[1]), float(sys.argv[2])
    unseen: list[str] = []
    missed = False
    for path in sorted(folder.rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        if not codes:
            continue
        if None in codes.values():
            sys.exit(f"{path}: not all of its mutants were tried")
        left = [name for name, code in codes.items() if code in (SURVIVED, UNREACHED)]
        score = 100 * (1 - len(left) / len(codes))
        missed |= score < goal
        unseen += left
        file = str(path.relative_to(folder)).removesuffix(".meta")
        print(f"{file}: {score:.1f} % of {len(codes)} mutants seen, goal {goal:g} %")
    print(*unseen, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
