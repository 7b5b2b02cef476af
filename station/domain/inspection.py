"""One vehicle's inspection as a pure state machine: what is known, what is missing, what was ordered.

    open ──▶ measuring ──▶ fusing ──▶ awaiting_decision ──▶ decided | referred_secondary ──▶ sealed
      └───────────┴───────────┴──────────────┴──▶ aborted ──▶ sealed

Time comes in as monotonic seconds; nothing here waits, stores or talks. A decision counts only once it
is stored (``order_stored``): permission to raise depends on its sequence number. ``version`` counts the
changes of state, coverage, identity, recommendation and locks; live data never changes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from station.domain.decision import ReleaseLocked, Standing, VersionConflict, release_locks
from station.domain.identity import PlateEvidence, resolve
from station.domain.rules import REQUIRABLE, Alarm, Facts, Opinion, incomplete, recommend
from station.domain.values import (
    Check,
    Coverage,
    CoverageState,
    Decision,
    Identity,
    Incomplete,
    Lock,
    Recommendation,
    Verdict,
)

MEASURE_LIMIT_S = 60.0
"""A required measurement that is not done by then has failed."""
MISSED_AT_BOOTH_S = 5.0
"""A vehicle that stands at the booth has passed portal, camera and scan plane: what has not begun by
then will not come."""
FUSE_LIMIT_S = 0.5
UNSEEN_LIMIT_S = 30.0
EXIT_LIMIT_S = 120.0

_ORDERS = frozenset({Verdict.RELEASE, Verdict.SECONDARY})


@dataclass(slots=True)
class Inspection:
    """State of one inspection. Every method takes ``now_s`` and leaves a consistent state behind."""

    inspection_id: str
    opened_by: str
    opened_utc_us: int
    opened_s: float
    required: frozenset[str]
    fitted: frozenset[str]
    state: str = "open"
    cause: str | None = None
    version: int = 1
    held: bool = False
    """A Hold was given: from then on Release needs a supervisor."""
    withdrawn: bool = False
    """A Hold took back the order that stood, or forbids any until a new one is given."""
    restarted: bool = False
    marks: set[str] = field(default_factory=set)
    """Flags beside held and restarted: tailgate, exit_unseen, second_vehicle …"""
    image_read: bool = False
    emergency: bool = False
    in_service: bool = True
    at_barrier: bool = False
    checks: dict[str, Check] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    pending_work: int = 0
    """Results that are being computed: they are worth waiting for while fusing."""
    reads: tuple[PlateEvidence, ...] = ()
    neutron: tuple[Alarm, ...] = ()
    gamma: tuple[Alarm, ...] = ()
    tamper: tuple[str, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    decisions: tuple[Decision, ...] = ()
    order: Decision | None = None
    """The release or referral that stands; its ``seq`` is ``None`` until it is stored."""
    order_s: float | None = None
    left_barrier: bool = False
    seen_s: float = 0.0
    booth_since_s: float | None = None
    fusing_since_s: float | None = None
    _shown: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        """Begin with every fitted check waiting and every other one not fitted."""
        self.seen_s = max(self.seen_s, self.opened_s)
        for name in REQUIRABLE:
            state = CoverageState.WAITING if name in self.fitted else CoverageState.NOT_FITTED
            self.checks.setdefault(name, Check(state=state))
        self._shown = self._visible()

    # --- what is known ------------------------------------------------------------------------

    @property
    def coverage(self) -> Coverage:
        """Return which checks were done and why not."""
        return Coverage.model_validate(self.checks)

    @property
    def identity(self) -> Identity:
        """Return who the vehicle is as far as the readers say."""
        return resolve(self.reads)

    @property
    def facts(self) -> Facts:
        """Return the frozen inputs of the rules."""
        return Facts(
            coverage=self.coverage,
            required=self.required,
            identity_status=self.identity.status,
            emergency=self.emergency,
            neutron=self.neutron,
            gamma=self.gamma,
            tamper=self.tamper,
            opinions=self.opinions,
        )

    @property
    def recommendation(self) -> Recommendation:
        """Return what the rules propose now; meaningful advice only from ``awaiting_decision`` on."""
        return recommend(self.facts)

    @property
    def incomplete(self) -> Incomplete:
        """Return which required checks are missing."""
        return incomplete(self.facts)

    @property
    def advised(self) -> bool:
        """Whether there is advice yet: before it, level is unknown, never clear."""
        return self.state not in ("open", "measuring", "fusing")

    @property
    def locks(self) -> tuple[Lock, ...]:
        """Return every lock on Release."""
        return release_locks(
            Standing(
                state=self.state,
                level=self.recommendation.level if self.advised else None,
                held=self.held,
                image_read=self.image_read,
                emergency=self.emergency,
                at_barrier=self.at_barrier,
                in_service=self.in_service,
                ordered=self.order is not None and not self.withdrawn,
            )
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the flags of the record, sorted."""
        own = {name for name in ("held", "restarted") if getattr(self, name)}
        return tuple(sorted(own | self.marks))

    @property
    def permit(self) -> bool:
        """Whether permission to raise may stand: a stored order, the vehicle at the barrier, no hold."""
        return (
            self.order is not None
            and self.order.seq is not None
            and not self.withdrawn
            and not self.emergency
            and self.in_service
            and (self.at_barrier or self.left_barrier)
        )

    @property
    def over(self) -> bool:
        """Whether nothing but sealing remains."""
        return self.state == "aborted"

    # --- measurements ---------------------------------------------------------------------------

    def begin(self, check: str, now_s: float) -> None:
        """Take note that a measurement of this vehicle began."""
        self.running.add(check)
        self.seen(now_s)
        if self.state == "open" and check in ("rpm", "scanner"):
            self.state = "measuring"
        self._settle(now_s)

    def finish(self, check: str, now_s: float, reason: str | None = None, fraction: float = 1.0) -> None:
        """Take note that a measurement is done (no ``reason``) or failed.

        A check that failed once stays failed unless a later measurement of the same vehicle is whole,
        and a check that was done becomes failed when a later one is not: two occupancies of one vehicle
        are both evidence.
        """
        self.running.discard(check)
        before = self.checks[check]
        late = before.state == CoverageState.FAILED and before.reason in ("timeout", "link")
        if reason is None and (before.state != CoverageState.FAILED or late):
            self.checks[check] = Check(state=CoverageState.DONE, fraction=fraction)
        elif reason is not None:
            self.checks[check] = Check(state=CoverageState.FAILED, reason=reason, fraction=fraction)
        if self.state == "open" and check in ("rpm", "scanner"):
            self.state = "measuring"
        self._settle(now_s)

    def read(self, evidence: PlateEvidence, now_s: float) -> None:
        """Add one camera event; an accepted identity makes the plate check done."""
        self.reads = (*self.reads, evidence)[-16:]
        self.seen(now_s)
        identity = self.identity
        if identity.status == "accepted":
            self.checks["lpr"] = Check(state=CoverageState.DONE, fraction=1.0)
        else:
            self.checks["lpr"] = Check(state=CoverageState.FAILED, reason="unreadable")
        self._settle(now_s)

    def alarm(self, channel: str, alarm: Alarm) -> None:
        """Keep a device's radiation alarm; it never goes away."""
        if channel == "neutron":
            self.neutron = (*self.neutron, alarm)[:8]
        else:
            self.gamma = (*self.gamma, alarm)[:8]
        self._touch()

    def tampered(self, device: str) -> None:
        """Keep that a device was open during this inspection."""
        if device not in self.tamper:
            self.tamper = (*self.tamper, device)[:8]
            self._touch()

    def opine(self, opinion: Opinion) -> None:
        """Add the station's second opinion about one occupancy."""
        self.opinions = (*self.opinions, opinion)[:8]
        self._touch()

    def work(self, delta: int, now_s: float) -> None:
        """Count results that are still being computed."""
        self.pending_work = max(0, self.pending_work + delta)
        self._settle(now_s)

    def links_lost(self, checks: frozenset[str], now_s: float) -> None:
        """Fail what has not begun and cannot: its device is gone and the vehicle stands at the booth."""
        if not self.at_barrier:
            return
        for check in checks & self.fitted:
            if self.checks[check].state == CoverageState.WAITING and check not in self.running:
                self.checks[check] = Check(state=CoverageState.FAILED, reason="link")
        self._settle(now_s)

    # --- the vehicle ----------------------------------------------------------------------------

    def seen(self, now_s: float) -> None:
        """Some device sees a vehicle."""
        self.seen_s = now_s

    def booth(self, occupied: bool, now_s: float, *, passing: bool = False) -> None:
        """The booth loop changed; ``passing``: the vehicle is under the arm or on the exit loop.

        A vehicle that leaves the loop backwards loses its permission; one that leaves under the arm
        keeps it until it has cleared the exit loop.
        """
        if not occupied and passing and self.permit:
            self.left_barrier = True
        self.at_barrier = occupied
        self.booth_since_s = now_s if occupied else None
        self.seen(now_s)
        self._touch()

    def still_here(self) -> None:
        """After a restart the vehicle stands where its order had been carried out: it must be given again."""
        self.left_barrier = False
        self.order = None
        self.order_s = None
        self.state = "awaiting_decision"
        self._touch()

    def set_emergency(self, on: bool) -> None:
        """The emergency-stop incident began or was closed."""
        self.emergency = on
        self._touch()

    def set_service(self, on: bool) -> None:
        """The lane went out of service or came back."""
        self.in_service = on
        self._touch()

    def mark(self, flag: str) -> None:
        """Set a flag of the record."""
        self.marks.add(flag)
        self._touch()

    def abort(self, cause: str) -> None:
        """End without an executed order."""
        self.state = "aborted"
        self.cause = cause
        self._touch()

    # --- people ---------------------------------------------------------------------------------

    def image_was_read(self, version: int) -> None:
        """An officer has read the radiograph."""
        self.check_version(version)
        self.image_read = True
        self._touch()

    def check_version(self, version: int) -> None:
        """Refuse a command that was given for another state of things."""
        if version != self.version:
            raise VersionConflict(
                f"The vehicle changed: version {version} was on the screen, {self.version} is true now. "
                "Nothing was done."
            )

    def give_order(self, decision: Decision, version: int, now_s: float) -> None:
        """Accept an order for writing down, or refuse it; nothing moves before it is stored."""
        if decision.verdict == Verdict.HOLD:
            self.hold()
            return
        self.check_version(version)
        if decision.verdict not in _ORDERS:
            raise ReleaseLocked(f"{decision.verdict} is not offered by this lane yet")
        standing = self.order is not None and not self.withdrawn
        written = self.order is not None and self.order.seq is None
        if standing or written or self.left_barrier or self.over:
            raise ReleaseLocked("A decision stands already", self.locks)
        if decision.verdict == Verdict.RELEASE and self.locks:
            raise ReleaseLocked("Release is locked", self.locks)
        self.order = decision
        self.order_s = now_s
        self.withdrawn = False
        self._touch()

    def hold(self) -> None:
        """Withdraw permission at once; afterwards Release needs a supervisor."""
        self.held = True
        self.withdrawn = True
        self._touch()

    def order_stored(self, decision: Decision) -> None:
        """The order (or hold) is durable under ``decision.seq``."""
        self.decisions = (*self.decisions, decision)[-32:]
        if decision.verdict in _ORDERS and self.order is not None and not self.over:
            self.order = decision
            released = decision.verdict == Verdict.RELEASE
            self.state = "decided" if released else "referred_secondary"
        self._touch()

    def order_lost(self) -> None:
        """The order could not be stored: as if it had never been given."""
        if self.order is not None and self.order.seq is None:
            self.order = None
            self.order_s = None
            self._touch()

    # --- time -----------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Let time-outs happen."""
        if self.state in ("open", "measuring"):
            at_booth = self.booth_since_s is not None and now_s - self.booth_since_s >= MISSED_AT_BOOTH_S
            too_old = now_s - self.opened_s >= MEASURE_LIMIT_S
            for check, known in self.checks.items():
                waits = known.state == CoverageState.WAITING
                if waits and (too_old or (at_booth and check not in self.running)):
                    self.checks[check] = Check(state=CoverageState.FAILED, reason="timeout")
        undecided = self.order is None or self.withdrawn
        if undecided and not self.over and now_s - self.seen_s >= UNSEEN_LIMIT_S:
            self.abort("vehicle_gone")
        self._settle(now_s)

    def exit_overdue(self, now_s: float) -> bool:
        """Whether an executed order is so old that the record must be sealed without the exit loop."""
        stored = self.order is not None and self.order.seq is not None
        return stored and self.order_s is not None and now_s - self.order_s >= EXIT_LIMIT_S

    def _settle(self, now_s: float) -> None:
        """Move on as far as the facts allow."""
        if self.state in ("open", "measuring") and not self._waiting():
            self.state = "fusing"
            self.fusing_since_s = now_s
        if self.state == "fusing":
            since_s = now_s if self.fusing_since_s is None else self.fusing_since_s
            if self.pending_work == 0 or now_s - since_s >= FUSE_LIMIT_S:
                self.state = "awaiting_decision"
        self._touch()

    def _waiting(self) -> bool:
        needed = self.required | self.running
        return any(self.checks[name].state == CoverageState.WAITING for name in needed)

    def _touch(self) -> None:
        shown = self._visible()
        if shown != self._shown:
            self._shown = shown
            self.version += 1

    def _visible(self) -> tuple[object, ...]:
        checks = tuple(self.checks.items())
        advice = self.recommendation if self.advised else None
        stored = self.order is not None and self.order.seq is not None
        return (self.state, checks, self.identity, advice, self.locks, self.flags, stored, self.withdrawn)
