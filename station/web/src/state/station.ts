/** Everything the station told us, and whether it still tells. The snapshot is drawn as it is: the browser
 *  holds no second state machine. */

import { batch, computed, signal } from "@preact/signals";
import type { Alarm, Lane, Live, Profile, Sample } from "../api/types";

export const STALE_S = 2.5;
export const LATE_S = 1.5;
export const DEAD_MS = 800;
const MAX_SAMPLES = 6000;
/** Heartbeats, one a second, after which every snapshot has a raw alarm in it, unless it is over; see `beat`. */
const SETTLED_BEATS = 30;

/** `perS`: gamma samples of a second; 1 also where nobody knows how long they count, and nothing is in counts per second. */
export interface Strips { aligned: boolean; perS: number; gamma: Sample[]; neutron: Sample[] }
const NONE: Strips = { aligned: false, perS: 1, gamma: [], neutron: [] };
/** An alarm that the station told of before it had stored it, and the seconds that it has told since. */
export interface Raw { alarm: Alarm; beats: number }

export const lane = signal<Lane | null>(null);
export const strips = signal<Strips>(NONE);
export const now = signal<Live["now"]>({ gamma_cps: null, neutron_cps: null });
export const columns = signal<{ scan: string; to: number } | null>(null);
export const rawAlarms = signal<Raw[]>([]);
export const ageS = signal(0);
export const tries = signal(0);
export const clockUs = signal(0);
/** When the vehicle or an alarm last changed: taps are dead for a moment. */
export const changedAt = signal(-DEAD_MS);

export const inspection = computed(() => lane.value?.inspection ?? null);
/** What the centre orders for it, the most urgent first. */
export const directives = computed(() => inspection.value?.directives ?? []);
export const stale = computed(() => lane.value === null || ageS.value > STALE_S);
export const alarms = computed<Alarm[]>(() => {
  const known = lane.value?.alarms ?? [];
  return [...rawAlarms.value.map((raw) => raw.alarm), ...known];
});
const RANK: Record<Alarm["state"], number> = { unack: 0, ack: 1, rtn_unack: 2 };
const CODES = ["neutron_alarm", "gamma_alarm"];
const rank = (alarm: Alarm) => {
  const code = CODES.indexOf(alarm.code);
  return [RANK[alarm.state], code < 0 ? CODES.length : code] as const;
};
export const radiates = (alarm: Alarm) => CODES.includes(alarm.code);
/** Whether it is of the vehicle in the lane, not of one that left. */
export const here = (alarm: Alarm) => alarm.inspection_id !== null && alarm.inspection_id === inspection.value?.inspection_id;
/** The P1s with a band of their own, the most urgent first: unacknowledged before seen, neutron before gamma.
 *  Radiation never loses its band to another alarm; where old data takes a band too, it is the one that stays. */
export const banded = computed<Alarm[]>(() => {
  const urgent = alarms.value.filter((alarm) => alarm.priority === 1);
  const [head, ...rest] = urgent.sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1]);
  const radiation = head && !radiates(head) ? rest.find(radiates) : undefined;
  if (!head || !radiation) return head ? [head] : [];
  return stale.value ? [radiation] : [head, radiation];
});
export const first = computed<Alarm | null>(() => banded.value[0] ?? null);

/** The station's own time now, in microseconds: a screen's clock may be wrong. */
export function stationUs(): number {
  return clockUs.peek() + Math.round((performance.now() - clockHeardAt) * 1000);
}
let clockHeardAt = 0;
export function setClock(utcUs: number): void {
  clockHeardAt = performance.now();
  clockUs.value = utcUs;
}

/** What the centre has fetched changes without a record. */
export function setCentre(centre: Lane["centre"]): void {
  const known = lane.peek();
  const same = known?.centre.state === centre.state && known.centre.waiting === centre.waiting;
  if (known && !same) lane.value = { ...known, centre };
}

/** Puts a new snapshot in place of the old one. */
export function show(next: Lane): void {
  const before = lane.peek();
  const ids = (list: Alarm[] = []) => list.map((alarm) => alarm.alarm_id).join();
  const bands = ids(banded.peek());
  const orders = (of: Lane | null) => of?.inspection?.directives.map((each) => `${each.directive_id} ${each.version}`).join() ?? "";
  batch(() => {
    lane.value = next;
    rawAlarms.value = rawAlarms.peek().filter(({ alarm: raw }) => !next.alarms.some((alarm) => alarm.alarm_id === raw.alarm_id));
    const vehicle = before?.inspection?.inspection_id !== next.inspection?.inspection_id;
    // An alarm that takes the band of another is new under the finger, as a new alarm is.
    const told = ids(before?.alarms) !== ids(next.alarms) || bands !== ids(banded.peek())
      || orders(before) !== orders(next);
    if (vehicle || told) changedAt.value = performance.now();
    if (vehicle) {
      strips.value = NONE;
      columns.value = null;
      now.value = { gamma_cps: null, neutron_cps: null };
    }
  });
}

export function addRaw(alarm: Alarm): void {
  if (alarms.peek().some((known) => known.alarm_id === alarm.alarm_id)) return;
  rawAlarms.value = [...rawAlarms.peek(), { alarm, beats: 0 }].slice(-20);
  changedAt.value = performance.now();
}

/** Takes away raw alarms that are over: what takes their place is new under the finger. */
export function dropRaw(over: (raw: Raw) => boolean): void {
  const left = rawAlarms.peek().filter((raw) => !over(raw));
  if (left.length === rawAlarms.peek().length) return;
  rawAlarms.value = left;
  changedAt.value = performance.now();
}

/** One heartbeat more: a raw alarm that no snapshot has listed for so long is over, and this screen missed how
 *  (stored, acknowledged and ended while it was not connected).
 *
 *  That one snapshot lacks it proves nothing, however high its `at`: snapshots show what is durable, and records
 *  that wait before the alarm's own come out before it, each with a snapshot from before the alarm. That of a new
 *  connection may be one of those. But the alarm's record cannot wait for long: the facts that wait are written as
 *  one, after what is being written and the few commands before them, and where the journal owes an answer for
 *  5 s the lane goes out of service, whose snapshots list the alarm, stored or not (HANG_LIMIT_S in
 *  station/lane/host.py). Half a minute of the station's life is room for five disks' worst. The heartbeats of
 *  unbroken streams count it: they come in one row with the snapshots, and neither a frozen page nor a clock that
 *  was set makes them faster. */
export function beat(): void {
  for (const raw of rawAlarms.peek()) raw.beats += 1;
  dropRaw((raw) => raw.beats > SETTLED_BEATS);
}

/** Adds samples that came since the last message. */
export function addLive(live: Live): void {
  now.value = live.now;
  if (live.inspection_id !== inspection.peek()?.inspection_id) return;
  const old = strips.peek();
  strips.value = joined(live.gamma_s, newer(old.gamma, live.gamma), newer(old.neutron, live.neutron));
}

/** Samples of one channel, the later ones added once. */
function newer(old: Sample[], more: Sample[]): Sample[] {
  const last = old.at(-1)?.[0] ?? -Infinity;
  return [...old, ...more.filter((sample) => sample[0] > last)].slice(-MAX_SAMPLES);
}

function joined(gammaS: number, gamma: Sample[], neutron: Sample[]): Strips {
  const perS = gammaS > 0 ? Math.max(1, Math.round(1 / gammaS)) : 1;
  return { aligned: gamma.length > 0 && gamma.every((sample) => sample[2] !== null), perS, gamma, neutron };
}

/** Replaces the strips by the station's own, better aligned ones. */
export function setProfile(profile: Profile): void {
  const rows = (strip: Profile["gamma"]): Sample[] =>
    strip.t_ms.map((t, i) => [t, strip.counts[i] ?? 0, strip.s_m?.[i] ?? null]);
  const old = strips.peek();
  const { gamma, neutron } = profile;
  strips.value = joined(gamma.dt_s, newer(rows(gamma), old.gamma), newer(rows(neutron), old.neutron));
}
