"""The recommendation: a pure function of frozen inputs, the highest rule that fires wins.

All reasons are kept, with their inputs and the hash of the rule set. Sites may raise levels; nothing here
lowers one, and nothing turns missing data into "clear". In and out are judged alike: the direction is no
input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from station.domain.closures import Seen, differences
from station.domain.manifest import ManifestMatch
from station.domain.norm import NORM, is_class_7
from station.domain.values import Args, Coverage, CoverageState, Incomplete, Level, Reason, Recommendation

MOST_DIFFERENCES = 16
"""Seals and placards that are told one by one; any of them asks for the same."""
MAX_HITS = 64
"""Orders of the centre for one vehicle; of more those go that ask for least."""
MAX_VOTES = 32
RANK = ("hold", "secondary", "scan", "notify")
"""Actions of a hold, the one that asks for most first."""
ORDER = (Level.CLEAR, Level.REVIEW_IMAGE, Level.SECONDARY, Level.HOLD, Level.EMERGENCY)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A device's own radiation alarm: counts of the alarming record and the device's limit."""

    device: str
    counts_sum: int | None
    limit: float | None


@dataclass(frozen=True, slots=True)
class Opinion:
    """The station's second opinion about one occupancy."""

    device: str
    outcome: str
    statistic: float | None = None
    threshold: float | None = None
    channel: str = "gamma"
    one_in: int | None = None
    """Of an alarm: in so many empty vehicles chance alone gives one."""
    reason: str | None = None
    """Why none was possible."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the officer is told of a hit, and whether somebody received it; no rule looks at it."""

    authority: str = ""
    note_en: str = ""
    note_es: str = ""
    steps: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    text: str = ""
    alarm_id: str | None = None
    within_s: int = 60
    since_s: float = 0.0
    """When it was told, monotonic seconds of the computer's boot ``boot_id``."""
    boot_id: str = ""
    officer: str | None = None
    """Who received it."""
    coming: bool = False
    """Whether that is on its way to the journal."""
    missed: bool = False
    """Whether the centre was told that nobody did."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A hold that names this vehicle; ``action`` is hold, secondary, scan or notify."""

    directive_id: str
    version: int
    action: str
    hold_kind: str
    discreet: bool
    order: Order = Order()


@dataclass(frozen=True, slots=True)
class Vote:
    """Another authority's word about this vehicle; ``modulation`` is red, green or unknown."""

    directive_id: str
    agency: str
    verdict: str
    modulation: str | None


@dataclass(frozen=True, slots=True)
class Directed:
    """What the centre's directives say of this vehicle, and what of it was compared with the papers."""

    hits: tuple[Hit, ...] = ()
    manifest: ManifestMatch | None = None
    """``None``: no source of manifests is fitted."""
    votes: tuple[Vote, ...] = ()
    modulation_required: bool = False
    seen: Seen | None = None
    """Seals and placards as an officer saw them at the vehicle."""

    def with_hit(self, hit: Hit) -> Directed:
        """Return this with one more hit; of too many those stay that ask for most."""
        hits = (*self.hits, hit)
        least = max(range(len(hits)), key=lambda n: (RANK.index(hits[n].action), -n))
        return replace(self, hits=hits[:least] + hits[least + 1 :] if len(hits) > MAX_HITS else hits)

    def with_vote(self, vote: Vote) -> Directed:
        """Return this with a vote, which takes the place of an earlier version of it."""
        return replace(self, votes=(*self.without_vote(vote.directive_id).votes, vote))

    def without_vote(self, directive_id: str) -> Directed:
        """Return this without a vote that was withdrawn."""
        return replace(self, votes=tuple(v for v in self.votes if v.directive_id != directive_id))

    @property
    def modulation(self) -> str | None:
        """Return why the fiscal selection closes Release, ``red`` or ``absent``: each agency's last word."""
        said = {vote.agency: vote.modulation for vote in self.votes if vote.modulation}
        if "red" in said.values():
            return "red"
        return "absent" if self.modulation_required and not said else None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the rules may look at."""

    coverage: Coverage
    required: frozenset[str]
    identity_status: str
    emergency: bool = False
    neutron: tuple[Alarm, ...] = ()
    gamma: tuple[Alarm, ...] = ()
    tamper: tuple[str, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    directed: Directed = Directed()


def _emergency(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    if facts.emergency:
        yield Level.EMERGENCY, Reason(rule="R1", code="emergency")


def _neutron(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    for alarm in facts.neutron:
        yield Level.HOLD, Reason(rule="R2", code="neutron_alarm", args=_alarm_args(facts, alarm, "neutron"))


def _directive(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    imaged = facts.coverage.scanner.state == CoverageState.DONE
    for hit in facts.directed.hits:
        level = Level.REVIEW_IMAGE if hit.action == "scan" and imaged else _ACTIONS[hit.action]
        args = {"directive": hit.directive_id, "action": hit.action, "kind": hit.hold_kind}
        yield level, Reason(rule="R3", code="directive_hit", args={**args, "discreet": hit.discreet})
    for vote in facts.directed.votes:
        if vote.verdict != "release":
            args = {"directive": vote.directive_id, "agency": vote.agency}
            yield _ACTIONS[vote.verdict], Reason(rule="R3", code=f"agency_{vote.verdict}", args=dict(args))


_ACTIONS = {
    "hold": Level.HOLD,
    "secondary": Level.SECONDARY,
    "scan": Level.SECONDARY,
    "notify": Level.CLEAR,  # told, and nothing more
}


def _gamma(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    for alarm in facts.gamma:
        yield Level.SECONDARY, Reason(rule="R4", code="gamma_alarm", args=_alarm_args(facts, alarm, "gamma"))
    if facts.gamma:
        yield from _declared(facts.directed.manifest)


def _declared(papers: ManifestMatch | None) -> Iterator[tuple[Level, Reason]]:
    """Say whether the vehicle's own papers explain a gamma alarm; whatever they say, it is to be verified."""
    if papers is None or papers.status != "matched":
        return
    for goods in papers.hazmat:
        if is_class_7(goods.un, goods.hazard_class):
            yield Level.SECONDARY, Reason(rule="R4", code="declared_class_7", args={"un": goods.un})
            return
    if papers.norm:
        heading = papers.norm[0]
        args: Args = {"goods": NORM[heading], "heading": heading}
        yield Level.SECONDARY, Reason(rule="R4", code="declared_norm", args=args)
        return
    yield Level.SECONDARY, Reason(rule="R4", code="not_declared")


def _portal(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    for device in facts.tamper:
        yield Level.SECONDARY, Reason(rule="R5", code="tamper", args={"device": device})
    yield from _missing(facts, "rpm", "R5", "rpm_missing")


def _second_opinion(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    alarmed = {(alarm.device, "gamma") for alarm in facts.gamma}
    alarmed |= {(alarm.device, "neutron") for alarm in facts.neutron}
    for opinion in facts.opinions:
        silent_device = opinion.outcome == "alarm" and (opinion.device, opinion.channel) not in alarmed
        if silent_device or opinion.outcome == "low_confidence":
            args: Args = {
                "device": opinion.device,
                "channel": opinion.channel,
                "outcome": opinion.outcome,
                "statistic": opinion.statistic,
                "threshold": opinion.threshold,
            }
            args |= {} if opinion.one_in is None else {"one_in": opinion.one_in}
            yield Level.REVIEW_IMAGE, Reason(rule="R6", code="second_opinion", args=args)
        elif opinion.outcome == "not_possible":  # told, and nothing more: the device has answered
            why: Args = {"device": opinion.device, "channel": opinion.channel, "lack": opinion.reason}
            yield Level.CLEAR, Reason(rule="R6", code="second_opinion_not_possible", args=why)


def _scan(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    yield from _missing(facts, "scanner", "R7", "scan_missing")


def _identity(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    state, reason = facts.coverage.lpr.state, facts.coverage.lpr.reason
    accepted = facts.identity_status == "accepted" and state == CoverageState.DONE
    if state != CoverageState.NOT_FITTED and not accepted:
        yield Level.SECONDARY, Reason(rule="R11", code="ident_missing", args={"reason": reason})


def _modulation(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    if (closed := facts.directed.modulation) is not None:
        yield Level.SECONDARY, Reason(rule="R10", code=f"modulation_{closed}")


def _closures(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    for found in islice(differences(facts.directed.seen, facts.directed.manifest), MOST_DIFFERENCES):
        yield (
            Level.SECONDARY,
            Reason(rule="R10", code=found.what, args={"name": found.name, "why": found.why}),
        )


def _manifest(facts: Facts) -> Iterator[tuple[Level, Reason]]:
    manifest = facts.directed.manifest
    if manifest is None:
        return
    args: Args = {"directive": manifest.directive_id, "lead_s": manifest.lead_s}
    if manifest.status == "none":
        yield Level.SECONDARY, Reason(rule="R11", code="manifest_none")
    elif manifest.status != "matched":
        yield Level.REVIEW_IMAGE, Reason(rule="R11b", code=f"manifest_{manifest.status}", args=args)
    if manifest.timeliness == "late":
        yield Level.REVIEW_IMAGE, Reason(rule="R11b", code="manifest_late", args=args)


RULES = (
    *(_emergency, _neutron, _directive, _gamma, _portal, _second_opinion, _scan),
    *(_closures, _modulation, _identity, _manifest),
)
"""R1 to R7, R10, R11 and R11b; R0 is what remains when none asks for anything."""

RULE_SET = "carril-rules 5: R0 R1 R2 R3 R4 R5 R6 R7 R10 R11 R11b"
RULES_SHA256 = hashlib.sha256(RULE_SET.encode()).hexdigest()


def recommend(facts: Facts) -> Recommendation:
    """Return the level and all reasons, the strongest first."""
    fired = [found for rule in RULES for found in rule(facts)]
    fired.sort(key=lambda found: -ORDER.index(found[0]))
    if not fired or fired[0][0] == Level.CLEAR:
        fired.append((Level.CLEAR, Reason(rule="R0", code="clear")))
    reasons = tuple(reason for _, reason in fired)
    return Recommendation(level=fired[0][0], reasons=reasons, rules_sha256=RULES_SHA256)


def incomplete(facts: Facts) -> Incomplete:
    """Return which required checks were not done."""
    return Incomplete(
        rpm=_is_missing(facts, "rpm"),
        image=_is_missing(facts, "scanner"),
        ident=any(_identity(facts)) or _is_missing(facts, "lpr") or _is_missing(facts, "ocr"),
    )


def _missing(facts: Facts, check: str, rule: str, code: str) -> Iterator[tuple[Level, Reason]]:
    if _is_missing(facts, check):
        reason = getattr(facts.coverage, check).reason
        yield Level.SECONDARY, Reason(rule=rule, code=code, args={"reason": reason})


def _is_missing(facts: Facts, check: str) -> bool:
    return check in facts.required and getattr(facts.coverage, check).state != CoverageState.DONE


def _alarm_args(facts: Facts, alarm: Alarm, channel: str) -> Args:
    """Return the alarm's numbers and, where the station's own test agrees, how rare chance alone is."""
    args: Args = {"device": alarm.device, "counts": alarm.counts_sum, "limit": alarm.limit}
    mine = [each for each in facts.opinions if (each.device, each.channel) == (alarm.device, channel)]
    known = [each.one_in for each in mine if each.one_in is not None]
    return args | {"one_in": min(known)} if known else args
