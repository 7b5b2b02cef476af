"""One vehicle's inspection as a pure state machine: what is known, what is missing, what was ordered.

    open ──▶ measuring ──▶ fusing ──▶ awaiting_decision ──▶ decided | referred_secondary ──▶ sealed
      └───────────┴───────────┴──────────────┴──▶ aborted ──▶ sealed

Time comes in as monotonic seconds; nothing here waits, stores or talks. A decision counts only once it
is stored (``order_stored``): permission to raise depends on its sequence number. ``version`` counts the
changes of state, coverage, identity, recommendation and locks; live data never changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from station.domain import advice
from station.domain.coverage import Checks
from station.domain.decision import ReleaseLocked, VersionConflict
from station.domain.identity import PlateEvidence, resolve
from station.domain.rules import ORDER, Alarm, Directed, Opinion, incomplete, recommend
from station.domain.values import Coverage, Decision, Identity, Incomplete, Lock, Recommendation, Verdict

MEASURE_LIMIT_S = 60.0
"""A required measurement that is not done by then has failed."""
MISSED_AT_BOOTH_S = 5.0
"""A vehicle at the booth has passed every device: what has not begun by then will not come."""
FUSE_LIMIT_S = 0.5
UNSEEN_LIMIT_S = 30.0
EXIT_LIMIT_S = 120.0
BLIND_LIMIT_S = 2.0
"""Unread loops hide no exchange of vehicles for so long; after it the board has dropped its outputs too."""

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
    patience_s: Mapping[str, float] = field(default_factory=dict)
    """For how long at the booth a check that has not begun is waited for, where it is told afterwards."""
    state: str = "open"
    cause: str | None = None
    version: int = 1
    held: bool = False
    """A Hold was given, or a referral taken back: from then on Release needs a supervisor."""
    withdrawn: bool = False
    """Permission was taken back from a vehicle that had left the barrier under its order."""
    restarted: bool = False
    marks: set[str] = field(default_factory=set)
    """Flags beside held and restarted: tailgate, exit_unseen, second_vehicle …"""
    image_read: bool = False
    emergency: bool = False
    in_service: bool = True
    at_barrier: bool = False
    checks: Checks = field(init=False)
    pending_work: int = 0
    """Results that are being computed: they are worth waiting for while fusing."""
    reads: tuple[PlateEvidence, ...] = ()
    neutron: tuple[Alarm, ...] = ()
    gamma: tuple[Alarm, ...] = ()
    tamper: tuple[str, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    directed: Directed = field(default_factory=Directed)
    decisions: tuple[Decision, ...] = ()
    order: Decision | None = None
    """The release or referral that stands; its ``seq`` is ``None`` until it is stored."""
    order_s: float | None = None
    left_barrier: bool = False
    lost_at_barrier_s: float | None = None
    """When the loops could no longer be read, with the vehicle at the barrier."""
    seen_s: float = 0.0
    booth_since_s: float | None = None
    fusing_since_s: float | None = None
    _order_rank: int = 0
    """Level for which the order was given, and the state then."""
    _state_before: str = "awaiting_decision"
    _permitted: bool = False
    _shown: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        """Begin with nothing measured."""
        self.seen_s = max(self.seen_s, self.opened_s)
        self.checks = Checks(self.fitted, self.required)
        self._shown = advice.visible(self)

    # --- what is known ------------------------------------------------------------------------

    @property
    def coverage(self) -> Coverage:
        """Return which checks were done, and why not."""
        return self.checks.coverage

    @property
    def identity(self) -> Identity:
        """Return who the vehicle is as far as the readers say."""
        return resolve(self.reads)

    @property
    def recommendation(self) -> Recommendation:
        """Return what the rules propose now; meaningful advice only from ``awaiting_decision`` on."""
        return recommend(advice.facts(self))

    @property
    def incomplete(self) -> Incomplete:
        """Return which required checks are missing."""
        return incomplete(advice.facts(self))

    @property
    def advised(self) -> bool:
        """Whether there is advice yet: before it, level is unknown, never clear."""
        return self.state not in ("open", "measuring", "fusing")

    @property
    def locks(self) -> tuple[Lock, ...]:
        """Return every lock on Release."""
        return advice.locks(self)

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

    # --- measurements ---------------------------------------------------------------------------

    def begin(self, check: str, now_s: float) -> str | None:
        """Take note that a measurement of this vehicle began; return why it counts for nothing, if so."""
        late = self.checks.begun(check, now_s, settled=self.at_barrier)
        self.seen(now_s)
        if self.state == "open" and check in ("rpm", "scanner"):
            self.state = "measuring"
        self._settle(now_s)
        return late

    def finish(self, check: str, now_s: float, reason: str | None = None, fraction: float = 1.0) -> None:
        """Take note that a measurement is whole (no ``reason``) or failed."""
        self.checks.ended(check, reason, fraction)
        if self.state == "open" and check in ("rpm", "scanner"):
            self.state = "measuring"
        self._settle(now_s)

    def doubt(self, check: str, reason: str) -> None:
        """A check is not to be trusted for this vehicle."""
        self.checks.doubt(check, reason)
        self._touch()

    def read(self, evidence: PlateEvidence, now_s: float) -> None:
        """Add one camera event; an accepted identity makes the plate check done."""
        self.reads = (*self.reads, evidence)[-16:]
        self.checks.running["lpr"] = max(0, self.checks.running["lpr"] - 1)
        self.seen(now_s)
        accepted = self.identity.status == "accepted"
        self.checks.set("lpr", None if accepted else "unreadable", 1.0 if accepted else 0.0)
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

    def direct(self, directed: Directed) -> None:
        """Take what the centre's directives say of this vehicle."""
        self.directed = directed
        self._touch()

    def opine(self, opinion: Opinion) -> None:
        """Add the station's second opinion about one occupancy; of too many the quiet ones are dropped."""
        self.opinions = tuple(sorted((*self.opinions, opinion), key=lambda o: o.outcome == "no_alarm")[:8])
        self._touch()

    def work(self, delta: int, now_s: float) -> None:
        """Count results that are still being computed."""
        self.pending_work = max(0, self.pending_work + delta)
        self._settle(now_s)

    def links_lost(self, checks: frozenset[str], now_s: float) -> None:
        """Fail what has not begun and cannot: its device is gone and the vehicle stands at the booth."""
        if not self.at_barrier:
            return
        for check in checks & frozenset(self.checks.waiting()):
            if not self.checks.running[check]:
                self.checks.presume(check, "link")
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

    def out_of_sight(self, now_s: float) -> None:
        """The loops cannot be read: nobody knows where the vehicle is, so there is no permission."""
        if self.at_barrier:
            self.lost_at_barrier_s = now_s
        if self.left_barrier:
            self.withdrawn = True
        self.at_barrier, self.booth_since_s = False, None
        self._touch()

    def in_sight(self, at_booth: bool, now_s: float) -> None:
        """The loops are read again (or for the first time): what stands there may be another vehicle.

        After more than ``BLIND_LIMIT_S`` a vehicle at the booth needs its order anew, since the one that had
        it may have left unseen. With nobody there any more, the vehicle left under its order.
        """
        lost_s, self.lost_at_barrier_s = self.lost_at_barrier_s, None
        self.at_barrier = at_booth
        long = lost_s is None or now_s - lost_s > BLIND_LIMIT_S
        gone = lost_s is not None and not at_booth
        stored = self.order is not None and self.order.seq is not None
        if stored and gone:
            self.left_barrier, self.withdrawn = True, self.withdrawn or long
        elif self.order is not None and (gone or (at_booth and long)):
            self.left_barrier = False
            self.withdraw()
        self._touch()

    def withdraw(self) -> None:
        """Take permission back: the order must be given anew; of a referral a lock on Release stays."""
        if self.left_barrier:
            self.withdrawn = True
        elif self.order is not None:
            self.held |= self.order.verdict == Verdict.SECONDARY
            self.order = self.order_s = None
            if self.state in ("decided", "referred_secondary"):
                self.state = self._state_before
        self._touch()

    def set_lane(self, *, emergency: bool | None = None, in_service: bool | None = None) -> None:
        """An emergency-stop incident began or was closed; the lane went out of service or came back."""
        self.emergency = self.emergency if emergency is None else emergency
        self.in_service = self.in_service if in_service is None else in_service
        self._touch()

    def mark(self, flag: str) -> None:
        """Set a flag of the record."""
        self.marks.add(flag)
        self._touch()

    def abort(self, cause: str) -> None:
        """End without an executed order."""
        self.state = "aborted"
        self.cause = cause
        if self.order is not None and self.order.seq is None:
            self.order = self.order_s = None
        self._touch()

    # --- people ---------------------------------------------------------------------------------

    def image_was_read(self, of_now: bool = True) -> None:
        """An officer has read the radiograph; of an image that another one replaced it counts for nothing."""
        self.image_read |= of_now
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
        if self.order is not None or self.state == "aborted":
            raise ReleaseLocked("A decision stands already", self.locks)
        if decision.verdict == Verdict.RELEASE and self.locks:
            raise ReleaseLocked("Release is locked", self.locks)
        self.order, self.order_s = decision, now_s
        self.withdrawn = self._permitted = False
        self._order_rank = ORDER.index(self.recommendation.level)
        self._touch()

    def hold(self) -> None:
        """Withdraw permission at once; afterwards Release needs a supervisor."""
        self.held = True
        self.withdraw()

    def order_stored(self, decision: Decision) -> None:
        """The order (or hold) is durable under ``decision.seq``; one that was taken back is history."""
        self.decisions = (*self.decisions, decision)[-32:]
        given = decision.model_copy(update={"seq": None})
        if self.order == given and self.state != "aborted":
            self.order, self._state_before = decision, self.state
            released = decision.verdict == Verdict.RELEASE
            self.state = "decided" if released else "referred_secondary"
        self._touch()

    def order_lost(self) -> None:
        """The order could not be stored: as if it had never been given."""
        if self.order is not None and self.order.seq is None:
            self.order = self.order_s = None
            self._touch()

    # --- time -----------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Let time-outs happen."""
        at_booth_s = 0.0 if self.booth_since_s is None else now_s - self.booth_since_s
        if self.state in ("open", "measuring"):
            too_old = now_s - self.opened_s >= MEASURE_LIMIT_S
            for check in self.checks.waiting():
                missed = at_booth_s >= self.patience_s.get(check, MISSED_AT_BOOTH_S)
                if too_old or (missed and not self.checks.running[check]):
                    self.checks.presume(check, "timeout")
        self.checks.give_up(now_s - MEASURE_LIMIT_S)
        alarmed = bool(self.neutron or self.gamma)  # such a vehicle is not forgotten
        unseen = now_s - self.seen_s >= UNSEEN_LIMIT_S and not alarmed
        if self.order is None and self.state != "aborted" and unseen:
            self.abort("vehicle_gone")
        self._settle(now_s)

    def exit_overdue(self, now_s: float) -> bool:
        """Whether an executed order is so old that the record must be sealed without the exit loop."""
        given_s = self.order_s if self.order is not None and self.order.seq is not None else None
        return given_s is not None and now_s - given_s >= EXIT_LIMIT_S

    def _settle(self, now_s: float) -> None:
        """Move on as far as the facts allow."""
        if self.state in ("open", "measuring") and not self.checks.unfinished:
            self.state = "fusing"
            self.fusing_since_s = now_s
        if self.state == "fusing":
            since_s = self.fusing_since_s or now_s
            if self.pending_work == 0 or now_s - since_s >= FUSE_LIMIT_S:
                self.state = "awaiting_decision"
        self._touch()

    def _touch(self) -> None:
        self._withdraw_what_fell()
        shown = advice.visible(self)
        if shown != self._shown:
            self._shown = shown
            self.version += 1

    def _withdraw_what_fell(self) -> None:
        """Permission that ended does not come back by itself, nor one for less than is known by now."""
        order = self.order
        if order is None or self.left_barrier:
            return
        blind = self.lost_at_barrier_s is not None
        ended = self._permitted and not self.permit and not blind
        stopped = self.emergency or not self.in_service
        worse = order.verdict == Verdict.RELEASE and (
            ORDER.index(self.recommendation.level) > self._order_rank or bool(self.checks.measuring)
        )
        if ended or stopped or worse:
            self.withdraw()
        self._permitted = self.permit or (self._permitted and blind)
