"""The commands of the page on signing, as they stand there, against a running station."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.support.directives import OF_NOW
from tests.support.station import ROOT, running_station

PAGE = (ROOT / "docs" / "how-to" / "sign-a-directive.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_a_hold_that_is_signed_by_hand_is_taken_changed_refused_and_taken_back(tmp_path: Path) -> None:
    make_key, sign, send = blocks("sh")
    (toml,), (directive,), (program,) = blocks("toml"), blocks("json"), blocks("python")

    def run(commands: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", commands], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout

    for name, moment in OF_NOW.items():  # "Set the times"
        directive, count = re.subn(rf'"{name}": "[^"]*"', f'"{name}": "{moment}"', directive)
        assert count == 1
    (tmp_path / "H-771.json").write_text(directive, encoding="utf-8")
    (tmp_path / "sign.py").write_text(program, encoding="utf-8")
    public = run(make_key).split()[-1]
    issuer = re.sub(r'key = ".*"', f'key = "{public}"', toml)
    assert issuer != toml
    run(sign)
    with running_station(tmp_path, rate=5.0, more=f"\n{issuer}") as station:
        here = send.replace(":8080", f":{station.port}")
        assert here != send
        assert json.loads(run(here))["state"] == "received"
        station.until(lambda: station.records("directive.armed", directive_id="H-771"), "it is in force")

        body = tmp_path / "H-771.body"
        whole = body.read_text()
        body.write_text(whole.replace("HKV 9053", "HKV 9054"))
        assert "signature is not that of" in json.loads(run(here))["detail"]

        over = json.loads(directive) | {"version": 2}
        over["valid_from"] = over["valid_to"] = over["issued_at"]
        (tmp_path / "H-771.json").write_text(json.dumps(over))
        run(sign)
        assert json.loads(run(here))["version"] == 2
        assert station.get("/v1/directives/H-771").json()["state"] == "closed:withdrawn"
