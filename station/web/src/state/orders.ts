/** Orders of the officer on their way: never shown as done before the station says so. */

import { computed, signal } from "@preact/signals";
import { type Problem, send } from "../api/client";
import { alarms, changedAt, clockUs, DEAD_MS, inspection, lane, stale } from "./station";
import { code, t } from "./i18n";

export type Verdict = "release" | "secondary" | "hold";
export interface Seen { id: string | null; version: number; changed: number }

const RETRY_MS = 500;
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
  if (pending.value) return t("lock.pending");
  return dead.value ? t("lock.dead") : null;
});

export const secondaryFree = computed(() => {
  const vehicle = inspection.value;
  const done = vehicle?.release.locks.some((lock) => lock.code === "decided");
  return vehicle !== null && !stale.value && !done && !pending.value && !dead.value;
});

/** Gives an order for what was seen when the finger went down; a press begun before a change is void. */
export async function order(verdict: Verdict, from: Seen): Promise<void> {
  const hold = verdict === "hold";
  if (!hold && (from.changed !== changedAt.peek() || dead.peek() || pending.peek())) return;
  if (verdict === "release" && releaseLock.peek() !== null) return;
  if (verdict === "secondary" && !secondaryFree.peek()) return;
  pending.value = verdict;
  note.value = null;
  const key = crypto.randomUUID();
  const body = { inspection_id: from.id, version: from.version, verdict };
  for (;;) {
    try {
      settle(verdict, await send("POST", "/v1/lane/decisions", body, key));
      break;
    } catch {
      unconfirmed.value = true;
      if (!hold && inspection.peek()?.inspection_id !== from.id) break;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  pending.value = null;
  unconfirmed.value = false;
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

export async function readImage(startedAt: number): Promise<boolean> {
  const vehicle = inspection.peek();
  if (!vehicle) return false;
  const body = {
    inspection_id: vehicle.inspection_id,
    version: vehicle.version,
    read_ms: Math.round(performance.now() - startedAt),
    seen_fraction: 1,
  };
  const problem = await send("POST", "/v1/lane/image-reads", body).catch(() => ({ code: "other", status: 0 }));
  if (problem) settle("release", problem);
  return problem === null;
}

export function acknowledge(alarmId: string): void {
  void send("POST", `/v1/lane/alarms/${alarmId}/ack`, {}).catch(() => null);
}

export function silence(): void {
  for (const alarm of alarms.peek().filter((each) => each.state !== "ack")) {
    void send("POST", `/v1/lane/alarms/${alarm.alarm_id}/silence`, {}).catch(() => null);
  }
}

/** Seconds until the demonstration's scripted officer decides, or null. */
export const officerInS = computed(() => {
  void tick.value;
  const at = lane.value?.simulated_officer?.decides_utc_us;
  return at ? Math.max(0, Math.round((at - Math.max(clockUs.value, Date.now() * 1000)) / 1e6)) : null;
});
