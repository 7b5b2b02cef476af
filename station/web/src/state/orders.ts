/** Orders of the officer on their way: never shown as done before the station says so. */

import { computed, effect, signal } from "@preact/signals";
import { type Problem, send } from "../api/client";
import type { DecisionBody, Directive, ImageReadBody, ObservationBody, ReceivedBody } from "../api/types";
import { code, t } from "./i18n";
import { picture } from "./image";
import {
  type Moment, readLock as readLockOf, releaseLock as lockOf, releaseStands as standsIn, secondaryFree as freeIn,
} from "./locks";
import { alarms, changedAt, DEAD_MS, dropRaw, inspection, lane, rawAlarms, stale, stationUs } from "./station";
import { view } from "./view";

export type Verdict = "release" | "secondary" | "hold";
export interface Seen { id: string | null; version: number; changed: number }

const RETRY_MS = 500;
const GIVE_UP_MS = 10_000;
const NOTE_MS = 6000;
/** Release or Secondary on its way. Hold has a flag of its own, because it waits for neither. */
export const pending = signal<"release" | "secondary" | null>(null);
export const holding = signal(false);
/** *Image read* on its way: the same vehicle has another version then. */
const reading = signal(false);
/** How often Hold was pressed: it ends what was ordered before, even if its own answer is here already. */
let holds = 0;
/** What the last recorded Release or Secondary was for: until the station shows what became of it, the same
 *  vehicle still looks undecided, and a second tap would be told that it changed. */
const recorded = signal<Seen | null>(null);
const shownYet = () => {
  const vehicle = inspection.value;
  return vehicle?.inspection_id !== recorded.value?.id || vehicle?.version !== recorded.value?.version;
};
/** The order that got no answer in time and is repeated. */
export const unconfirmed = signal<Verdict | null>(null);
export const note = signal<string | null>(null);
export const tick = signal(0);

export function startTicking(): void {
  setInterval(() => {
    tick.value = performance.now();
  }, 100);
}

/** What the officer has before their eyes at this moment. */
export function seen(): Seen {
  const vehicle = inspection.peek();
  return { id: vehicle?.inspection_id ?? null, version: vehicle?.version ?? 0, changed: changedAt.peek() };
}

const justChanged = () => performance.now() - changedAt.peek() < DEAD_MS;
export const dead = computed(() => {
  void tick.value;
  void changedAt.value;
  return justChanged();
});

function pictured(): boolean {
  const [scan, image] = [inspection.value?.scan, picture.value];
  return scan != null && scan.state !== "scanning" && image?.scan === scan.scan_id && image.complete;
}

const moment = computed<Moment>(() => ({
  stale: stale.value,
  vehicle: inspection.value,
  unstored: rawAlarms.value.length,
  pictured: pictured(),
  sending: pending.value !== null || holding.value || reading.value || !shownYet(),
  dead: dead.value,
}));
export const releaseStands = computed(() => standsIn(moment.value));
/** Code of the first reason why Release is not free. */
export const releaseLock = computed(() => lockOf(moment.value));
export const secondaryFree = computed(() => freeIn(moment.value));
/** Code of the first reason why *Image read* is not free. */
export const readLock = computed(() => readLockOf(moment.value));

/** Whether a press that began with ``from`` may still act: nothing changed since, and not only just. */
function counts(from: Seen): boolean {
  return from.changed === changedAt.peek() && !justChanged();
}

/** Gives an order for what was seen when the finger went down; a press begun before a change is void.
 *  It is repeated with the same key for a few seconds, unless the vehicle changes or Hold is pressed. */
export async function order(verdict: "release" | "secondary", from: Seen): Promise<void> {
  if (!counts(from) || pending.peek()) return;
  if (verdict === "release" ? releaseLock.peek() !== null : !secondaryFree.peek()) return;
  pending.value = verdict;
  note.value = null;
  const [began, holdsBefore] = [performance.now(), holds];
  const answered = await repeat(verdict, from, () => {
    const here = inspection.peek()?.inspection_id === from.id;
    return here && holds === holdsBefore && performance.now() - began < GIVE_UP_MS;
  });
  if (!answered && holds === holdsBefore) say(t("slot.unconfirmed"));
  pending.value = null;
}

/** Holds at once, whatever else is on its way, and repeats it with the same key until the station answers. */
export async function hold(from: Seen): Promise<void> {
  if (holding.peek()) return;
  holding.value = true;
  holds += 1;
  note.value = null;
  await repeat("hold", from, () => true);
  holding.value = false;
}

async function repeat(verdict: Verdict, from: Seen, again: () => boolean): Promise<boolean> {
  const key = crypto.randomUUID();
  const body: DecisionBody = { inspection_id: from.id, version: from.version, verdict };
  let answered = false;
  do {
    try {
      settle(verdict, from, await send("POST", "/v1/lane/decisions", body, key));
      answered = true;
    } catch {
      if (unconfirmed.peek() !== "hold") unconfirmed.value = verdict;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  } while (!answered && again());
  if (unconfirmed.peek() === verdict) unconfirmed.value = null;
  return answered;
}

function settle(verdict: Verdict, from: Seen, problem: Problem | null): void {
  if (problem) refuse(problem);
  else if (verdict === "hold") say(t("slot.held"));
  else recorded.value = from;
}

function refuse(problem: Problem): void {
  const known = code("note", problem.code);
  say(known === problem.code ? t("note.other", { code: problem.code }) : known);
}

let noteEnds: ReturnType<typeof setTimeout> | undefined;

function say(sentence: string): void {
  note.value = sentence;
  clearTimeout(noteEnds);
  noteEnds = setTimeout(() => {
    note.value = null;
  }, NOTE_MS);
}

let openedAt = 0;
/** A snapshot alone, which comes with every record, shows no other image. */
const shownImage = computed(() => [inspection.value?.inspection_id, picture.value?.scan].join());
/** Reading time counts from when this vehicle's image came up. */
effect(() => {
  void shownImage.value;
  if (view.value === "viewer") openedAt = performance.now();
});

/** Share of the scan's columns that are on the screen, by the snapshot's own count of them. */
function seenShare(): number {
  const [scan, image] = [inspection.peek()?.scan, picture.peek()];
  if (!scan || !image) return 0;
  return Math.min(1, (image.width << image.level) / Math.max(1, scan.width || scan.lines + scan.lines_lost));
}

/** The radiograph was read: for so long, and that share of its columns was on the screen. */
export async function readImage(from: Seen): Promise<void> {
  if (!from.id || !counts(from) || readLock.peek() !== null) return;
  reading.value = true;
  const body: ImageReadBody = {
    inspection_id: from.id, version: from.version,
    read_ms: Math.round(performance.now() - openedAt), seen_fraction: seenShare(),
  };
  await told(send("POST", "/v1/lane/image-reads", body));
  reading.value = false;
}

/** Acknowledges the alarm that was on the screen when the finger went down. */
export async function acknowledge(alarmId: string, from: Seen): Promise<void> {
  if (counts(from)) await told(toAlarm(alarmId, "ack"));
}

/** Says that somebody looked at the portal's tamper contact and found it closed. */
export async function clearTamper(device: string, from: Seen): Promise<void> {
  if (counts(from)) await told(send("POST", `/v1/lane/devices/${device}/tamper-clear`, {}));
}

/** *Received* on its way. */
export const receiving = signal(false);

/** Says that the order was received that was on the screen when the finger went down. */
export async function receive({ directive_id, version }: Directive, from: Seen): Promise<void> {
  if (!from.id || !counts(from) || receiving.peek()) return;
  receiving.value = true;
  const body: ReceivedBody = { inspection_id: from.id, version };
  await told(send("POST", `/v1/lane/directives/${directive_id}/ack`, body));
  receiving.value = false;
}

/** An observation on its way. */
export const observing = signal(false);

/** Records what seals or placards are at the vehicle that was on the screen when the finger went down. */
export async function observe(seen: Omit<ObservationBody, "inspection_id">, from: Seen): Promise<void> {
  if (!from.id || from.id !== inspection.peek()?.inspection_id || observing.peek()) return;
  observing.value = true;
  const problem = await send("POST", "/v1/lane/observations", { ...seen, inspection_id: from.id } satisfies ObservationBody)
    .catch(() => ({ code: "unanswered", status: 0 }));
  if (problem) refuse(problem);
  else say(t("closures.recorded"));
  observing.value = false;
}

export async function silence(from: Seen): Promise<void> {
  if (!counts(from)) return;
  for (const alarm of alarms.peek().filter((each) => each.state !== "ack")) {
    await told(toAlarm(alarm.alarm_id, "silence"));
  }
}

/** The station answers from its own list, where an alarm stands before it is stored: one it does not know is over. */
async function toAlarm(alarmId: string, what: "ack" | "silence"): Promise<Problem | null> {
  const problem = await send("POST", `/v1/lane/alarms/${alarmId}/${what}`, {});
  if (problem?.code !== "not-found") return problem;
  dropRaw((raw) => raw.alarm.alarm_id === alarmId);
  return { ...problem, code: "alarm-over" };
}

/** Says in words what the station refused or did not answer. */
async function told(sent: Promise<Problem | null>): Promise<void> {
  const problem = await sent.catch(() => ({ code: "unanswered", status: 0 }));
  if (problem) refuse(problem);
}

/** Seconds until the demonstration's scripted officer decides, or null. */
export const officerInS = computed(() => {
  void tick.value;
  const at = lane.value?.simulated_officer?.decides_utc_us;
  return at ? Math.max(0, Math.round((at - stationUs()) / 1e6)) : null;
});
