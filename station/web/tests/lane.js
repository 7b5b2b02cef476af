/** Snapshots for tests: one vehicle that waits for a decision, and alarms. */

export const vehicle = (other = {}) => ({
  inspection_id: "v1", version: 3, state: "awaiting_decision", level: "clear", reasons: [],
  directives: [], release: { allowed: true, locks: [] }, scan: null, decision: null, flags: [], image_read: false,
  radiation: { gamma: { state: "done" }, neutron: { state: "done" }, hot_spots: [], unlocated: [] }, coverage: { scanner: { state: "done" } }, ...other,
});

/** A whole scan, and locks as the station gives them. */
export const scan = (other = {}) => ({
  scan_id: "s1", state: "complete", lines: 1000, lines_lost: 0, col_nose: 0, col_tail: 1000, px_mm_x: 5, ...other,
});
export const locked = (...codes) => ({ allowed: codes.length === 0, locks: codes.map((code) => ({ code, args: {} })) });

export const alarm = (other = {}) => ({
  alarm_id: "a1", code: "gamma_alarm", priority: 1, state: "unack", device: "rpm1", inspection_id: "v1",
  raised_utc_us: 1, silenced_until_utc_us: null, stored: true, values: {}, ...other,
});

export const centre = { state: "connected", waiting: 0 };
export const lane = (inspection, ...alarms) => ({ at: "e:1", time_zone: "UTC", devices: [], alarms, inspection, last: null, centre });
