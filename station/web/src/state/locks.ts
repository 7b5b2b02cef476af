/** What an officer may press now, as pure rules: the server's locks, and the screen's own on top of them. */

import type { Inspection, State } from "../api/types";

export interface Moment {
  stale: boolean;
  vehicle: Inspection | null;
  /** Alarms the station told of before it could store them. */
  unstored: number;
  /** An order is on its way. */
  sending: boolean;
  /** Something changed only just. */
  dead: boolean;
}

const CLOSED: readonly State[] = ["decided", "referred_secondary", "aborted", "cleared_by_rule"];

/** Whether Release has a place on the screen: not without a vehicle, not after the decision. */
export function releaseStands({ stale, vehicle }: Moment): boolean {
  return stale || (vehicle !== null && !CLOSED.includes(vehicle.state));
}

/** Code of the first reason why Release is not free, or null. */
export function releaseLock({ stale, vehicle, unstored, sending, dead }: Moment): string | null {
  if (stale) return "stale";
  if (!vehicle) return "no_vehicle";
  const lock = vehicle.release.locks[0];
  if (lock) return lock.code;
  if (!vehicle.release.allowed) return "measuring";
  if (unstored > 0) return "not_stored";
  if (sending) return "pending";
  return dead ? "dead" : null;
}

/** Secondary asks for nothing but a vehicle that is not decided yet. */
export function secondaryFree({ stale, vehicle, sending, dead }: Moment): boolean {
  const open = vehicle !== null && !CLOSED.includes(vehicle.state);
  return open && !stale && !sending && !dead && !vehicle.release.locks.some((lock) => lock.code === "decided");
}
