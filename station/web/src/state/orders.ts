/** Orders of the officer on their way: never shown as done before the station says so. */

import { computed, signal } from "@preact/signals";
import { type Problem, send } from "../api/client";
import { alarms, changedAt, DEAD_MS, inspection, lane, rawAlarms, stale, stationUs } from "./station";
import { code, t } from "./i18n";

export type Verdict = "release" | "secondary" | "hold";
export interface Seen { id: string | null; version: number; changed: number }

const RETRY_MS = 500;
const GIVE_UP_MS = 10_000;
export const pending = signal<Verdict | null>(null);
export const unconfirmed = signal(false);
export const note = signal<string | null>(null);
export const tick = signal(0);
setInterval(() => {
  tick.value = performance.now();
}, 100);

/** What the officer has before their eyes at this moment. */
export function seen(): Seen {
  const vehicle = inspection.peek();
  return { id: vehicle?.inspection_id ?? null, version: vehicle?.version ?? 0, changed: changedAt.peek() };
}

export const dead = computed(() => {
  void tick.value;
  return performance.now() - changedAt.value < DEAD_MS;
});

/** First reason why Release is not free: the server's locks, and our own on top. */
export const releaseLock = computed<string | null>(() => {
  if (stale.value) return t("lock.stale");
  const vehicle = inspection.value;
  if (!vehicle) return t("lock.no_vehicle");
  const lock = vehicle.release.locks[0];
  if (lock) return code("lock", lock.code);
  if (!vehicle.release.allowed) return t("lock.measuring");
  if (rawAlarms.value.length) return t("alarm.notstored");
  if (pending.value) return t("lock.pending");
  return dead.value ? t("lock.dead") : null;
});

export const secondaryFree = computed(() => {
  const vehicle = inspection.value;
  const done = vehicle?.release.locks.some((lock) => lock.code === "decided");
  return vehicle !== null && !stale.value && !done && !pending.value && !dead.value;
});

/** Whether a press that began with ``from`` may still act: nothing changed since, and not only just. */
function counts(from: Seen): boolean {
  return from.changed === changedAt.peek() && !dead.peek();
}

/** Gives an order for what was seen when the finger went down; a press begun before a change is void.
 *  Hold is repeated with the same key until the station answers; the others for a few seconds. */
export async function order(verdict: Verdict, from: Seen): Promise<void> {
  if (verdict === "hold") return hold(from);
  if (!counts(from) || pending.peek()) return;
  if (verdict === "release" && releaseLock.peek() !== null) return;
  if (verdict === "secondary" && !secondaryFree.peek()) return;
  pending.value = verdict;
  note.value = null;
  const began = performance.now();
  const sent = await repeat(verdict, from, () => {
    const here = inspection.peek()?.inspection_id === from.id;
    return here && pending.peek() === verdict && performance.now() - began < GIVE_UP_MS;
  });
  if (!sent) note.value = t("slot.pending");
  if (pending.peek() === verdict) pending.value = null;
}

let holding = false;

async function hold(from: Seen): Promise<void> {
  if (holding) return;
  holding = true;
  pending.value = "hold";
  await repeat("hold", from, () => true);
  holding = false;
  if (pending.peek() === "hold") pending.value = null;
}

async function repeat(verdict: Verdict, from: Seen, again: () => boolean): Promise<boolean> {
  const key = crypto.randomUUID();
  const body = { inspection_id: from.id, version: from.version, verdict };
  do {
    try {
      settle(verdict, await send("POST", "/v1/lane/decisions", body, key));
      unconfirmed.value = false;
      return true;
    } catch {
      unconfirmed.value = true;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  } while (again());
  unconfirmed.value = false;
  return false;
}

function settle(verdict: Verdict, problem: Problem | null): void {
  if (problem) {
    const known = code("note", problem.code);
    note.value = known === problem.code ? t("note.other", { code: problem.code }) : known;
  } else if (verdict === "hold") {
    note.value = t("slot.held");
  }
  setTimeout(() => {
    note.value = null;
  }, 6000);
}

/** The radiograph was read: ``shownS`` seconds of it, that share of its columns was on the screen. */
export async function readImage(from: Seen, shownMs: number, share: number): Promise<void> {
  if (!from.id || !counts(from)) return;
  const body = {
    inspection_id: from.id,
    version: from.version,
    read_ms: Math.round(shownMs),
    seen_fraction: share,
  };
  await told(send("POST", "/v1/lane/image-reads", body));
}

/** Acknowledges the alarm that was on the screen when the finger went down. */
export async function acknowledge(alarmId: string, from: Seen): Promise<void> {
  if (counts(from)) await told(send("POST", `/v1/lane/alarms/${alarmId}/ack`, {}));
}

export async function silence(from: Seen): Promise<void> {
  if (!counts(from)) return;
  for (const alarm of alarms.peek().filter((each) => each.state !== "ack")) {
    await told(send("POST", `/v1/lane/alarms/${alarm.alarm_id}/silence`, {}));
  }
}

/** Says in words what the station refused or did not answer. */
async function told(sent: Promise<Problem | null>): Promise<void> {
  const problem = await sent.catch(() => ({ code: "unanswered", status: 0 }));
  if (problem) settle("release", problem);
}

/** Seconds until the demonstration's scripted officer decides, or null. */
export const officerInS = computed(() => {
  void tick.value;
  const at = lane.value?.simulated_officer?.decides_utc_us;
  return at ? Math.max(0, Math.round((at - stationUs()) / 1e6)) : null;
});
