/** What an officer may press now, as pure rules: the server's locks, and the screen's own on top of them. */

import type { Inspection, State } from "../api/types";

export interface Moment {
  stale: boolean;
  vehicle: Inspection | null;
  /** Alarms the station told of before it could store them. */
  unstored: number;
  /** All of an ended scan is on the screen. */
  pictured: boolean;
  /** An order is on its way. */
  sending: boolean;
  /** Something changed only just. */
  dead: boolean;
}

const ORDERED: readonly State[] = ["decided", "referred_secondary"];
const ENDED: readonly State[] = ["aborted", "cleared_by_rule"];

/** An order stands, or is being written down. The state alone does not say so: an alarm, an emergency stop or
 *  Hold takes an order back, and with it the station's lock `decided`. */
const ordered = ({ release }: Inspection) => release.locks.some((lock) => lock.code === "decided");

/** Whether Release has a place on the screen: not without a vehicle, not while its decision stands. */
export function releaseStands({ stale, vehicle }: Moment): boolean {
  if (stale || !vehicle) return stale;
  return !ENDED.includes(vehicle.state) && !(ORDERED.includes(vehicle.state) && ordered(vehicle));
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

/** Secondary asks for nothing but a vehicle without an order that stands. */
export function secondaryFree({ stale, vehicle, sending, dead }: Moment): boolean {
  const open = vehicle !== null && !ENDED.includes(vehicle.state) && !ordered(vehicle);
  return open && !stale && !sending && !dead;
}

/** Code of the first reason why *Image read* is not free, or null: who saw a part has not read the image. */
export function readLock({ stale, vehicle, pictured, sending, dead }: Moment): string | null {
  if (stale) return "stale";
  if (!vehicle) return "no_vehicle";
  // A lane without scanner asks for the reading too, and takes it without an image.
  if (!pictured && vehicle.coverage.scanner.state !== "not_fitted") return "image_incomplete";
  if (sending) return "pending";
  return dead ? "dead" : null;
}
