/** The station's snapshot, as station/domain/view.py writes it. Codes, never prose. */

export type Args = Record<string, string | number | boolean | null>;
export interface Lock { code: string; args: Args }
export interface Reason { rule: string; code: string; args: Args }
export interface Check { state: "waiting" | "done" | "not_fitted" | "failed" | "bypassed"; reason: string | null; fraction: number }
export type CheckName = "rpm" | "scanner" | "lpr" | "ocr" | "manifest";
export interface Plate { text: string; region: string; status: string; confidence: number | null }
export interface Channel { state: string; max_cps: number | null; limit_cps: number | null; background_cps: number | null; alarm: boolean }
export interface Scan {
  scan_id: string; device: string; state: "scanning" | "complete" | "incomplete"; cause: string | null;
  lines: number; lines_lost: number; height: number; px_mm_x: number; px_mm_y: number;
  col_nose: number | null; col_tail: number | null; calibration: string; starved_m2: number; image: string | null;
}
export interface Inspection {
  inspection_id: string; version: number; state: string; flags: string[];
  identity: { status: string; plate: Plate | null; container: Plate | null };
  level: string | null; reasons: Reason[]; coverage: Record<CheckName, Check>;
  release: { allowed: boolean; locks: Lock[] }; radiation: { gamma: Channel; neutron: Channel };
  scan: Scan | null; image_read: boolean; decision: { verdict: string } | null;
  photo: string | null; plate_photo: string | null;
}
export interface Alarm {
  alarm_id: string; code: string; priority: number; state: "unack" | "ack" | "rtn_unack"; device: string | null;
  inspection_id: string | null; raised_utc_us: number; silenced_until_utc_us: number | null; stored: boolean; values: Args;
}
export interface Device { name: string; role: string; required: boolean; state: string; cause: string | null }
export interface Lane {
  at: string; lane_id: string; name: string; site: string; direction: "in" | "out"; time_zone: string; mode: string;
  mode_cause: string | null; condition: string; condition_reasons: string[]; simulated: boolean; officer: string;
  devices: Device[]; alarms: Alarm[]; inspection: Inspection | null;
  last: { verdict: string; level: string; plate: string; at_utc_us: number } | null;
  centre: { state: string; waiting: number }; simulated_officer: { decides_utc_us: number | null } | null;
  panel_diagonal_in: number;
}
export type Sample = [tMs: number, counts: number, sM: number | null];
export interface Live {
  inspection_id: string | null; gamma: Sample[]; neutron: Sample[];
  now: { gamma_cps: number | null; neutron_cps: number | null };
}
export interface Strip { t_ms: number[]; s_m: number[] | null; counts: number[]; dt_s: number; background: number | null; limit: number | null }
export interface Profile { axis: "column" | "time"; gamma: Strip; neutron: Strip }
export interface ImageFacts {
  id: string; width: number; height: number; px_mm_x: number; px_mm_y: number; col_nose: number | null;
  cols_done: number; complete: boolean; window_default: [number, number]; presets: Record<string, [number, number]>;
}
